// Observations in progress: joined, changed by events, hung, and released.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

@Suite struct LookTests {
  // MARK: Joining

  @Test func askersOfOneBufferShareOneLook() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
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

  /// Introspection changes while a buffer is looked at: another driver is believed, or it is
  /// switched off. The look goes by what introspection says from then on.
  @Test(arguments: [true, false])
  func introspectionChangesInTheMiddle(isOnAfterwards: Bool) throws {
    let laptop = try Laptop(noMove: .ignored, introspection: true)
    laptop.machine.introspects = !isOnAfterwards
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let query = laptop.machine.query([7])
    var answers: [Answer] = []
    laptop.machine.ask(laptop.engine, query) { answers.append($0) }
    #expect(answers.isEmpty)
    laptop.machine.introspects = isOnAfterwards
    laptop.engine.forgetBuffers()
    laptop.machine.run()
    #expect(answers.count == 1)
    let evidence = laptop.engine.explain(query, try #require(answers.first)).evidence
    #expect(evidence.contains { $0.contains("kernel introspection") } == isOnAfterwards)
  }

  /// An import of it would keep a device busy for long, and no frame is as large.
  @Test func aHugeBufferIsGivenToNoDevice() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    laptop.machine.resize(7, to: EngineSettings().largestImport + 1)
    var answers: [Answer] = []
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answers.append($0) }
    laptop.machine.run()
    #expect(answers.count == 1)
    #expect(laptop.machine.imports == 0)
    #expect(laptop.engine.devices.allSatisfy { $0.state == .ready })
    laptop.machine.resize(7, to: EngineSettings().largestImport)
    laptop.machine.ask(laptop.engine, laptop.machine.query([7]) { $0.fresh = true }) {
      answers.append($0)
    }
    laptop.machine.run()
    #expect(answers.count == 2)
    #expect(laptop.machine.imports == 2)
  }

  /// Asked together, the buffers of one swapchain are answered as one after the other.
  @Test func aSiblingsLookIsWaitedFor() throws {
    let laptop = try Laptop()
    var answers: [Answer] = []
    for inode in 1...4 as ClosedRange<UInt64> {
      laptop.machine.allocate(inode, on: "dgpu", home: .dedicated)
      let query = laptop.machine.query([inode]) {
        $0.clientPID = 42
        $0.format = 1
      }
      laptop.machine.ask(laptop.engine, query) { answers.append($0) }
    }
    laptop.machine.run()
    #expect(answers.count == 4 && Set(answers.map(\.device)) == [laptop.dgpu])
    let seeded = laptop.engine.statistics.first { $0.name.description == "seeded" }?.value
    #expect(seeded == 3)
  }

  @Test func devicesAreAssessedOnceForAll() throws {
    let laptop = try Laptop()
    for inode in 1...5 as ClosedRange<UInt64> {
      laptop.machine.allocate(inode, on: "dgpu", home: .dedicated)
      laptop.machine.ask(laptop.engine, laptop.machine.query([inode])) { _ in }
    }
    laptop.machine.run()
    #expect(laptop.machine.assessments == 2)
    #expect(laptop.machine.imports == 10)
  }

  @Test func whoMayWakeIsNotServedByALookThatMayNot() throws {
    let laptop = try Laptop()
    laptop.machine.suspend("dgpu")
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated, in: .system)
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

  /// A card node is opened for a query that names it, though others were answered without it, and
  /// whether or not they wait for their answer.
  @Test func aCardIsAskedForThoseWhoNameIt() throws {
    let laptop = try Laptop()
    let display = laptop.machine.plug("display", "vkms", minor: 7) { $0.render = nil }
    laptop.machine.allocate(7, on: nil, home: .system)
    func asked(_ edit: @escaping (inout Hints) -> Void = { _ in }) -> Bool {
      let answer = laptop.machine.place(laptop.engine, 7, edit)
      let text = laptop.engine.explain(laptop.machine.query([7], edit), answer)
      // The table says that it reaches buffers of no device; whether it was asked is seen in the
      // evidence.
      #expect(text.devices.first { $0.device == display }?.access == .inPlace)
      return text.evidence.contains {
        $0.hasPrefix("reached at every look") && $0.contains("vkms")
      }
    }
    #expect(!asked())
    let imports = laptop.machine.imports
    #expect(!asked())
    #expect(laptop.machine.imports == imports)
    #expect(asked { $0.targetDevice = display })
    #expect(laptop.machine.imports == imports + 3)
    #expect(asked())
    #expect(laptop.machine.imports == imports + 3)

    laptop.machine.allocate(8, on: nil, home: .system)
    laptop.machine.ask(laptop.engine, laptop.machine.query([8])) { _ in
      #expect(laptop.machine.imports == imports + 5, "as if nobody asked after it")
    }
    let query = laptop.machine.query([8]) { $0.targetDevice = display }
    var answer: Answer?
    laptop.machine.ask(laptop.engine, query) { answer = $0 }
    laptop.machine.run()
    #expect(answer?.device == display)
    #expect(laptop.machine.imports == imports + 8)
  }

  @Test func theBoundOnAskersHolds() throws {
    let laptop = try Laptop()
    let engine = laptop.machine.engine { $0.pendingQueries = 3 }
    try engine.start()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
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
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answer = $0 }
    let egpu = laptop.machine.plug("egpu", "nouveau", minor: 5, dedicated: 1 << 30)
    laptop.machine.reach("egpu", "dgpu", .system)
    laptop.machine.run()
    #expect(answer?.device == laptop.dgpu)
    #expect(answer?.generation == laptop.engine.generation)
    let text = laptop.engine.explain(laptop.machine.query([7]), answer!)
    #expect(text.devices.first { $0.device == egpu }?.access == .moves)
  }

  /// A buffer in the memory of a device that has gone can't be used any more.
  @Test(arguments: [false, true], [(Memory.system, Access.inPlace), (.dedicated, .unreachable)])
  func aDeviceThatGoesInTheMiddleLeavesTheOthersVerdicts(
    silently: Bool, others: (residency: Memory, access: Access)
  ) throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 7)
    laptop.machine.allocate(8, on: "dgpu", home: .dedicated, in: others.residency)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([8])) { answer = $0 }
    #expect(laptop.machine.waiting == 2)
    laptop.machine.unplug("dgpu", silently: silently)
    laptop.machine.run()
    #expect(answer?.device == laptop.igpu)
    #expect(answer?.access == others.access)
    #expect(laptop.engine.device(laptop.dgpu) == nil)
    #expect(laptop.machine.moves == 0)
  }

  @Test func aSlotGivenToAnotherDeviceInTheMiddleTellsNothingOfIt() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(6, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 6)
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { answer = $0 }
    #expect(laptop.machine.waiting == 2, "both are being asked")
    laptop.machine.unplug("dgpu")
    let other = laptop.machine.plug("other", "amdgpu", minor: 6, dedicated: 1 << 30)
    laptop.machine.run()
    #expect(answer != nil)
    let text = laptop.engine.explain(laptop.machine.query([7]), answer!)
    #expect(text.home != other)
    let access = text.devices.first { $0.device == other }?.access
    #expect(access == .unreachable, "its own: the memory has gone with the device")
  }

  @Test func releasedInTheMiddle() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
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
    laptop.machine.allocate(7, on: "igpu", home: .system)
    _ = laptop.machine.place(laptop.engine, 7)
    laptop.machine.hang("dgpu")
    laptop.machine.allocate(8, on: "igpu", home: .system)
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
    laptop.machine.hang("dgpu")
    laptop.machine.allocate(7, on: "igpu", home: .system)
    laptop.machine.ask(laptop.engine, laptop.machine.query([7])) { _ in }
    laptop.machine.run()
    laptop.machine.expire()
    #expect(laptop.engine.device(laptop.dgpu)?.state == .unresponsive)

    let before = laptop.machine.assessments
    let failed = laptop.machine.now
    while laptop.machine.now < failed + 1_000 + probeDeadline + 1_980 {
      _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
      laptop.machine.now += 20
    }
    #expect(laptop.machine.assessments == before + 1, "one call after 1 s, the next 2 s after it")
    laptop.machine.reset("dgpu")
    repeat {
      laptop.machine.now += 10
      _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
    } while laptop.engine.device(laptop.dgpu)?.state != .ready
      && laptop.machine.now < failed + 60_000
    #expect(laptop.engine.device(laptop.dgpu)?.state == .ready)
    #expect(laptop.machine.assessments == before + 2)
    #expect(laptop.machine.now == failed + 1_000 + probeDeadline + 2_000)
  }

  @Test func aHungCardIsAskedAgainForWhoNamesIt() throws {
    let laptop = try Laptop()
    let display = laptop.machine.plug("display", "vkms", minor: 7) { $0.render = nil }
    laptop.machine.allocate(7, on: nil, home: .system)
    laptop.machine.hang("display")
    laptop.machine.ask(laptop.engine, laptop.machine.query([7]) { $0.targetDevice = display }) {
      _ in
    }
    laptop.machine.run()
    laptop.machine.expire()
    #expect(laptop.engine.device(display)?.state == .unresponsive)
    laptop.machine.reset("display")
    let assessments = laptop.machine.assessments
    laptop.machine.now += 1_000
    _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
    #expect(laptop.machine.assessments == assessments)
    #expect(laptop.engine.device(display)?.state == .unresponsive)
    _ = laptop.machine.place(laptop.engine, 7) { ($0.fresh, $0.targetDevice) = (true, display) }
    #expect(laptop.machine.assessments == assessments + 1)
    #expect(laptop.engine.device(display)?.state == .ready)
  }

  // MARK: Devices that can't be opened

  @Test func aDeviceThatCantBeOpenedIsLeftOutAndTriedAgainWithBackOff() throws {
    let laptop = try Laptop(noMove: .ignored)
    laptop.machine.plug("soc", "v3d", minor: 7) { $0.openable = false }
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let answer = laptop.machine.place(laptop.engine, 7)
    #expect(answer.device == laptop.dgpu)
    #expect((answer.access, answer.confidence) == (.native, .intent))
    let assessments = laptop.machine.assessments
    for _ in 0..<10 { _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true } }
    #expect(laptop.machine.assessments == assessments, "it is not tried again at once")
    laptop.machine.now += 1_000
    for _ in 0..<10 { _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true } }
    #expect(laptop.machine.assessments == assessments + 1)
  }

  /// Opening a card node takes DRM master for a moment: only for a query that names it.
  @Test func aCardThatCouldNotBeOpenedIsNotTriedAgainForOthers() throws {
    let laptop = try Laptop()
    let display = laptop.machine.plug("display", "vkms", minor: 7) {
      ($0.render, $0.openable) = (nil, false)
    }
    laptop.machine.allocate(7, on: nil, home: .system)
    _ = laptop.machine.place(laptop.engine, 7) { $0.targetDevice = display }
    let assessments = laptop.machine.assessments
    laptop.machine.now += 1_000
    _ = laptop.machine.place(laptop.engine, 7) { $0.fresh = true }
    #expect(laptop.machine.assessments == assessments)
    _ = laptop.machine.place(laptop.engine, 7) { ($0.fresh, $0.targetDevice) = (true, display) }
    #expect(laptop.machine.assessments == assessments + 1)
  }

  // MARK: Letting go

  @Test func theBufferIsHeldNoLongerThanTheLook() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
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
