// A random day on a random machine: clients' buffers, events of the machine and the buffers, and a
// compositor's questions.

internal import Placement

package struct RandomDay: Sendable {
  package var scenario: Scenario
  /// The compositor's own device, into which it would import without primed.
  package let primary: Int
  private var random: Seeded
  private let removable: [Bool]
  private let sleeps: [Bool]
  /// The state of the machine after the steps so far.
  private var present: Set<Int> = []
  private var asleep: Set<Int> = []
  private var released: Set<Int> = []

  package init(seed: UInt64, _ kernel: RandomKernel) {
    var seeds = Seeded(seed)
    let machine = RandomMachine(kernel, Seeded(seeds.next()))
    scenario = machine.scenario
    scenario.name = "random day \(seed), \(kernel.rawValue)"
    (removable, sleeps) = (machine.removable, machine.sleeps)
    random = machine.rest
    primary = Self.primary(of: scenario, &random)
    present = Set(scenario.devices.indices)
    asleep = present.filter { machine.scenario.devices[$0].power == .suspended }
    addBuffers()
    addSteps()
  }

  /// A device that renders and has a panel or booted, else any that renders, else any.
  private static func primary(of scenario: Scenario, _ random: inout Seeded) -> Int {
    let all = Array(scenario.devices.indices)
    let rendering = all.filter { DriverFacts.of(scenario.devices[$0].driver).renders }
    let usual = rendering.filter {
      scenario.devices[$0].power == .active
        && (scenario.devices[$0].bootVGA || scenario.devices[$0].connectors.contains("eDP-1")
          || scenario.devices[$0].display != nil)
    }
    if let first = usual.first, random.percent(85) { return first }
    return random.pick(rendering.isEmpty ? all : rendering)
  }

  // MARK: buffers

  /// Percent: of no device; of those of a device with dedicated memory, copies for another device
  /// (PRIME render offload); of the others, evicted when they are first seen.
  private static let (nobodys, copies, evictions) = (8, 25, 10)
  private static let names = [nil, nil, "system", "vb2_common"]
  private static let layouts: KeyValuePairs = [
    "tiled": 55, "linear": 25, "invalid": 15, "unsaid": 5,
  ]

  private var exporters: [Int] {
    scenario.devices.indices.filter { scenario.devices[$0].exports }
  }

  private mutating func addBuffers() {
    for index in 0..<(4 + random.below(5)) {
      let exporter = random.percent(Self.nobodys) ? nil : random.pick(weighted(exporters))
      var buffer = buffer(of: exporter, "b\(index)")
      buffer.format = random.pick(["XR24", "AR24"]).fourcc
      buffer.client = UInt32(1000 + random.below(3))
      buffer.planes = random.percent(8) ? 2 : 1
      scenario.buffers.append(buffer)
    }
  }

  /// Clients mostly render on devices that render; some scan-out buffers, cursors and dumb buffers
  /// come from other devices.
  private func weighted(_ exporters: [Int]) -> [Int] {
    exporters.flatMap { index in
      let renders = DriverFacts.of(scenario.devices[index].driver).renders
      return Array(repeating: index, count: renders ? 6 : 1)
    }
  }

  private mutating func buffer(of exporter: Int?, _ id: String) -> BufferModel {
    guard let exporter else {
      var buffer = BufferModel(id: id, home: .system, residency: .system)
      buffer.name = random.pick(Self.names)
      buffer.modifier = 0
      return buffer
    }
    let device = scenario.devices[exporter]
    let isCopy = device.dedicated > 0 && random.percent(Self.copies)
    let home: Memory = device.dedicated > 0 && !isCopy ? .dedicated : .system
    let evicted = home == .dedicated && random.percent(Self.evictions)
    var buffer = BufferModel(
      id: id, exporter: exporter, home: home, residency: evicted ? .system : home)
    let facts = DriverFacts.of(device.driver)
    buffer.modifier = isCopy ? 0 : Self.modifier(random.pick(Self.layouts), facts)
    return buffer
  }

  private static func modifier(_ layout: String, _ facts: DriverFacts) -> UInt64? {
    switch layout {
    case "tiled" where facts.renders && !facts.layouts.isEmpty: facts.layouts[0] << 56 | 1
    case "invalid": implicitModifier
    case "unsaid": nil
    default: 0
    }
  }

  /// The buffers with this one's modifier, client and planes that the day might have had instead,
  /// and itself; each with a weight that is proportional to how often it is made.
  func alternatives(to index: Int) -> [(buffer: BufferModel, weight: Double)] {
    let known = scenario.buffers[index]
    var all: [(buffer: BufferModel, weight: Double)] = []
    func add(_ exporter: Int?, _ home: Memory, _ residency: Memory, _ weight: Double) {
      var buffer = known
      (buffer.exporter, buffer.home, buffer.residency) = (exporter, home, residency)
      buffer.name = nil
      all.append((buffer, weight))
    }
    if known.modifier == 0 {
      for name in Self.names {
        add(nil, .system, .system, Double(Self.nobodys) / Double(Self.names.count))
        all[all.count - 1].buffer.name = name
      }
    }
    let weighted = weighted(exporters)
    for exporter in Set(weighted).sorted() {
      let share =
        Double(100 - Self.nobodys) * Double(weighted.count { $0 == exporter })
        / Double(weighted.count)
      let facts = DriverFacts.of(scenario.devices[exporter].driver)
      let layout = Self.layouts.filter { Self.modifier($0.key, facts) == known.modifier }
        .reduce(0) { $0 + Double($1.value) / 100 }
      guard scenario.devices[exporter].dedicated > 0 else {
        add(exporter, .system, .system, share * layout)
        continue
      }
      let (copies, evictions) = (Double(Self.copies) / 100, Double(Self.evictions) / 100)
      if known.modifier == 0 { add(exporter, .system, .system, share * copies) }
      let own = share * (1 - copies) * layout
      add(exporter, .dedicated, .dedicated, own * (1 - evictions))
      add(exporter, .dedicated, .system, own * evictions)
    }
    return all
  }

  // MARK: steps

  private mutating func addSteps() {
    for _ in 0..<(10 + random.below(12)) { scenario.steps.append(Step(action())) }
  }

  private mutating func action() -> Step.Action {
    let device = random.below(scenario.devices.count)
    switch random.below(20) {
    case 0, 1: return migration() ?? place()
    case 2, 3: return .advance(random.pick([300, 2_000, 10_000, 70_000, 3_600_000]))
    case 4 where sleeps[device] && present.contains(device):
      if asleep.remove(device) != nil { return .device(.resume, device) }
      asleep.insert(device)
      return .device(.suspend, device)
    case 5 where removable[device]:
      asleep.remove(device)
      if present.remove(device) != nil { return .device(.unplug, device) }
      present.insert(device)
      return .device(.plug, device)
    case 6 where device != primary && present.contains(device) && random.oneIn(3):
      if released.remove(device) != nil { return .unrelease(device) }
      released.insert(device)
      return .release(device)
    default: return place()
    }
  }

  private mutating func migration() -> Step.Action? {
    let movable = scenario.buffers.indices.filter { scenario.buffers[$0].home == .dedicated }
    guard !movable.isEmpty else { return nil }
    return .migrate(buffer: random.pick(movable), to: random.oneIn(2) ? .system : .dedicated)
  }

  private mutating func place() -> Step.Action {
    let buffer = random.below(scenario.buffers.count)
    var question = Question(buffers: [buffer])
    question.hints.primaryDevice = scenario.devices[primary].number
    question.hints.given = [.primaryDevice, .usage, .verdicts]
    question.hints.verdicts = true
    let outputs = scenario.devices.indices.filter { !scenario.devices[$0].connectors.isEmpty }
    if !outputs.isEmpty, random.percent(40) {
      question.hints.targetDevice = scenario.devices[random.pick(outputs)].number
      question.hints.given.insert(.targetDevice)
    }
    question.hints.usage = random.pick([
      Usage.sample: 70, [.sample, .scanout]: 15, .scanout: 7, .capture: 8,
    ])
    if random.percent(10) {
      question.hints.fresh = true
      question.hints.given.insert(.fresh)
    }
    question.fill(from: scenario.buffers[buffer])
    return .place(question)
  }
}

extension DriverFacts {
  /// It draws, and does not only show.
  var renders: Bool { role == .render || role == .split }
}

extension String {
  fileprivate var fourcc: UInt32 { utf8.reversed().reduce(0) { $0 << 8 | UInt32($1) } }
}
