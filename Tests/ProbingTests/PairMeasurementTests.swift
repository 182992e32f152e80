// Which pairs are measured, when, and what the end of a measurement says. The trials are scripted.

import DRM
import Engine
import Glibc
import Linux
import Placement
import Ports
import Simulation
import Testing

@testable import Probing

@Suite struct PairMeasurementTests {
  private let kernel: SimulatedKernel
  private let prober: SimulatedProber
  private let engine: QueryEngine
  private let trials = ScriptedTrials()
  private let later = Later()
  private let told = Told()
  private let measurement: PairMeasurement

  private final class Told {
    var rows: [[PairRow]] = []
  }

  /// The functions that are to be called later, and the delays that were requested.
  private final class Later {
    var calls: [() -> Void] = []
    var delays: [Milliseconds] = []
    func run() {
      while !calls.isEmpty { calls.removeFirst()() }
    }
  }

  init() throws {
    var scenario = Scenario(name: "test")
    scenario.devices = ["amdgpu", "nouveau", "vgem"].enumerated().map { index, driver in
      var device = DeviceModel(id: driver, driver: driver)
      (device.card, device.render) = (UInt32(index), 128 + UInt32(index))
      device.dedicated = driver == "vgem" ? 0 : 1 << 30
      device.integrated = false
      return device
    }
    scenario.buffers = [BufferModel(id: "b", exporter: 0, home: .dedicated, residency: .dedicated)]
    let clock = VirtualClock()
    kernel = SimulatedKernel(scenario, time: clock)
    prober = SimulatedProber(kernel, time: clock)
    engine = QueryEngine(devices: kernel, reader: kernel, prober: prober, time: clock)
    try engine.start()
    measurement = PairMeasurement(
      soon: { [later] delay, call in
        later.delays.append(delay)
        later.calls.append(call)
      }, trials: trials)
    measurement.onChange = { [told] in told.rows.append($0) }
  }

  /// Measures until nothing is left to do.
  private func run() {
    measurement.goOn(engine)
    later.run()
  }

  private func row(_ exporter: String, _ importer: String) -> PairRow? {
    told.rows.last?.first {
      $0.exporter == DriverID(exporter) && $0.importer == .driver(DriverID(importer))
    }
  }

  // MARK: Which pairs

  @Test func eachPairOfDifferentDriversIsMeasuredOnce() {
    run()
    let all = [
      "amdgpu nouveau", "amdgpu vgem", "nouveau amdgpu", "nouveau vgem",
    ]
    #expect(trials.imported == all)
    #expect(told.rows.map(\.count) == [1, 2, 3, 4])
    run()
    #expect(trials.imported == all)
  }

  @Test func oneIsMeasuredAtATime() {
    trials.holds = true
    run()
    run()
    #expect(trials.made == ["amdgpu"])
    trials.holds = false
    trials.letGo()
    later.run()
    #expect(trials.imported.count == 4)
  }

  @Test func driversThatIntrospectionIsNotBelievedAboutExportNothing() {
    trials.believed = ["nouveau"]
    run()
    #expect(trials.imported == ["nouveau amdgpu", "nouveau vgem"])
  }

  @Test func sleepersAreLeftAloneUntilTheyAreAwake() {
    trials.asleep = ["nouveau"]
    run()
    #expect(trials.imported == ["amdgpu vgem"])
    trials.asleep = []
    run()
    #expect(trials.imported.dropFirst() == ["amdgpu nouveau", "nouveau amdgpu", "nouveau vgem"])
  }

  @Test func devicesThatAreReleasedOrIgnoredAreLeftAlone() throws {
    let nouveau = kernel.scenario.devices[1].number
    try engine.release(nouveau) { _ in }
    prober.runPending()
    kernel.change(2) { $0.ignored = true }
    run()
    #expect(trials.made == [])
  }

  @Test func whatIsSaidToHangIsNotTried() throws {
    engine.use(ownPairs: PairRow.parse("amdgpu nouveau nothing unknown hangs").rows)
    run()
    #expect(trials.imported == ["amdgpu vgem", "nouveau amdgpu", "nouveau vgem"])
  }

  /// A module that was loaded anew may be another build.
  @Test func anotherVersionOfADriverIsMeasuredAnewAndReplacesItsRows() {
    run()
    kernel.change(2) { $0.driverVersion = "2.0" }
    run()
    #expect(trials.imported.dropFirst(4) == ["amdgpu vgem", "nouveau vgem"])
    #expect(told.rows.last?.count == 4)
    #expect(row("amdgpu", "vgem")?.source.contains("vgem 2.0") == true)
  }

  @Test func whoWaitsForAnAnswerGoesFirst() throws {
    let fd = try makeBuffer("b")
    let identity = try #require(kernel.identity(of: fd.rawValue))
    var planes = Planes()
    planes.append(identity)
    engine.answer(
      Query(planes: planes, hints: Hints()), holding: [HeldBuffer(identity: identity, fd: fd)]
    ) { _ in }
    #expect(!engine.isIdle)
    measurement.goOn(engine)
    for _ in 0..<3 { later.calls.removeFirst()() }
    #expect(trials.made == [])
    #expect(later.delays.allSatisfy { $0 > 0 })
    prober.runPending()
    #expect(engine.isIdle)
    later.run()
    #expect(trials.imported.count == 4)
  }

  // MARK: What an end says

  @Test func aPageThatStayedOrMoved() {
    trials.script = [.stays, .moves]
    run()
    #expect(row("amdgpu", "vgem")?.attach == .moves)
    #expect(row("amdgpu", "nouveau")?.attach == .nothing)
    #expect(row("amdgpu", "nouveau")?.map == .unknown, "the importer's first use was not seen")
    #expect(row("amdgpu", "nouveau")?.memory == .dedicated)
  }

  @Test func aRefusalIsARowUnlessTheImporterHasGone() {
    trials.script = [.stays, .refuses, .stays, .refusesAndMoves]
    run()
    #expect(row("amdgpu", "vgem")?.attach == .fails)
    #expect(row("amdgpu", "vgem")?.source.contains("\(Errno(ENODEV))") == true)
    #expect((row("nouveau", "vgem")?.attach, row("nouveau", "vgem")?.map) == (.moves, .fails))
  }

  @Test(arguments: [
    ScriptedTrials.Outcome.noBuffer, .bufferElsewhere, .exporterFallsAsleep, .importerGoes,
    .timesOut, .notSeen,
  ])
  func whatTellsNothingIsTriedThreeTimes(outcome: ScriptedTrials.Outcome) {
    trials.believed = ["amdgpu"]
    trials.script = [outcome, outcome, outcome]
    run()
    #expect(row("amdgpu", "nouveau") == nil)
    #expect(row("amdgpu", "vgem") != nil, "the others go on")
    #expect(trials.made.count == 3 + 1)
    run()
    #expect(trials.made.count == 3 + 1)
    if [.noBuffer, .bufferElsewhere, .exporterFallsAsleep].contains(outcome) {
      #expect(trials.imported == ["amdgpu vgem"], "nothing was imported")
    }
  }

  @Test func whatIsNoLongerBelievedAtTheEndIsNoRow() {
    trials.script = [.distrust]
    run()
    #expect(trials.imported == ["amdgpu nouveau"])
    #expect(told.rows == [])
  }

  @Test func allIsForgottenWhenIntrospectionIsWrong() {
    measurement.forget()
    #expect(told.rows == [], "nothing was known")
    trials.script = [.timesOut, .timesOut, .timesOut]
    run()
    #expect(told.rows.last?.count == 3)
    measurement.forget()
    #expect(told.rows.last == [])
    run()
    #expect(told.rows.last?.count == 4, "failures are forgotten too")
  }
}

/// Devices on which trials end as `script` says, one after the other; then everything stays in
/// place.
final class ScriptedTrials: PairTrials {
  enum Outcome {
    case stays, moves, refuses, refusesAndMoves
    /// Dedicated memory is full.
    case noBuffer
    /// It lies in system memory from the start.
    case bufferElsewhere
    case exporterFallsAsleep, importerGoes, timesOut
    /// Introspection tells nothing of the buffer after the import.
    case notSeen
    /// Introspection fails a known answer during the import.
    case distrust
  }

  var script: [Outcome] = []
  var believed: Set<String> = ["amdgpu", "nouveau", "vgem"]
  var asleep: Set<String> = []
  /// Exporters of which a buffer was asked for, and "EXPORTER IMPORTER" of what was imported.
  private(set) var made: [String] = []
  private(set) var imported: [String] = []
  /// Buffers are made at `letGo`.
  var holds = false
  private var held: [() -> Void] = []
  private var outcome = Outcome.stays
  private var memory = Memory.dedicated

  private static func buffer() -> ScratchBuffer? {
    guard let fd = try? OwnedFD.duplicate(STDIN_FILENO) else { return nil }
    return ScratchBuffer(fd, in: .dedicated, of: nil)
  }

  func letGo() {
    let calls = held
    held = []
    for call in calls { call() }
  }

  func believes(_ driver: String) -> Bool { believed.contains(driver) }

  func isAwake(_ device: DeviceDescription) -> Bool {
    // Only once: at the next trial it is awake again.
    if outcome == .exporterFallsAsleep, device.driver == made.last {
      outcome = .stays
      return false
    }
    return !asleep.contains(device.driver)
  }

  func isThere(_ device: DeviceDescription) -> Bool { outcome != .importerGoes }

  func memory(of buffer: ScratchBuffer) -> Memory { memory }

  func makeBuffer(on device: ProbeWorkers.Choice, done: @escaping (ScratchBuffer?) -> Void) {
    made.append(device.device.driver)
    outcome = script.isEmpty ? .stays : script.removeFirst()
    memory = outcome == .bufferElsewhere ? .system : .dedicated
    let buffer = outcome == .noBuffer ? nil : Self.buffer()
    if holds { held.append { done(buffer) } } else { done(buffer) }
  }

  func importBuffer(
    _ buffer: ScratchBuffer, into importer: ProbeWorkers.Choice,
    done: @escaping (Result<DeviceNode.Import?, NotImported>) -> Void
  ) {
    imported.append("\(made.last!) \(importer.device.driver)")
    switch outcome {
    case .moves, .refusesAndMoves: memory = .system
    case .notSeen: memory = .unknown
    case .distrust: believed = []
    default: break
    }
    switch outcome {
    case .timesOut: done(.failure(.timedOut))
    case .refuses, .refusesAndMoves, .importerGoes: done(.success(.failed(Errno(ENODEV))))
    default: done(.success(.reached(.none)))
    }
  }
}
