// Devices appear, go, sleep and are released: what the engine reports, and what it answers.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

@Suite struct DeviceTests {
  /// What the engine reported, in order.
  private final class Recorder {
    var told: [String] = []
    init(_ engine: QueryEngine) {
      engine.onDeviceChange = { [unowned self, unowned engine] change in
        let id = change.device.description.stableID
        self.told.append("\(change.kind) \(id) \(engine.generation)")
      }
      engine.onInvalidated = { [unowned self, unowned engine] devices, byPowerAlone in
        let why = byPowerAlone ? " by power" : ""
        self.told.append("invalidated \(engine.generation) \(devices.map(\.minor))\(why)")
      }
    }
  }

  @Test func oneInvalidationAChange() throws {
    let laptop = try Laptop()
    let recorder = Recorder(laptop.engine)
    let start = laptop.engine.generation
    laptop.machine.plug("egpu", "nouveau", minor: 5)
    laptop.machine.change("egpu") { $0.model = "shown, no more" }
    laptop.machine.unplug("egpu")
    laptop.machine.unplug("egpu")
    #expect(
      recorder.told == [
        "added simulated-egpu \(start + 1)", "invalidated \(start + 1) [133]",
        "changed simulated-egpu \(start + 1)", "removed simulated-egpu \(start + 2)",
        "invalidated \(start + 2) [133]",
      ])
  }

  /// The daemon may delay telling callers of changes of power alone.
  @Test func aDeviceThatFallsAsleepIsNewsOfPowerAlone() throws {
    let laptop = try Laptop()
    let recorder = Recorder(laptop.engine)
    let start = laptop.engine.generation
    laptop.machine.suspend("dgpu")
    laptop.machine.resume("dgpu")
    laptop.machine.suspend("dgpu", silently: true)
    laptop.machine.change("dgpu") { $0.ignored = true }
    #expect(
      recorder.told.filter { $0.hasPrefix("invalidated") } == [
        "invalidated \(start + 1) [128] by power", "invalidated \(start + 2) [128] by power",
        "invalidated \(start + 3) [128]",
      ])
  }

  @Test func onlyAMeasuredRowThatForbidsIsNewsToAnyone() throws {
    let laptop = try Laptop()
    let recorder = Recorder(laptop.engine)
    let start = laptop.engine.generation
    let confirms = PairRow.parse("nouveau i915 moves unknown unknown").rows
    let forbids = PairRow.parse("amdgpu xe moves unknown unknown").rows
    laptop.engine.use(measuredPairs: confirms)
    #expect(recorder.told == [])
    laptop.engine.use(measuredPairs: confirms + forbids)
    laptop.engine.use(measuredPairs: confirms + forbids)
    #expect(laptop.engine.pairs.all.filter { $0.origin == .measured }.count == 2)
    laptop.engine.use(measuredPairs: [])
    #expect(
      recorder.told.map { $0.split(separator: " ").prefix(2).joined(separator: " ") } == [
        "invalidated \(start + 1)", "invalidated \(start + 2)",
      ])
  }

  @Test func ownRowsLeaveTheMeasuredOnesStanding() throws {
    let laptop = try Laptop()
    laptop.engine.use(measuredPairs: PairRow.parse("amdgpu xe moves unknown unknown").rows)
    laptop.engine.use(ownPairs: PairRow.parse("amdgpu xe nothing moves works").rows)
    #expect(laptop.engine.pairs.all.prefix(2).map(\.origin) == [.own, .measured])
  }

  @Test func overrunIsMendedByEnumeration() throws {
    let laptop = try Laptop()
    laptop.machine.unplug("dgpu", silently: true)
    #expect(laptop.engine.devices.count == 2)
    laptop.machine.overrun()
    #expect(laptop.engine.devices.map(\.description.stableID) == ["simulated-igpu"])
  }

  @Test func devicesInStableOrderThePrimaryFirst() throws {
    let laptop = try Laptop()
    laptop.machine.plug("aaa", "nouveau", minor: 9)
    #expect(
      laptop.engine.devices.map(\.description.stableID)
        == ["simulated-igpu", "simulated-aaa", "simulated-dgpu"])
    #expect(laptop.engine.primary?.description.stableID == "simulated-igpu")
    #expect(laptop.engine.devices.map(\.isPrimary) == [true, false, false])
  }

  @Test func aHintMayNameADeviceWhoseEventHasNotCome() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: nil, home: .system)
    _ = laptop.machine.place(laptop.engine, 7)
    laptop.machine.unplug("dgpu")
    // The device is back, but its event is still in the queue.
    let late = laptop.machine.plug("late", "i915", minor: 62, silently: true) { $0.card = nil }
    let answer = laptop.machine.place(laptop.engine, 7) { $0.primaryDevice = late }
    #expect(answer.device == late)
    #expect(answer.access == .inPlace)
  }

  @Test func aNumberThatNamesNothingIsSearchedForOnce() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let nothing = DeviceNumber(major: 226, minor: 250)
    _ = laptop.machine.place(laptop.engine, 7)
    let first = laptop.machine.place(laptop.engine, 7) { $0.targetDevice = nothing }
    let query = laptop.machine.query([7]) { $0.targetDevice = nothing }
    #expect(first.device == laptop.dgpu)
    #expect(laptop.engine.answerNow(query) != nil)
    let text = laptop.engine.explain(query, first)
    #expect(text.evidence.contains("target-device 226:250 names no known device: ignored"))
  }

  @Test func anExporterThatGoesTakesItsVerdictsAlong() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    #expect(laptop.machine.place(laptop.engine, 7).device == laptop.dgpu)
    laptop.machine.unplug("dgpu")
    let after = laptop.machine.place(laptop.engine, 7)
    #expect(after.device == laptop.igpu)
    #expect(after.access == .moves)
    #expect(after.confidence == .guess)
    let replugged = laptop.machine.plug("dgpu")
    #expect(laptop.machine.place(laptop.engine, 7).access != .native)
    #expect(replugged == laptop.dgpu)
  }

  @Test func aDeviceThatComesIsAskedBehindAndThatChangesNoAnswer() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let before = laptop.machine.place(laptop.engine, 7)
    laptop.machine.plug("egpu", "nouveau", minor: 5, dedicated: 1 << 30)
    let query = laptop.machine.query([7])
    let served = laptop.engine.answerNow(query)
    #expect(served?.device == before.device)
    #expect(served?.stale == true)
    var refreshed = 0
    laptop.engine.onLooked = { _ in refreshed += 1 }
    laptop.machine.ask(laptop.engine, query) { _ in }
    laptop.machine.run()
    #expect(laptop.engine.answerNow(query)?.device == before.device)
    #expect(laptop.engine.answerNow(query)?.stale == false)
    #expect(refreshed == 1, "who reaches it is shown, though the answer is the same")
  }

  @Test func aHintThatNamesADeviceNotYetAskedIsLookedAtFirst() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: nil, home: .system)
    _ = laptop.machine.place(laptop.engine, 7)
    let egpu = laptop.machine.plug("egpu", "nouveau", minor: 5)
    let query = laptop.machine.query([7]) { $0.targetDevice = egpu }
    #expect(laptop.engine.answerNow(query) == nil)
    let answer = laptop.machine.place(laptop.engine, 7) { $0.targetDevice = egpu }
    #expect(answer.device == egpu)
    #expect(answer.access == .inPlace)
  }

  // MARK: Sleep

  @Test func aSleepingDeviceIsNeverAskedUnlessTheAskerSaysSo() throws {
    let laptop = try Laptop()
    laptop.machine.suspend("dgpu", silently: true)
    for inode in 1...100 as ClosedRange<UInt64> {
      laptop.machine.allocate(inode, on: "dgpu", home: .dedicated, in: .system)
      _ = laptop.machine.place(laptop.engine, inode)
    }
    #expect(laptop.machine.wakes == 0)
    #expect(laptop.engine.device(laptop.dgpu)?.description.power == .suspended)
    let answer = laptop.machine.place(laptop.engine, 1) { $0.wake = true }
    #expect(laptop.machine.wakes == 1)
    #expect(answer.device == laptop.dgpu)
    #expect(answer.confidence == .intent)
  }

  @Test func aDeviceThatWokeIsAskedThen() throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.suspend("dgpu")
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated, in: .system)
    #expect(laptop.machine.place(laptop.engine, 7).device == laptop.igpu)
    laptop.machine.resume("dgpu")
    laptop.machine.migrate(7, to: .dedicated)
    laptop.machine.now += 1_000
    let answer = laptop.machine.place(laptop.engine, 7)
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .native)
    #expect(answer.confidence == .stable)
  }

  // MARK: Release

  @Test func aReleasedDeviceIsNotAskedAndNotChosen() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 7)
    var closed = false
    try laptop.engine.release(laptop.dgpu) { closed = $0 }
    #expect(throws: EngineError.released) { try laptop.engine.release(laptop.dgpu) { _ in } }
    laptop.machine.run()
    #expect(closed)
    let imports = laptop.machine.imports
    #expect(laptop.machine.place(laptop.engine, 7) { $0.fresh = true }.device == laptop.igpu)
    #expect(laptop.machine.imports == imports, "an attachment would keep a hold of its exporter")
    laptop.engine.unrelease("simulated-dgpu")
    #expect(laptop.engine.device(laptop.dgpu)?.state == .ready)
    #expect(laptop.machine.place(laptop.engine, 7).device == laptop.dgpu)
  }

  /// Two awake devices; an attachment to a buffer of "exporter" wakes it.
  private func beside(_ exporter: String) throws -> (SimulatedMachine, QueryEngine, DeviceNumber) {
    let machine = SimulatedMachine(introspection: true)
    let number = machine.plug("exporter", exporter, minor: 0, dedicated: 8 << 30)
    machine.plug("importer", "i915", minor: 1) { $0.bootVGA = true }
    machine.allocate(7, on: "exporter", home: .system)
    machine.reach("importer", "exporter", .system)
    let engine = machine.engine()
    try engine.start()
    _ = machine.place(engine, 7)  // the devices are assessed
    return (machine, engine, number)
  }

  @Test func anExporterThatFallsAsleepWhileAnImportWaitsIsNotWoken() throws {
    let (machine, engine, _) = try beside("xe")
    var answers: [Answer] = []
    machine.allocate(8, on: "exporter", home: .system)
    machine.ask(engine, machine.query([8])) { answers.append($0) }
    let waiting = machine.waiting
    machine.suspend("exporter", silently: true)
    machine.run()
    #expect(waiting > 0)
    #expect(machine.wakes == 0)
    #expect(answers.count == 1)
    machine.resume("exporter", silently: true)
    machine.now += 1_000
    let imports = machine.imports
    _ = machine.place(engine, 8) { $0.primaryDevice = machine.kernel.scenario.devices[1].number }
    #expect(machine.imports > imports, "it can be asked now")
  }

  @Test func anImportThatWaitsDoesNotAttachToAReleasedExporter() throws {
    let (machine, engine, exporter) = try beside("amdgpu")
    var answers: [Answer] = []
    machine.allocate(8, on: "exporter", home: .system)
    machine.ask(engine, machine.query([8])) { answers.append($0) }
    let (waiting, attached) = (machine.waiting, machine.kernel.attachments)
    try engine.release(exporter) { _ in }
    machine.run()
    #expect(waiting > 0)
    #expect(answers.count == 1)
    #expect(machine.kernel.attachments == attached)
  }

  @Test func whatIsNoDeviceCantBeReleased() throws {
    let laptop = try Laptop()
    #expect(throws: EngineError.unknownDevice) {
      try laptop.engine.release(DeviceNumber(major: 1, minor: 3)) { _ in }
    }
  }

  // MARK: The kernel's mind

  @Test func noMoveIsKnownOnceSomeoneAsked() throws {
    let kernels: [(KernelModel.NoMoveFlag, NoMove)] = [
      (.honoured, .honoured), (.validated, .honoured), (.ignored, .ignored),
    ]
    for (noMove, told) in kernels {
      let laptop = try Laptop(noMove: noMove)
      #expect(laptop.engine.noMove == .unknown)
      laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
      _ = laptop.machine.place(laptop.engine, 7)
      #expect(laptop.engine.noMove == told)
    }
  }

  @Test func withoutDevicesThereIsNoAnswerButAnAnswer() throws {
    let machine = SimulatedMachine()
    let engine = machine.engine()
    try engine.start()
    machine.allocate(7, on: nil, home: .system)
    let answer = machine.place(engine, 7)
    #expect(answer.device == .none)
    #expect(answer.access == .unreachable)
    #expect(engine.explain(machine.query([7]), answer).rule == "no-device")
  }
}
