// Which simulated DMA-BUF an open file stands for.

internal import CShims
internal import Glibc
internal import Placement

struct FileIdentity: Equatable {
  var device: dev_t = 0
  var inode: ino_t = 0
  init?(of fd: Int32) {
    guard primed_identity(fd, &device, &inode) == 0 else { return nil }
  }
}

/// DMA-BUFs by the last bits of the inode of the memfds that stand for them, for those that were
/// identified lately: so that a question costs little more than with real ones, of which no name is
/// read.
final class NamedBuffers {
  private typealias Entry = (file: FileIdentity, buffer: BufferIdentity)
  /// No array, each access to which would be checked.
  private let entries = UnsafeMutableBufferPointer<Entry?>.allocate(capacity: limit)
  /// A power of two.
  private static let limit = 4096

  init() { entries.initialize(repeating: nil) }
  deinit { entries.deallocate() }

  func find(_ file: FileIdentity) -> BufferIdentity? {
    guard let known = entries[place(of: file)], known.file == file else { return nil }
    return known.buffer
  }

  func add(_ file: FileIdentity, _ buffer: BufferIdentity) {
    entries[place(of: file)] = (file, buffer)
  }

  private func place(of file: FileIdentity) -> Int {
    Int(truncatingIfNeeded: file.inode) & (Self.limit - 1)
  }
}
