// Nobody waits for all that another has waiting.

import Testing

@testable import Broker

@Suite struct TurnsTests {
  @Test func usersTakeTurns() {
    var turns = Turns<String>()
    for i in 1...4 { turns.add("a\(i)", of: 1000) }
    turns.add("b1", of: 1001)
    turns.add("b2", of: 1001)
    turns.add("c1", of: 1002)
    var order: [String] = []
    while let one = turns.next() { order.append(one) }
    #expect(order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"])
    #expect(turns.isEmpty)
  }

  @Test func whoComesWhileOthersWaitIsNext() {
    var turns = Turns<Int>()
    for i in 0..<100 { turns.add(i, of: 1000) }
    #expect(turns.next() == 0)
    turns.add(-1, of: 1001)
    #expect([turns.next(), turns.next()].contains(-1))
    #expect(turns.next() == 2)
  }
}
