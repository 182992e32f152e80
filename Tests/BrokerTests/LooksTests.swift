// Messages are read before observations begin, but observations are not delayed for ever.

import CShims
import Glibc
import Linux
import Placement
import Testing

@testable import Broker

@Suite struct LooksTests {
  private final class Log {
    var words: [String] = []
  }
  private let loop: EventLoop
  private let looks: Looks
  private let log = Log()
  /// As the bus's socket is: readable, and read once a turn.
  private let messages: EventSource
  private let counter: Counter

  private final class Counter {
    let fd = OwnedFD(primed_eventfd(true))
    func add(_ count: UInt64) {
      var count = count
      _ = write(fd.rawValue, &count, 8)
    }
    func take() {
      var one: UInt64 = 0
      _ = read(fd.rawValue, &one, 8)
    }
  }

  init() throws {
    loop = try EventLoop()
    looks = try Looks(loop: loop)
    let counter = Counter()
    messages = try loop.onReadable(counter.fd.rawValue) { [log] in
      counter.take()
      log.words.append("read")
    }
    self.counter = counter
  }

  private func add(_ word: String, of user: UInt32, isLast: Bool = false) {
    looks.add(of: user) { [log, loop] in
      log.words.append(word)
      if isLast { loop.exit(0) }
    }
  }

  @Test func whatHasComeIsReadFirst() throws {
    counter.add(3)
    add("look", of: 1, isLast: true)
    #expect(log.words == [], "nothing begins in the middle of a message")
    _ = try loop.run()
    #expect(log.words == ["read", "read", "read", "look"])
  }

  @Test func whatComesMeanwhileIsReadBeforeTheNext() throws {
    looks.add(of: 1) { [log, counter] in
      log.words.append("first")
      counter.add(2)
    }
    add("second", of: 1, isLast: true)
    _ = try loop.run()
    #expect(log.words == ["first", "read", "read", "second"])
  }

  @Test func aFloodOfMessagesDoesNotKeepLooksWaiting() throws {
    counter.add(1 << 32)
    add("first", of: 1)
    add("second", of: 1, isLast: true)
    _ = try loop.run()
    let reads = Array(repeating: "read", count: Limits.messagesBeforeALook)
    #expect(log.words == reads + ["first"] + reads + ["second"])
  }

  @Test func usersTakeTurns() throws {
    for number in 1...3 { add("one's \(number)", of: 1) }
    add("other's", of: 2)
    add("one's last", of: 1, isLast: true)
    _ = try loop.run()
    #expect(log.words == ["one's 1", "other's", "one's 2", "one's 3", "one's last"])
  }
}
