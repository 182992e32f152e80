// Random machines, facts and hints for the property tests: the same seed gives the same ones.

import Simulation

@testable import Placement

/// What happens to a buffer on a machine: the outcomes of each observation.
struct Story {
  var machine = Machine()
  /// By observation, then by plane.
  var looks: [[PlaneLook]] = []
  var hints = StoryHints()

  struct PlaneLook {
    var name: ExporterName
    var outcomes: [(id: String, outcome: ProbeOutcome)]
  }
  /// Devices by name, so that a story means the same after renumbering.
  struct StoryHints {
    var sampling: String?
    var target: String?
    var primary: String?
    var usage: Usage?
    var modifier: UInt64?
    var candidates: [String]?
  }

  static let drivers = [
    "i915", "xe", "amdgpu", "radeon", "nouveau", "nvidia-drm", "virtio_gpu", "vgem", "evdi",
    "apple-drm", "other",
  ]

  /// Drivers with the same exporter name, some of which map at the first use: random machines
  /// rarely have only these.
  private static let alike = ["amdgpu", "amdgpu", "amdgpu", "xe", "radeon", "vgem"]

  init(seed: UInt64) {
    var random = Seeded(seed)
    let drivers = Bool.random(using: &random) ? Self.alike : Self.drivers
    for i in 0..<Int.random(in: 0...5, using: &random) { addDevice("d\(i)", drivers, &random) }
    let planes = Int.random(in: 1...3, using: &random)
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      looks.append((0..<planes).map { _ in planeLook(&random) })
    }
    func some(_ random: inout Seeded) -> String? {
      Bool.random(using: &random) ? ids.randomElement(using: &random) : nil
    }
    hints.sampling = Int.random(in: 0..<4, using: &random) == 0 ? some(&random) : nil
    hints.target = some(&random)
    hints.primary = some(&random)
    hints.usage = [nil, .sample, .scanout, [.sample, .scanout], .capture].randomElement(
      using: &random)!
    hints.modifier = [nil, 0, 0x02 << 56 | 1, 0x01 << 56 | 2, 0x03 << 56 | 3].randomElement(
      using: &random)!
    if Int.random(in: 0..<4, using: &random) == 0 {
      hints.candidates = ids.filter { _ in Bool.random(using: &random) }
    }
  }

  var ids: [String] { machine.entries.compactMap { $0?.description.stableID } }

  private mutating func addDevice(
    _ id: String, _ drivers: [String], _ random: inout Seeded
  ) {
    let dedicated = UInt64([0, 1 << 30].randomElement(using: &random)!)
    machine.add(id, drivers.randomElement(using: &random)!, dedicated: dedicated) {
      $0.state = [.ready, .ready, .ready, .released, .unresponsive].randomElement(using: &random)!
      $0.noMove = [.honoured, .ignored, .unknown].randomElement(using: &random)!
      $0.importsSeen = [true, true, true, false, nil].randomElement(using: &random)!
      $0.description.ignored = Int.random(in: 0..<8, using: &random) == 0
      $0.description.role = [.render, .render, .display, .sink, .software]
        .randomElement(using: &random)!
      $0.description.power = [.active, .active, .suspended, .unknown].randomElement(using: &random)!
      $0.description.bootVGA = Bool.random(using: &random)
      if Int.random(in: 0..<4, using: &random) == 0 { $0.description.render = nil }
    }
  }

  private func planeLook(_ random: inout Seeded) -> PlaneLook {
    let name: ExporterName = [.drm, .drm, .unknown, .named("i915"), .named("udmabuf")]
      .randomElement(using: &random)!
    let outcomes: [(id: String, outcome: ProbeOutcome)] = ids.compactMap { id in
      let outcome: ProbeOutcome? = [
        nil, .reached(.none), .reached(.preferred(.system)), .reached(.preferred(.dedicated)),
        .wouldMove, .refused(errno: 22), .timedOut, .asleep, .gone,
      ].randomElement(using: &random)!
      return outcome.map { (id, $0) }
    }
    return PlaneLook(name: name, outcomes: outcomes)
  }

  // MARK: Its end

  var facts: [BufferFacts] {
    let devices = machine.table
    return looks[0].indices.map { plane in
      var facts = BufferFacts(of: Machine.buffer, among: devices)
      for (i, look) in looks.enumerated() {
        facts.merge(
          self.look(look[plane]), of: Machine.buffer, among: devices,
          at: Milliseconds(i) * 10_000)
      }
      return facts
    }
  }

  /// What is known of the planes before a device is asked.
  var untouched: [BufferFacts] {
    looks[0].map { plane in
      var facts = BufferFacts(of: Machine.buffer, among: machine.table)
      var look = Observation()
      look.name = plane.name
      look.narrow(
        &facts.exporters, any: machine.table.possibleExporters(of: Machine.buffer),
        among: machine.table)
      return facts
    }
  }

  private func look(_ plane: PlaneLook) -> Observation {
    var look = Observation()
    look.name = plane.name
    for (id, outcome) in plane.outcomes { look.add(outcome, of: machine[id]) }
    return look
  }

  func decide(_ facts: [BufferFacts]? = nil) -> Decision {
    machine.decide(facts ?? self.facts, hints: say)
  }

  var verdicts: Verdicts { machine.verdicts(facts, hints: say) }

  private func say(_ hints: inout Hints) {
    hints.samplingDevice = number(self.hints.sampling)
    hints.targetDevice = number(self.hints.target)
    hints.primaryDevice = number(self.hints.primary)
    hints.usage = self.hints.usage
    hints.modifier = self.hints.modifier
    hints.candidates = self.hints.candidates.map { DeviceList($0.map { number($0) }) }
  }

  private func number(_ id: String?) -> DeviceNumber {
    id.map { machine[$0] }.map { machine.table.number(of: $0) } ?? .none
  }

  /// The parts of an answer without slots and numbers.
  struct Ending: Equatable {
    var device: String?
    var rule: Rule
    var access: Access
    var confidence: Confidence
  }
  func ending(_ decision: Decision) -> Ending {
    Ending(
      device: machine.name(decision.device), rule: decision.rule, access: decision.access,
      confidence: decision.confidence)
  }
  var ending: Ending { ending(decide()) }
}
