// A file descriptor with one owner.

internal import Glibc

/// Closes its descriptor when it is destroyed.
package struct OwnedFD: ~Copyable, Sendable {
  package let rawValue: Int32

  /// Takes over `rawValue`, which must be open and owned by nobody else.
  package init(_ rawValue: Int32) { self.rawValue = rawValue }

  deinit { _ = Glibc.close(rawValue) }

  /// A second descriptor of `fd`, close-on-exec. Borrows `fd`.
  package static func duplicate(_ fd: Int32) throws(Errno) -> OwnedFD {
    OwnedFD(try Errno.check(fcntl(fd, F_DUPFD_CLOEXEC, 0)))
  }

  /// Gives the descriptor to the caller, who must close it.
  package consuming func take() -> Int32 {
    let fd = rawValue
    discard self
    return fd
  }
}
