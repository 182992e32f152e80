// Answers over time: observed again, refreshed in the background, seeded from the same swapchain.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

@Suite struct TimeTests {
  @Test(arguments: [Memory.system, .dedicated])
  func pingPongSettlesOnItsHome(first: Memory) throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated, in: first)
    var answer = laptop.machine.place(laptop.engine, 7)
    for _ in 0..<100 {
      let now = laptop.machine.residency(7)
      laptop.machine.migrate(7, to: now == .system ? .dedicated : .system)
      laptop.machine.now += 10_000
      answer = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
    }
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .native)
    #expect(answer.confidence == .stable)
    #expect(answer.recheck == 0)
    #expect(laptop.machine.moves == 0)
  }

  @Test func unsettledAnswersAreLookedAtAgainWhenDue() throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let first = laptop.machine.place(laptop.engine, 7)
    #expect(first.recheck == 250)
    laptop.machine.now += 249
    let second = laptop.machine.place(laptop.engine, 7)
    #expect(second.cached)
    #expect(second.recheck == 1)
    laptop.machine.now += 1
    let third = laptop.machine.place(laptop.engine, 7)
    #expect(!third.cached)
    #expect(third.confidence == .stable)
  }

  @Test func oldAnswersAreServedAtOnceAndRefreshedBehind() throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated, in: .system)
    var answer = laptop.machine.place(laptop.engine, 7)
    while answer.recheck > 0 {
      laptop.machine.now += Milliseconds(answer.recheck)
      answer = laptop.machine.place(laptop.engine, 7)
    }
    #expect(answer.confidence == .stable)
    #expect(answer.device == laptop.igpu, "it lay in system memory all the time")

    var refreshed: [BufferIdentity] = []
    laptop.engine.onLooked = { refreshed.append($0) }
    let query = laptop.machine.query([7])
    #expect(laptop.engine.answerNow(query)?.stale == false)
    laptop.machine.now += 60_000
    laptop.machine.migrate(7, to: .dedicated)
    let served = laptop.engine.answerNow(query)
    #expect(served?.cached == true && served?.stale == true)
    laptop.machine.ask(laptop.engine, query) { _ in }
    #expect(laptop.engine.answerNow(query)?.stale == true, "its end is not known yet")
    #expect(laptop.engine.isLookedAt(query), "one refresh at a time")
    laptop.machine.run()
    #expect(refreshed == [laptop.machine.identity(7)])
    #expect(laptop.engine.answerNow(query)?.device == laptop.dgpu)
    #expect(laptop.engine.answerNow(query)?.stale == false)
  }

  @Test func aRefreshThatChangesNothingTellsNobody() throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 7)
    _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
    laptop.machine.now += 60_000
    let query = laptop.machine.query([7])
    var subscriptions = Subscriptions()
    _ = subscriptions.told(1, query, try #require(laptop.engine.answerNow(query))) { true }
    #expect(subscriptions.count == 1, "it was served stale")
    var told = 0
    laptop.engine.onLooked = { [engine = laptop.engine] buffer in
      told += subscriptions.looked(at: buffer, reconsider: engine.reconsider).changes.count
    }
    laptop.machine.ask(laptop.engine, query) { _ in }
    laptop.machine.run()
    #expect(laptop.machine.imports == 6)
    #expect(told == 0)
    #expect(subscriptions.count == 0)
  }

  // MARK: Swapchains

  @Test func aResizeStormCostsNoProbesOnceKnown() throws {
    let laptop = try Laptop()
    let swapchain: (inout Hints) -> Void = {
      $0.clientPID = 42
      $0.format = 0x3432_5258
      $0.modifier = 0
    }
    laptop.machine.allocate(1, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 1, swapchain)
    let imports = laptop.machine.imports
    for inode in 2...1_000 as ClosedRange<UInt64> {
      laptop.machine.allocate(inode, on: "dgpu", home: .dedicated)
      let answer = laptop.machine.place(laptop.engine, inode, swapchain)
      #expect(answer.device == laptop.dgpu)
      #expect(answer.access == .native)
      #expect(answer.confidence == .state)
      #expect(answer.recheck > 0)
    }
    #expect(laptop.machine.imports == imports)

    laptop.engine.forget(client: 42)
    laptop.machine.allocate(1_001, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 1_001, swapchain)
    #expect(laptop.machine.imports == imports + 2)
  }

  @Test func aSeededBufferIsLookedAtInTheEnd() throws {
    let laptop = try Laptop()
    let swapchain: (inout Hints) -> Void = {
      $0.clientPID = 42
      $0.format = 1
    }
    laptop.machine.allocate(1, on: "dgpu", home: .dedicated)
    laptop.machine.allocate(2, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 1, swapchain)
    let seeded = laptop.machine.place(laptop.engine, 2, swapchain)
    laptop.machine.now += Milliseconds(seeded.recheck)
    let seen = laptop.machine.place(laptop.engine, 2, swapchain)
    #expect(seen.confidence == .intent)
    #expect(seen.recheck == 0)
  }

  /// A client that draws on both GPUs gives the same hints for both swapchains. An answer seeded
  /// from the first one's buffer would move the second one's.
  @Test func whatAnotherDevicesBufferTaughtIsNoAnswer() throws {
    let machine = SimulatedMachine()
    let a = machine.plug("a", "nouveau", minor: 0, dedicated: 1 << 30)
    let peers = ["b", "c"].enumerated().map { i, id in
      machine.plug(id, "amdgpu", minor: UInt32(i + 1), dedicated: 1 << 30)
    }
    machine.reach("c", "b", .dedicated)
    machine.records = false
    let engine = machine.engine()
    try engine.start()
    machine.allocate(1, on: "a", home: .dedicated)
    machine.allocate(2, on: "b", home: .dedicated)
    let swapchain: (inout Hints) -> Void = {
      $0.clientPID = 42
      $0.format = 1
    }
    #expect(machine.place(engine, 1, swapchain).device == a)
    let seen = machine.place(engine, 2, swapchain)
    #expect(peers.contains(seen.device))
    #expect(seen.access == .inPlace)
    #expect(seen.confidence == .state, "its first own look")
  }
}
