// No user waits for all items of another user.

import Testing

@testable import Probing

@Suite struct FairQueueTests {
  @Test func usersTakeTurns() {
    var queue = FairQueue()
    for number in [11, 12, 13, 14] as [UInt64] { queue.add(number, of: 1000) }
    for number in [21, 22] as [UInt64] { queue.add(number, of: 1001) }
    queue.add(31, of: 1002)
    var order: [UInt64] = []
    while let one = queue.next() { order.append(one) }
    #expect(order == [11, 21, 31, 12, 22, 13, 14])
    #expect(queue.isEmpty)
  }

  @Test func whoComesWhileOthersWaitIsNext() {
    var queue = FairQueue()
    for i in 0..<100 as Range<UInt64> { queue.add(i, of: 1000) }
    #expect(queue.next() == 0)
    queue.add(1_000, of: 1001)
    #expect([queue.next(), queue.next()].contains(1_000))
    #expect(queue.next() == 2)
  }
}
