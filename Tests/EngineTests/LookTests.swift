// Looks under way: joined, changed under the hand, stuck, and let go of.

import Kernel
import Placement
import Testing

@testable import Engine

@Suite struct LookTests {
  // MARK: Joining

  @Test func askersOfOneBufferShareOneLook() throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    var answers: [Answer] = []
    for _ in 0..<10 {
      laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answers.append($0) }
    }
    #expect(answers.isEmpty)
    laptop.machine.run()
    #expect(answers.count == 10)
    #expect(Set(answers.map(\.device)) == [laptop.dgpu])
    #expect(laptop.machine.imports == 2)
    #expect(laptop.machine.assessments == 2)
  }

  @Test func devicesAreAssessedOnceForAll() throws {
    let laptop = try Laptop()
    for inode in 1...5 as ClosedRange<UInt64> {
      laptop.allocate(inode, on: "dgpu", home: .dedicated)
      laptop.machine.ask(laptop.engine, laptop.machine.query([inode])) { _ in }
    }
    laptop.machine.run()
    #expect(laptop.machine.assessments == 2)
    #expect(laptop.machine.imports == 10)
  }

  @Test func whoMayWakeIsNotServedByALookThatMayNot() throws {
    let laptop = try Laptop()
    laptop.machine.change("dgpu") { $0.power = .suspended }
    laptop.allocate(7, on: "dgpu", home: .dedicated, in: .system)
    var answers: [Answer] = []
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answers.append($0) }
    laptop.machine.ask(laptop.engine, laptop.machine.query([7]) { $0.wake = true }) {
      answers.append($0)
    }
    laptop.machine.run()
    #expect(answers.map(\.device) == [laptop.igpu, laptop.dgpu])
    #expect(answers.last?.confidence == .intent)
    #expect(laptop.machine.wakes == 1)
  }

  /// A card node is opened for who names it, though others were answered without, and joined or not.
  @Test func aCardIsAskedForThoseWhoNameIt() throws {
    let laptop = try Laptop()
    let display = laptop.machine.plug("display", "vkms", minor: 7) { $0.render = nil }
    laptop.allocate(7, on: nil, home: .system, name: .named("udmabuf"))
    func asked(_ edit: @escaping (inout Hints) -> Void = { _ in }) -> Bool {
      let answer = laptop.machine.place(laptop.engine, 7, edit)
      let lines = laptop.engine.explain(laptop.machine.query([7], edit), answer).devices
      return lines.first { $0.device == display }?.access == .inPlace
    }
    #expect(!asked())
    let imports = laptop.machine.imports
    #expect(!asked())
    #expect(laptop.machine.imports == imports)
    #expect(asked { $0.targetDevice = display })
    #expect(laptop.machine.imports == imports + 3)
    #expect(asked())
    #expect(laptop.machine.imports == imports + 3)

    laptop.allocate(8, on: nil, home: .system, name: .named("udmabuf"))
    laptop.machine.ask(laptop.engine, laptop.machine.query([8])) { _ in }
    let query = laptop.machine.query([8]) { $0.targetDevice = display }
    var answer: Answer?
    laptop.machine.ask(laptop.engine, query) { answer = $0 }
    laptop.machine.run()
    #expect(answer?.device == display)
    #expect(laptop.machine.imports == imports + 6)
  }

  @Test func theBoundOnAskersHolds() throws {
    let laptop = try Laptop()
    var settings = EngineSettings()
    settings.pendingQueries = 3
    let engine = QueryEngine(
      devices: laptop.machine, reader: laptop.machine, prober: laptop.machine,
      time: laptop.machine, settings: settings)
    try engine.start()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    var refused = 0
    var served = 0
    for _ in 0..<5 {
      engine.answer(laptop.machine.query([7]), holding: [laptop.machine.held(7)]) {
        if case .failure(.limitsExceeded) = $0 { refused += 1 } else { served += 1 }
      }
    }
    #expect(refused == 2)
    laptop.machine.run()
    #expect(served == 3)
  }

  // MARK: Changes in the middle

  @Test func aDeviceThatComesInTheMiddleIsAskedToo() throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answer = $0 }
    let egpu = laptop.machine.plug("egpu", "nouveau", minor: 5, dedicated: 1 << 30)
    laptop.machine.run()
    #expect(answer?.device == laptop.dgpu)
    #expect(answer?.generation == laptop.engine.generation)
    let text = laptop.engine.explain(laptop.machine.query([7]), answer!)
    #expect(text.devices.first { $0.device == egpu }?.access == .moves)
  }

  @Test(arguments: [false, true])
  func aDeviceThatGoesInTheMiddleLeavesTheOthersVerdicts(silently: Bool) throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 7)
    laptop.allocate(8, on: "dgpu", home: .dedicated)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([8])) { answer = $0 }
    #expect(laptop.machine.waiting == 2)
    laptop.machine.unplug("dgpu", silently: silently)
    laptop.machine.run()
    #expect(answer?.device == laptop.igpu)
    #expect(answer?.access == .moves)
    #expect(laptop.engine.device(laptop.dgpu) == nil)
    #expect(laptop.machine.moves == 0)
  }

  @Test func aSlotGivenToAnotherDeviceInTheMiddleTellsNothingOfIt() throws {
    let laptop = try Laptop()
    laptop.allocate(6, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 6)
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answer = $0 }
    #expect(laptop.machine.waiting == 2, "both are being asked")
    laptop.machine.unplug("dgpu")
    let other = laptop.machine.plug("other", "amdgpu", minor: 6, dedicated: 1 << 30)
    laptop.machine.run()
    #expect(answer != nil)
    let text = laptop.engine.explain(laptop.machine.query([7]), answer!)
    #expect(text.home != other)
    #expect(text.devices.first { $0.device == other }?.access == .moves)
  }

  @Test func releasedInTheMiddle() throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answer = $0 }
    try laptop.engine.release(laptop.dgpu) { _ in }
    laptop.machine.run()
    #expect(answer?.device == laptop.igpu)
    #expect(laptop.engine.device(laptop.dgpu)?.state == .released)
  }

  // MARK: Devices that hang

  @Test func aHungDeviceCostsItsDeadlineAndNoMore() throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "igpu", home: .system, name: .named("i915"))
    _ = laptop.machine.place(laptop.engine, 7)
    laptop.machine.hanging = ["dgpu"]
    laptop.allocate(8, on: "igpu", home: .system, name: .named("i915"))
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([8])) { answer = $0 }
    laptop.machine.run()
    #expect(answer == nil)
    laptop.machine.expire()
    #expect(answer?.device == laptop.igpu)
    #expect(answer?.access == .native)
    #expect(laptop.engine.device(laptop.dgpu)?.state == .unresponsive)
  }

  @Test func aHungDeviceIsAskedAgainWithBackOffOneCallAtATime() throws {
    let laptop = try Laptop()
    laptop.machine.hanging = ["dgpu"]
    laptop.allocate(7, on: "igpu", home: .system, name: .named("i915"))
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { _ in }
    laptop.machine.run()
    laptop.machine.expire()
    #expect(laptop.engine.device(laptop.dgpu)?.state == .unresponsive)

    let before = laptop.machine.assessments
    for _ in 0..<200 {
      _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
      laptop.machine.now += 20
    }
    #expect(laptop.machine.assessments == before + 1, "one call, which is still out")
    laptop.machine.expire()
    let answered = laptop.machine.now
    laptop.machine.hanging = []
    repeat {
      _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
      laptop.machine.now += 50
    } while laptop.engine.device(laptop.dgpu)?.state != .ready && laptop.machine.now < 60_000
    #expect(laptop.engine.device(laptop.dgpu)?.state == .ready)
    #expect(laptop.machine.now - answered >= 2_000)
  }

  // MARK: Letting go

  @Test func theBufferIsHeldNoLongerThanTheLook() throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    weak var held: HeldBuffer?
    var seen: [Bool] = []
    do {
      let buffer = laptop.machine.held(7)
      held = buffer
      laptop.engine.answer(laptop.machine.query([7]), holding: [buffer]) { _ in
        seen.append(held == nil)
      }
    }
    #expect(held != nil)
    laptop.machine.run()
    #expect(held == nil)
    #expect(seen.count == 1)
  }
}
