// The simulated machine with the tests' names: devices by id, buffers by number. Calls into drivers
// are counted, and return when the test calls `run` or `expire`.

import Linux
import Placement
import Ports
import Simulation

@testable import Engine

final class SimulatedMachine {
  let kernel: SimulatedKernel
  /// false: no driver keeps a record of allocations.
  var records = true
  /// false: introspection, which this kernel has, is switched off.
  var introspects = true
  /// Calls that were requested.
  private(set) var imports = 0
  private(set) var assessments = 0
  /// How often the power of a device was read.
  private(set) var powerReadings = 0
  /// Calls that have not returned.
  private(set) var waiting = 0
  private let clock = VirtualClock()
  private let workers: SimulatedProber
  private var handler: ((DeviceEvent) -> Void)?
  private var silent = false
  private var devices: [String: Int] = [:]
  private var buffers: [UInt64: Int] = [:]
  private var numbers: [BufferIdentity: UInt64] = [:]
  private var sizes: [BufferIdentity: UInt64] = [:]

  init(
    noMove: KernelModel.NoMoveFlag = .honoured, introspection: Bool = false,
    version: KernelVersion = newestKernel
  ) {
    var scenario = Scenario(name: "test")
    scenario.kernel.noMove = noMove
    scenario.kernel.introspection = introspection
    scenario.kernel.version = version
    kernel = SimulatedKernel(scenario, time: clock)
    workers = SimulatedProber(kernel, time: clock)
  }

  var moves: Int { kernel.harm.moves }
  var wakes: Int { kernel.harm.wakes }

  // MARK: Devices

  /// Adds a device that is not present yet. It has a render node and a card node, unless `edit`
  /// changes that.
  func add(
    _ id: String, _ driver: String, minor: UInt32, dedicated: UInt64 = 0,
    _ edit: (inout DeviceModel) -> Void = { _ in }
  ) {
    var device = DeviceModel(id: id, driver: driver)
    device.present = false
    (device.card, device.render) = (minor, 128 + minor)
    (device.dedicated, device.integrated) = (dedicated, dedicated == 0)
    edit(&device)
    devices[id] = kernel.add(device)
  }

  @discardableResult
  func plug(
    _ id: String, _ driver: String, minor: UInt32, dedicated: UInt64 = 0, silently: Bool = false,
    _ edit: (inout DeviceModel) -> Void = { _ in }
  ) -> DeviceNumber {
    add(id, driver, minor: minor, dedicated: dedicated, edit)
    return plug(id, silently: silently)
  }

  /// A device that was added, also after it was unplugged.
  @discardableResult
  func plug(_ id: String, silently: Bool = false) -> DeviceNumber {
    quietly(silently) { kernel.plug(devices[id]!) }
    return kernel.scenario.devices[devices[id]!].number
  }

  func unplug(_ id: String, silently: Bool = false) {
    quietly(silently) { kernel.unplug(devices[id]!) }
  }

  /// Changes its description.
  func change(
    _ id: String, silently: Bool = false, _ edit: (inout DeviceDescription) -> Void = { _ in }
  ) {
    quietly(silently) { kernel.change(devices[id]!, edit) }
  }

  /// With an event, unless `silently`; real machines send none for runtime power.
  func suspend(_ id: String, silently: Bool = false) {
    kernel.suspend(devices[id]!)
    change(id, silently: silently)
  }

  func resume(_ id: String, silently: Bool = false) {
    kernel.play(.resume, on: devices[id]!)
    change(id, silently: silently)
  }

  func hang(_ id: String) { kernel.play(.hang, on: devices[id]!) }
  func reset(_ id: String) { kernel.play(.reset, on: devices[id]!) }

  func overrun() { handler?(.overrun) }

  private func quietly(_ silently: Bool, _ body: () -> Void) {
    silent = silently
    body()
    silent = false
  }

  // MARK: Buffers

  /// A buffer that is allocated now.
  /// - Parameters:
  ///   - exporter: nil: no device, as for udmabuf.
  ///   - residency: where it lies now; nil: at its home.
  func allocate(
    _ number: UInt64, on exporter: String?, home: Memory, in residency: Memory? = nil
  ) {
    let id = "b\(number)"
    let model = BufferModel(
      id: id, exporter: exporter.map { devices[$0]! }, home: home, residency: residency ?? home)
    buffers[number] = kernel.add(model)
    numbers[identity(number)] = number
  }

  /// Its fd reports this size from now on.
  func resize(_ number: UInt64, to size: UInt64) { sizes[identity(number)] = size }

  func migrate(_ number: UInt64, to memory: Memory) { kernel.migrate(buffers[number]!, to: memory) }

  func residency(_ number: UInt64) -> Memory { dmabuf(number).residency }

  /// `importer` can use in place what `exporter` has in this memory.
  func reach(_ importer: String, _ exporter: String, _ memory: Reach.How) {
    kernel.add(Reach(importer: devices[importer]!, exporter: devices[exporter]!, how: memory))
  }

  func identity(_ number: UInt64) -> BufferIdentity { dmabuf(number).identity }

  private func dmabuf(_ number: UInt64) -> SimulatedDMABuf {
    kernel.dmabuf(buffers[number]!, plane: 0)!
  }

  func held(_ number: UInt64) -> HeldBuffer {
    HeldBuffer(identity: identity(number), fd: try! makeBuffer("b\(number)"))
  }

  // MARK: Time

  /// Setting it to an earlier time has no effect.
  var now: Milliseconds {
    get { clock.now }
    set { clock.advance(to: newValue) }
  }

  /// Lets every call that can return do so, and the calls that follow from them.
  func run() { workers.runPending() }

  /// Lets the deadline of hung calls pass.
  func expire() {
    now += probeDeadline
    run()
  }

  // MARK: Asking

  func engine(_ edit: (inout EngineSettings) -> Void = { _ in }) -> QueryEngine {
    var settings = EngineSettings()
    settings.kernel = kernel.scenario.kernel.version
    edit(&settings)
    return QueryEngine(
      devices: self, reader: self, prober: self, time: clock, settings: settings)
  }

  /// Asks as the bus room does: from the cache, else by an observation whose calls all return.
  func place(
    _ engine: QueryEngine, _ number: UInt64, _ edit: (inout Hints) -> Void = { _ in }
  ) -> Answer {
    let query = query([number], edit)
    if let answer = engine.answerNow(query) { return answer }
    var answers: [Answer] = []
    ask(engine, query) { answers.append($0) }
    run()
    precondition(answers.count == 1, "the answer did not come, or came \(answers.count) times")
    return answers[0]
  }

  func query(_ numbers: [UInt64], _ edit: (inout Hints) -> Void = { _ in }) -> Query {
    var planes = Planes()
    for number in numbers { planes.append(identity(number)) }
    var hints = Hints()
    edit(&hints)
    return Query(planes: planes, hints: hints)
  }

  func ask(_ engine: QueryEngine, _ query: Query, _ then: @escaping (Answer) -> Void) {
    let asked = Set((0..<query.planes.count).map { query.planes[$0] })
    engine.answer(query, holding: asked.map { held(numbers[$0]!) }) { then(try! $0.get()) }
  }
}

// MARK: - The ports: the simulated kernel's and its workers', and what a test adds to them

extension SimulatedMachine: DeviceSource {
  func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno) {
    self.handler = handler
    try kernel.listen { [unowned self] in if !silent { handler($0) } }
  }
  func enumerate() -> [DeviceDescription] { kernel.enumerate() }
  func find(_ number: DeviceNumber) -> DeviceDescription? { kernel.find(number) }
  func power(of device: DeviceDescription) -> PowerReading {
    powerReadings += 1
    return kernel.power(of: device)
  }
}

extension SimulatedMachine: BufferReader {
  func identity(of fd: Int32) -> BufferIdentity? { kernel.identity(of: fd) }
  func newestIdentity() -> BufferIdentity? { kernel.newestIdentity() }
  func introspect(_ buffer: HeldBuffer) -> Introspection? {
    introspects ? kernel.introspect(buffer) : nil
  }
  func label(of fd: Int32) -> BufferLabel {
    var label = kernel.label(of: fd)
    if let size = kernel.identity(of: fd).flatMap({ sizes[$0] }) { label.size = size }
    return label
  }
}

extension SimulatedMachine: Prober {
  func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    assessments += 1
    waiting += 1
    workers.assess(device, at: slot, wake: wake) { [unowned self] outcome in
      waiting -= 1
      done(outcome)
    }
  }

  func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void) {
    imports += 1
    waiting += 1
    workers.probe(task, at: slot) { [unowned self] outcome in
      waiting -= 1
      if case .reached = outcome, !records { return done(.reached(.none)) }
      done(outcome)
    }
  }

  func abandonImports(from exporter: DeviceSlot) { workers.abandonImports(from: exporter) }

  func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void) {
    workers.release(slot, done: done)
  }
}
