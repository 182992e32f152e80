import CShims
import Glibc
import Testing

@testable import Linux

@Suite struct EventLoopTests {
  private final class Watched {
    let end: OwnedFD
    var source: EventSource?
    init(_ end: consuming OwnedFD) { self.end = end }
  }

  /// Readable at once. Its number is too high to be reused by another test that runs at the same
  /// time.
  private static func counter() -> OwnedFD {
    let low = OwnedFD(primed_eventfd(false))
    let fd = fcntl(low.rawValue, F_DUPFD_CLOEXEC, 700)
    var one: UInt64 = 1
    _ = write(fd, &one, 8)
    return OwnedFD(fd)
  }

  /// A handler releases its source and its fd, and gets an fd of the same number to watch: the new
  /// one is watched.
  @Test func anFDThatIsUsedAgainAtOnceIsWatched() throws {
    let loop = try EventLoop()
    var first: Watched? = Watched(Self.counter())
    var second: Watched?
    var heard = false
    first!.source = try loop.onReadable(first!.end.rawValue) {
      let number = first!.end.rawValue
      first = nil
      let low = OwnedFD(primed_eventfd(false))
      second = Watched(OwnedFD(dup2(low.rawValue, number)))
      var one: UInt64 = 1
      _ = write(number, &one, 8)
      second!.source = try? loop.onReadable(number) {
        heard = true
        loop.exit(0)
      }
    }
    // Ends the test if it is not.
    let patience = try loop.after(5_000) { loop.exit(1) }
    _ = try loop.run()
    #expect(heard)
    withExtendedLifetime((patience, second)) {}
  }
}
