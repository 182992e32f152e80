// No user waits for all items of another user.

import Testing

@testable import Probing

@Suite struct FairQueueTests {
  @Test func usersTakeTurns() {
    var queue = FairQueue<String>()
    for i in 1...4 { queue.add("a\(i)", of: 1000) }
    queue.add("b1", of: 1001)
    queue.add("b2", of: 1001)
    queue.add("c1", of: 1002)
    var order: [String] = []
    while let one = queue.next() { order.append(one) }
    #expect(order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"])
    #expect(queue.isEmpty)
  }

  @Test func whoComesWhileOthersWaitIsNext() {
    var queue = FairQueue<Int>()
    for i in 0..<100 { queue.add(i, of: 1000) }
    #expect(queue.next() == 0)
    queue.add(-1, of: 1001)
    #expect([queue.next(), queue.next()].contains(-1))
    #expect(queue.next() == 2)
  }
}
