// A device's open node, and what may be asked of it. Every call here can block in a driver: only a
// device's own worker makes them.

internal import CShims
internal import Glibc
package import Linux
package import Placement

/// An open render node; or a card node, where the device has no other, with DRM master given back at
/// once. Opening resumes a sleeping device and so may closing: see `Power.swift`.
package struct DeviceNode: ~Copyable, Sendable {
  private let fd: OwnedFD
  private let driver: String

  /// - Throws: ENOENT, EACCES, ENXIO or ENODEV where the node is missing, forbidden or going away.
  package init(opening device: DeviceDescription) throws(Errno) {
    guard let node = device.node else { throw Errno(ENODEV) }
    let opened = OwnedFD(try Errno.check(open(node.path, O_RDWR | O_CLOEXEC)))
    // Whoever opens a card's first node is made its master, asked or not (drm_auth.c,
    // drm_master_open). EINVAL says that somebody else is: all the better.
    if device.render == nil { primed_drop_master(opened.rawValue) }
    guard Self.belongs(node, to: device) else { throw Errno(ENODEV) }
    fd = opened
    driver = device.driver
  }

  /// Minors are used again: by now the node can be another device's, and an import there could move
  /// what is safe here. Asked after the open, so that what is open is not newer than the answer.
  private static func belongs(_ node: Node, to device: DeviceDescription) -> Bool {
    let link = "/sys/dev/char/\(node.number.major):\(node.number.minor)"
    guard let target = realpath(link, nil) else { return false }
    defer { free(target) }
    return String(cString: target).hasPrefix(device.sysfsPath + "/drm/")
  }

  /// What an import brought. The GEM handle is closed before this returns.
  package enum Import: Equatable, Sendable {
    case reached(DriverRecord)
    case failed(Errno)
  }

  /// Imports `buffer`, which is borrowed, and lets go of it again.
  /// - Parameter noMove: set NO_MOVE. Without it, the caller has proven that nothing can move.
  package func importBuffer(_ buffer: Int32, noMove: Bool) -> Import {
    importBuffer(buffer, flags: noMove ? Self.noMoveFlag : 0)
  }

  /// Bit 0, as the RFC has it (dri-devel, Simon Ser, 2024-10-13).
  static let noMoveFlag: UInt32 = 1
  /// A bit that no kernel gave a meaning: who accepts it does not check flags.
  static let undefinedFlag: UInt32 = 1 << 31

  func importBuffer(_ buffer: Int32, flags: UInt32) -> Import {
    var handle: UInt32 = 0
    guard primed_prime_import(fd.rawValue, buffer, flags, &handle) == 0 else {
      return .failed(.last)
    }
    defer { primed_gem_close(fd.rawValue, handle) }
    return .reached(record(handle))
  }

  private func record(_ handle: UInt32) -> DriverRecord {
    switch primed_driver_record(fd.rawValue, driver, handle) {
    case PRIMED_RECORD_DEDICATED: .preferred(.dedicated)
    case PRIMED_RECORD_SYSTEM: .preferred(.system)
    default: .none
    }
  }

  /// A new DMA-BUF on this device; its GEM handle is closed, so the returned fd alone keeps it alive.
  /// Only for drivers whose allocation interface is known (CShims, `primed_driver_create`), and for
  /// dumb buffers on card nodes where `memory` is `unknown`.
  package func allocate(size: UInt64, in memory: Memory) throws(Errno) -> OwnedFD {
    var handle: UInt32 = 0
    if memory == .unknown {
      let rows = UInt32((size + 4095) / 4096)
      try Errno.check(primed_dumb_create(fd.rawValue, 1024, rows, &handle))
    } else {
      try Errno.check(
        primed_driver_create(fd.rawValue, driver, size, memory == .dedicated, &handle))
    }
    defer { primed_gem_close(fd.rawValue, handle) }
    var buffer: Int32 = -1
    try Errno.check(primed_prime_export(fd.rawValue, handle, &buffer))
    return OwnedFD(buffer)
  }
}
