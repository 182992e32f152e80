// A cache hit allocates nothing, whatever is cached and asked.

import CAllocations
import Linux
import Placement
import Ports
import Testing

@testable import Engine

@Suite struct CostTests {
  private static let buffers: UInt64 = 5_000

  /// A laptop whose cache has a swapchain of many buffers.
  private func warmLaptop() throws -> Laptop {
    let laptop = try Laptop()
    for number in 1...Self.buffers {
      laptop.machine.allocate(number, on: "dgpu", home: .dedicated)
      let query = laptop.machine.query([number]) {
        $0.clientPID = 42
        $0.format = 1
      }
      laptop.machine.ask(laptop.engine, query) { _ in }
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

  /// As the allocator counts; at 81,921 the index has just doubled.
  @Test(arguments: [1_000, 81_921, 100_000])
  func aCachedBufferTakesAtMost96Bytes(count: Int) {
    // The first call allocates what a process allocates once: Swift's metadata and globals are
    // lazy.
    _ = Self.bytesEach(1_000)
    let each = Self.bytesEach(count)
    #expect(each <= 96 && each > 80, "\(each) bytes each, of \(count)")
  }

  /// The bytes that a full cache takes, by buffer.
  private static func bytesEach(_ count: Int) -> Double {
    let facts = BufferFacts(of: BufferIdentity(inode: 1), among: DeviceTable())
    let before = bytes_held_by_this_thread()
    var cache = BufferCache(limit: count)
    for inode in 1...UInt64(count) { cache.store(facts, of: BufferIdentity(inode: inode)) }
    let held = bytes_held_by_this_thread() - before
    #expect(cache.count == count)
    return Double(held) / Double(count)
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
    // The first call allocates what a process allocates once: Swift's globals are lazy.
    #expect(laptop.engine.answerNow(queries[0])?.device == laptop.dgpu)
    var (hits, allocated): (UInt64, UInt) = (0, 0)
    for query in queries {
      let before = allocations_of_this_thread()
      let answer = laptop.engine.answerNow(query)
      allocated += allocations_of_this_thread() - before
      if answer?.device == laptop.dgpu && answer?.stale == false { hits += 1 }
    }
    #expect(hits == Self.buffers)
    #expect(allocated == 0)
  }
}
