// What a hit costs: no allocation, whatever is cached and whatever is asked.

import CAllocations
import Kernel
import Linux
import Placement
import Testing

@testable import Engine

@Suite struct CostTests {
  private static let buffers: UInt64 = 5_000

  /// A laptop that knows a swapchain of many buffers.
  private func warmLaptop() throws -> Laptop {
    let laptop = try Laptop()
    laptop.allocate(1, on: "dgpu", home: .dedicated)
    let file = laptop.machine.held(1)
    for inode in 1...Self.buffers {
      let held = HeldBuffer(
        identity: BufferIdentity(inode: inode), fd: try OwnedFD.duplicate(file.fd.rawValue))
      laptop.engine.answer(
        laptop.machine.query([inode]) {
          $0.clientPID = 42
          $0.format = 1
        }, holding: [held]
      ) { _ in }
      laptop.machine.run()
    }
    return laptop
  }

  @Test func theCounterCounts() {
    let before = allocations_of_this_thread()
    let text = String(repeating: "long enough to be on the heap", count: 10)
    #expect(text.utf8.count == 290)
    #expect(allocations_of_this_thread() > before)
  }

  /// By the allocator's own count; the index has just doubled at 81,921.
  @Test(arguments: [1_000, 81_921, 100_000])
  func aCachedBufferTakesAtMost96Bytes(count: Int) {
    let facts = BufferFacts(among: DeviceTable())
    let before = bytes_held_by_this_thread()
    var cache = BufferCache(limit: count)
    for inode in 1...UInt64(count) { cache.store(facts, of: BufferIdentity(inode: inode)) }
    let each = Double(bytes_held_by_this_thread() - before) / Double(count)
    #expect(each <= 96 && each > 80, "\(each) bytes")
    #expect(cache.count == count)
  }

  @Test func aHitAllocatesNothing() throws {
    let laptop = try warmLaptop()
    let queries = (1...Self.buffers).map { inode in
      laptop.machine.query([inode, inode % 7 + 1]) {
        $0.primaryDevice = laptop.igpu
        $0.targetDevice = laptop.dgpu
        $0.modifier = 0x02 << 56 | 1
        $0.usage = [.sample, .scanout]
      }
    }
    var (hits, allocated): (UInt64, UInt) = (0, 0)
    for query in queries {
      let before = allocations_of_this_thread()
      let answer = laptop.engine.answerNow(query)
      let stale = laptop.engine.wantsRefresh(query)
      allocated += allocations_of_this_thread() - before
      if answer?.device == laptop.dgpu && !stale { hits += 1 }
    }
    #expect(hits == Self.buffers)
    #expect(allocated == 0)
  }
}
