// What a DMA-BUF's fd tells of itself: no driver, file system or client is asked.

internal import CShims
internal import Glibc
package import Kernel
internal import Linux
package import Placement

/// Reads identities and labels on the running kernel.
package final class DMABufReader: BufferReader {
  /// st_dev of the kernel's dma-buf file system, learned from the first fd whose fdinfo shows an
  /// exporter: only a dma-buf prints `exp_name`, and nobody can forge an st_dev.
  private var fileSystem: dev_t?

  /// Kernel introspection, where there is some; borrows the fd.
  package var introspector: ((Int32, BufferIdentity) -> Introspection?)?

  package init() {}

  package func identity(of fd: Int32) -> BufferIdentity? {
    var device: dev_t = 0
    var inode: ino_t = 0
    guard primed_identity(fd, &device, &inode) == 0, !Self.isOpenedAsPath(fd) else { return nil }
    if let fileSystem {
      guard device == fileSystem else { return nil }
    } else {
      // Of others' fds a driver may be asked, which may wake its device or wait for it.
      guard primed_has_no_type(fd), Self.fdinfo(fd).exporter != nil else { return nil }
      fileSystem = device
    }
    return BufferIdentity(inode: UInt64(inode))
  }

  package func label(of fd: Int32) -> BufferLabel {
    let info = Self.fdinfo(fd)
    let name: ExporterName =
      switch info.exporter {
      case nil: .unknown
      case "drm": .drm
      case .some(let own): .named(own)
      }
    return BufferLabel(exporter: name, size: info.size)
  }

  package func introspect(_ fd: Int32) -> Introspection? {
    guard let introspector, let identity = identity(of: fd) else { return nil }
    return introspector(fd, identity)
  }

  /// An O_PATH fd names a file without giving access to it: no driver takes it for a DMA-BUF.
  private static func isOpenedAsPath(_ fd: Int32) -> Bool { primed_is_path_only(fd) }

  /// `exp_name` and `size` of /proc/self/fdinfo/N.
  private static func fdinfo(_ fd: Int32) -> (exporter: String?, size: UInt64) {
    var exporter: String?
    var size: UInt64 = 0
    for line in readText("/proc/self/fdinfo/\(fd)").split(separator: "\n") {
      let pair = line.split(separator: ":", maxSplits: 1)
      guard pair.count == 2 else { continue }
      // Anybody's word, with newlines if it likes, and after it nothing of the kernel's.
      if pair[0] == "name" { break }
      let value = pair[1].drop { $0 == "\t" || $0 == " " }
      if pair[0] == "exp_name" { exporter = String(value) }
      if pair[0] == "size" { size = UInt64(value) ?? 0 }
    }
    return (exporter, size)
  }
}
