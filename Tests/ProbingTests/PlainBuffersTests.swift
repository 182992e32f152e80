// A buffer of no device comes from a driver, too, which the loop does not wait for.

import Glibc
import Linux
import Placement
import Ports
import Synchronization
import Testing

@testable import Probing

@Suite struct PlainBuffersTests {
  let loop: EventLoop

  init() throws { loop = try EventLoop() }

  private static func buffer() -> ScratchBuffer? {
    guard let fd = try? OwnedFD.duplicate(0) else { return nil }
    return ScratchBuffer(fd, in: .system, of: nil)
  }

  @Test func eachIsMadeByAnotherThread() throws {
    let own = pthread_self()
    let others = Counter()
    let buffers = try PlainBuffers(loop: loop) {
      if pthread_equal(own, pthread_self()) == 0 { others.count() }
      return Self.buffer()
    }
    var made: [ScratchBuffer] = []
    for _ in 1...2 {
      buffers.request { [loop] buffer in
        if let buffer { made.append(buffer) }
        if made.count == 2 || buffer == nil { loop.exit(0) }
      }
    }
    #expect(try loop.run() == 0)
    #expect(made.count == 2 && made.first !== made.last)
    #expect(others.value == 2)
  }

  /// While a call hangs the loop goes on; nobody waits longer than for a probe, and no second call
  /// is made.
  @Test func whoDoesNotComeBackIsNotWaitedFor() throws {
    let (hangs, calls) = (try Gate(), Counter())
    let buffers = try PlainBuffers(loop: loop) {
      if calls.count() == 1 { hangs.wait() }
      return Self.buffer()
    }
    var said: [String] = []
    buffers.request { [loop] buffer in
      said.append(buffer == nil ? "none" : "a buffer")
      buffers.request { buffer in
        said.append(buffer == nil ? "none again" : "a buffer")
        hangs.open()
        askUntilThere(buffers) { loop.exit(0) }
      }
    }
    loop.soon { said.append("the loop goes on") }
    #expect(try loop.run() == 0)
    #expect(said == ["the loop goes on", "none", "none again"])
    #expect(calls.value == 2)
  }
}

/// Once the call that hung is back there are buffers again.
private func askUntilThere(_ buffers: PlainBuffers, _ done: @escaping () -> Void) {
  buffers.request { buffer in
    if buffer != nil { return done() }
    askUntilThere(buffers, done)
  }
}

private final class Counter: Sendable {
  private let counted = Atomic(0)
  var value: Int { counted.load(ordering: .relaxed) }
  @discardableResult func count() -> Int { counted.add(1, ordering: .relaxed).newValue }
}

/// Opened once, for whoever waits.
private final class Gate: Sendable {
  private let reading, writing: OwnedFD

  init() throws {
    var pair: [Int32] = [-1, -1]
    try Errno.check(pipe(&pair))
    reading = OwnedFD(pair[0])
    writing = OwnedFD(pair[1])
  }

  func wait() {
    var byte: UInt8 = 0
    _ = read(reading.rawValue, &byte, 1)
  }

  func open() { _ = write(writing.rawValue, [1], 1) }
}
