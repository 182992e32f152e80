// The one place where errno becomes an error.

internal import Glibc

package struct Errno: Error, Hashable, Sendable, CustomStringConvertible {
  package var code: Int32
  package init(_ code: Int32) { self.code = code }

  /// The calling thread's errno, now.
  package static var last: Errno { Errno(errno) }

  /// For calls that return -1 and set errno.
  @discardableResult
  package static func check<T: SignedInteger>(_ result: T) throws(Errno) -> T {
    if result == -1 { throw .last }
    return result
  }

  /// For calls that return a negative errno (sd-bus, sd-event, libudev).
  @discardableResult
  package static func checkNegative(_ result: Int32) throws(Errno) -> Int32 {
    if result < 0 { throw Errno(-result) }
    return result
  }

  package var description: String { String(cString: strerror(code)) }
}
