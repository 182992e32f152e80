// What the kernel says of a DMA-BUF's fd without a driver, file system or client being involved.

internal import CShims
internal import Linux
package import Placement
package import Ports

/// Reads identities and labels on the running kernel.
package final class DMABufReader: BufferReader {
  /// st_dev of the kernel's DMA-BUF file system, learned from the first fd whose fdinfo has
  /// `exp_name`: only a DMA-BUF prints that, and st_dev can't be forged.
  private var fileSystem: dev_t?

  /// Kernel introspection, if there is any; borrows the fd.
  package var introspector: ((Int32, BufferIdentity) -> Introspection?)?

  package init() {}

  package func identity(of fd: Int32) -> BufferIdentity? {
    var device: dev_t = 0
    var inode: ino_t = 0
    guard primed_identity(fd, &device, &inode) == 0, !Self.isOpenedAsPath(fd) else { return nil }
    if let fileSystem {
      guard device == fileSystem else { return nil }
    } else {
      // Reading the fdinfo of other files may call a driver, which may wake its device or wait for
      // it.
      guard primed_has_no_type(fd), Self.fdinfo(fd).exporter != nil else { return nil }
      fileSystem = device
    }
    return BufferIdentity(inode: UInt64(inode))
  }

  package func newestIdentity() -> BufferIdentity? {
    guard let buffer = try? DeviceNode.systemBuffer() else { return nil }
    return identity(of: buffer.rawValue)
  }

  package func label(of fd: Int32) -> BufferLabel {
    let info = Self.fdinfo(fd)
    return BufferLabel(exporter: info.exporter ?? .unknown, size: info.size)
  }

  package func introspect(_ buffer: HeldBuffer) -> Introspection? {
    introspector?(buffer.fd.rawValue, buffer.identity)
  }

  /// An O_PATH fd gives no access to the file, so no driver accepts it as a DMA-BUF.
  private static func isOpenedAsPath(_ fd: Int32) -> Bool { primed_is_path_only(fd) }

  /// A DMA-BUF's is some 150 bytes.
  private static func fdinfo(_ fd: Int32) -> FDInfo {
    FDInfo(readText("/proc/self/fdinfo/\(fd)", atMost: 1024))
  }
}
