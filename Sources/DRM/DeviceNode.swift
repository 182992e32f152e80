// A device's open node, and the calls on it. Every call here can block in a driver: only the
// device's own worker makes them.

internal import CShims
internal import Glibc
package import Linux
package import Placement

/// An open render node; or the card node of a device that has no other, with DRM master dropped at
/// once. Opening resumes a sleeping device, and closing may do so, too: see `RuntimePower.swift`.
package struct DeviceNode: ~Copyable, Sendable {
  private let fd: OwnedFD
  /// The name by which CShims knows the driver's own ioctls; nil: it does not.
  private let ownIoctls: String?

  /// - Throws: ENOENT, EACCES, ENXIO or ENODEV if the node is missing, forbidden or going away.
  package init(opening device: DeviceDescription) throws(Errno) {
    guard let node = device.node else { throw Errno(ENODEV) }
    let opened = OwnedFD(try Errno.check(open(node.path, O_RDWR | O_CLOEXEC)))
    // The first opener of a card node becomes DRM master without asking for it (drm_auth.c,
    // drm_master_open). EINVAL: another process is master, which is fine.
    if device.render == nil { primed_drop_master(opened.rawValue) }
    guard Self.belongs(node, to: device) else { throw Errno(ENODEV) }
    fd = opened
    let info = device.row.info
    ownIoctls = info.ownIoctls ? info.names[0] : nil
  }

  /// Minor numbers are used again: the node may belong to another device by now, and an import
  /// there could move a buffer that is safe here. Checked after the open, so that the answer is
  /// about the node that is open.
  private static func belongs(_ node: Node, to device: DeviceDescription) -> Bool {
    let link = "/sys/dev/char/\(node.number.major):\(node.number.minor)"
    guard let target = realpath(link, nil) else { return false }
    defer { free(target) }
    return String(cString: target).hasPrefix(device.sysfsPath + "/drm/")
  }

  /// The result of an import. Its GEM handle is closed before this is returned.
  package enum Import: Equatable, Sendable {
    case reached(DriverRecord)
    case failed(Errno)
  }

  package enum ImportFlag: UInt32, Sendable {
    /// The caller has proven that nothing can move.
    case none = 0
    /// Bit 0, as the RFC has it (dri-devel, Simon Ser, 2024-10-13).
    case noMove = 1
    /// A bit without a meaning in any kernel: a driver that accepts it does not check flags.
    case undefined = 0x8000_0000
  }

  /// Imports `buffer`, which is borrowed, and closes the GEM handle.
  package func importBuffer(_ buffer: Int32, _ flag: ImportFlag) -> Import {
    var handle: UInt32 = 0
    guard primed_prime_import(fd.rawValue, buffer, flag.rawValue, &handle) == 0 else {
      return .failed(.last)
    }
    defer { primed_gem_close(fd.rawValue, handle) }
    return .reached(record(handle))
  }

  private func record(_ handle: UInt32) -> DriverRecord {
    guard let ownIoctls else { return .none }
    return switch primed_driver_record(fd.rawValue, ownIoctls, handle) {
    case PRIMED_RECORD_DEDICATED: .preferred(.dedicated)
    case PRIMED_RECORD_SYSTEM: .preferred(.system)
    default: .none
    }
  }

  /// A page of system memory that no device exported.
  package static func systemBuffer() throws(Errno) -> OwnedFD {
    OwnedFD(try Errno.check(primed_udmabuf_create(4096)))
  }

  /// A new DMA-BUF of this device; its GEM handle is closed, so only the returned fd keeps it
  /// alive. For drivers whose allocation ioctl is known (CShims, `primed_driver_create`), and for
  /// dumb buffers on card nodes if `memory` is `unknown`.
  package func allocate(size: UInt64, in memory: Memory) throws(Errno) -> OwnedFD {
    var handle: UInt32 = 0
    if memory == .unknown {
      let rows = UInt32((size + 4095) / 4096)
      try Errno.check(primed_dumb_create(fd.rawValue, 1024, rows, &handle))
    } else {
      guard let ownIoctls else { throw Errno(ENOSYS) }
      try Errno.check(
        primed_driver_create(fd.rawValue, ownIoctls, size, memory == .dedicated, &handle))
    }
    defer { primed_gem_close(fd.rawValue, handle) }
    var buffer: Int32 = -1
    try Errno.check(primed_prime_export(fd.rawValue, handle, &buffer))
    return OwnedFD(buffer)
  }
}
