// A device is released exactly as long as any copy of its guard is open.

import Bus
import Glibc
import Linux
import Testing

@testable import Broker

@Suite struct ReleaseGuardsTests {
  let loop: EventLoop
  let guards: ReleaseGuards

  init() throws {
    loop = try EventLoop()
    guards = ReleaseGuards(loop: loop)
  }

  /// Runs the loop until `onGone`; false if it does not come within the given time.
  private func isGone(_ loop: EventLoop, after milliseconds: UInt64) throws -> Bool {
    let patience = try loop.after(milliseconds) { loop.exit(1) }
    defer { withExtendedLifetime(patience) {} }
    return try loop.run() == 0
  }

  @Test func theLastCopyEndsIt() throws {
    var gone = 0
    var hold: OwnedGuard? = try guards.make { [loop] in
      gone += 1
      loop.exit(0)
    }
    let copy = try OwnedFD.duplicate(hold!.fd.rawValue)
    hold = nil
    #expect(gone == 0)
    _ = consume copy
    #expect(try isGone(loop, after: 5_000))
    #expect(gone == 1)
  }

  @Test func whatIsWrittenIntoItSaysNothing() throws {
    var gone = false
    var hold: OwnedGuard? = try guards.make { [loop] in
      gone = true
      loop.exit(0)
    }
    let words = [UInt8](repeating: 7, count: 10_000)
    #expect(write(hold!.fd.rawValue, words, words.count) == words.count)
    // The pipe has been read to its end when this is called, whatever the priorities are.
    loop.soon(after: 20) { hold = nil }
    #expect(try isGone(loop, after: 5_000))
    #expect(gone && hold == nil)
  }

  @Test func eachHasItsOwn() throws {
    var gone: [Int] = []
    var first: OwnedGuard? = try guards.make { gone.append(1) }
    var second: OwnedGuard? = try guards.make { [loop] in
      gone.append(2)
      loop.exit(0)
    }
    #expect(first != nil && second != nil)
    second = nil
    #expect(try isGone(loop, after: 5_000))
    #expect(gone == [2])
    first = nil
  }
}
