// The first law on random machines: whatever devices there are, whatever happens to them and
// whatever is asked, nothing moves, wakes, becomes master or stays held, and no answer names a
// device that is gone or released.

import Placement
import Simulation
import Testing

@Suite struct FirstLawTests {
  @Test(arguments: 0..<200)
  func holdsOnAnyMachine(_ seed: Int) throws {
    var plan = RandomPlan(seed: UInt64(seed))
    let scenario = try Scenario(json: Array(plan.text().utf8))
    let player = ScenarioPlayer(scenario)
    var wrong: [String] = []
    player.onAnswer = { answer in
      guard let device = answer.device, plan.unfit[answer.step].contains(device) else { return }
      wrong.append(
        "step \(answer.step) names \(scenario.devices[device].id): \(answer.explanation.reason)")
    }
    let totals = ["moves", "wakes", "masters", "held"]
    let harm = player.play().filter { failure in totals.contains { failure.path.hasSuffix($0) } }
    #expect(harm.map(\.description) + wrong == [], "\(plan.text())")
  }

  /// An additional device that reaches nothing of the others and has an exporter name of its own
  /// changes no answer; it may make an answer more certain, since its refusal shows where the
  /// buffer lies.
  @Test(arguments: 0..<200)
  func aDeviceThatReachesNothingChangesNoAnswer(_ seed: Int) throws {
    func answers(_ extra: Bool) throws -> [String] {
      var plan = RandomPlan(seed: UInt64(seed), mainlineToo: false, extra: extra)
      let scenario = try Scenario(json: Array(plan.text().utf8))
      let player = ScenarioPlayer(scenario)
      var answers: [String] = []
      player.onAnswer = { one in
        let id = one.device.map { scenario.devices[$0].id } ?? "none"
        let isKnown = one.answer.access != .mayMove && one.answer.access != .unknown
        let told = id + (isKnown ? " \(one.answer.access)" : "")
        // The default is chosen among all devices.
        let isDefault =
          ["fallback", "last-resort", "no-device"].contains(one.explanation.rule)
          || one.explanation.rule == "home-unknown" && !isKnown
        // An import that would move the buffer shows where it lies, so later answers know more.
        let teaches = one.explanation.evidence.contains {
          $0.contains("would have moved it") && $0.contains("omapdrm")
        }
        answers.append(teaches ? "taught" : isDefault ? "" : told)
      }
      _ = player.play()
      return answers
    }
    let (before, after) = (try answers(false), try answers(true))
    #expect(before.count == after.count && !before.isEmpty)
    for (one, other) in zip(before, after) where !one.isEmpty && other != "taught" {
      #expect(other.hasPrefix(one), "\(one), then \(other)")
    }
  }
}

/// A machine and a day on it, from a seed. Devices have what their drivers' hardware has: dedicated
/// memory only where such hardware exists, hangs only where introspection is on.
private struct RandomPlan {
  private let seed: UInt64
  private var random: Seeded
  private let mainlineToo: Bool
  private let extra: Bool
  /// By step: the devices that are gone or released then.
  private(set) var unfit: [Set<Int>] = []

  /// `mainlineToo`: kernels that ignore the flag, and compositors that name no primary device.
  /// `extra`: one device more, that reaches nothing.
  init(seed: UInt64, mainlineToo: Bool = true, extra: Bool = false) {
    self.seed = seed
    self.mainlineToo = mainlineToo
    self.extra = extra
    random = Seeded(seed)
  }

  private static let discrete = ["amdgpu", "radeon", "nouveau", "xe", "i915", "nvidia-drm"]
  private static let others = [
    "i915", "xe", "vgem", "virtio_gpu", "panfrost", "asahi", "vc4", "evdi", "bochs-drm", "qxl",
  ]

  mutating func text() -> String {
    random = Seeded(seed)
    unfit = []
    let introspection = oneIn(3)
    let asking = ["honoured", "validated"]
    let noMove = pick(mainlineToo ? ["ignored", "ignored"] + asking : asking)
    let count = 1 + below(5)
    let drivers = (0..<count).map { _ in pick(oneIn(2) ? Self.discrete : Self.others) }
    let own = drivers.map { Self.discrete.contains($0) && ($0 == "nvidia-drm" || !oneIn(4)) }
    let exports = drivers.map { $0 != "bochs-drm" && $0 != "qxl" }
    var devices = (0..<count).map { device($0, drivers[$0], own[$0], exports[$0]) }
    if extra {
      devices.append(
        #"{ "id": "z", "driver": "omapdrm", "card": 63, "render": 191, "dedicated": 1073741824 }"#)
    }
    let reaches = pairs(drivers, own, mayHang: introspection)
    let buffers = (0..<4).map { buffer($0, own, exports) }
    let steps = (0..<16).map { _ in step(count, buffers) }
    return """
      { "name": "seed \(seed)",
        "kernel": { "noMove": "\(noMove)", "introspection": \(introspection) },
        "devices": [ \(devices.joined(separator: ",\n")) ],
        "reaches": [ \(reaches.joined(separator: ", ")) ],
        "buffers": [ \(buffers.map(\.text).joined(separator: ",\n")) ],
        "steps": [ \(steps.joined(separator: ",\n")) ] }
      """
  }

  private mutating func device(
    _ index: Int, _ driver: String, _ own: Bool, _ exports: Bool
  ) -> String {
    let nodes = oneIn(4) ? "\"card\": \(index)" : "\"card\": \(index), \"render\": \(128 + index)"
    return """
      { "id": "d\(index)", "driver": "\(driver)", \(nodes), "dedicated": \(own ? 1 << 30 : 0),
        "power": "\(oneIn(4) ? "suspended" : "active")", "import": \(exports), "export": \(exports),
        "role": "\(oneIn(8) ? "software" : "render")", "bootVGA": \(oneIn(2)) }
      """
  }

  private mutating func pairs(_ drivers: [String], _ own: [Bool], mayHang: Bool) -> [String] {
    var triples: [String] = []
    for importer in drivers.indices {
      for exporter in drivers.indices where importer != exporter {
        if !oneIn(3) { triples.append("[\"d\(importer)\", \"d\(exporter)\", \"system\"]") }
        let hangs = drivers[exporter] == "nvidia-drm" && drivers[importer] != "nvidia-drm"
        if own[exporter] && oneIn(6) {
          triples.append("[\"d\(importer)\", \"d\(exporter)\", \"dedicated\"]")
        } else if hangs && mayHang {
          triples.append("[\"d\(importer)\", \"d\(exporter)\", \"hangs\"]")
        }
      }
    }
    return triples
  }

  private struct Buffer {
    var id: String
    var isMovable: Bool
    var text: String
  }

  private mutating func buffer(_ index: Int, _ own: [Bool], _ exports: [Bool]) -> Buffer {
    let able = exports.indices.filter { exports[$0] }
    let isOfNoDevice = able.isEmpty || oneIn(6)
    let exporter = isOfNoDevice && (mainlineToo || able.isEmpty) ? nil : pick(able)
    let movable = exporter.map { own[$0] } ?? false
    let memory = { (system: Bool) in movable && !system ? "dedicated" : "system" }
    let text = """
      { "id": "b\(index)", "exporter": \(exporter.map { "\"d\($0)\"" } ?? "null"),
        "home": "\(memory(oneIn(4)))", "residency": "\(memory(oneIn(3)))", "format": "XR24",
        "client": \(1 + below(2)), "planes": \(1 + below(2)) }
      """
    return Buffer(id: "b\(index)", isMovable: movable, text: text)
  }

  private mutating func step(_ devices: Int, _ buffers: [Buffer]) -> String {
    var now = unfit.last ?? []
    let device = below(devices)
    let buffer = pick(buffers)
    var action: String
    switch below(16) {
    case 0 where buffer.isMovable:
      action = "\"migrate\": \"\(buffer.id)\", \"to\": \"\(oneIn(2) ? "system" : "dedicated")\""
    case 1: action = "\"suspend\": \"d\(device)\""
    case 2: action = "\"resume\": \"d\(device)\""
    case 3: action = "\"advance\": \"\(1 + below(90))s\""
    case 4 where !now.contains(device):
      action = "\"\(oneIn(2) ? "unplug" : "release")\": \"d\(device)\""
      now.insert(device)
    default: action = place(buffer, devices)
    }
    unfit.append(now)
    return "{ \(action), \"expect\": { \"moves\": 0, \"wakes\": 0, \"masters\": 0, \"held\": 0 } }"
  }

  private mutating func place(_ buffer: Buffer, _ devices: Int) -> String {
    var hints = [
      "\"fresh\": \(oneIn(3))", "\"usage\": [\"\(pick(["sample", "scanout", "capture"]))\"]",
    ]
    for key in ["primary-device", "target-device", "sampling-device"] where oneIn(3) {
      guard mainlineToo || key != "primary-device" else { continue }
      hints.append("\"\(key)\": \"d\(below(devices))\"")
    }
    if !mainlineToo { hints.append("\"primary-device\": \"d0\"") }
    let planes = oneIn(4) ? "[\"\(buffer.id)\", \"b0\"]" : "\"\(buffer.id)\""
    return "\"place\": \(planes), \"hints\": { \(hints.joined(separator: ", ")) }"
  }

  private mutating func below(_ bound: Int) -> Int { random.below(bound) }
  private mutating func oneIn(_ n: Int) -> Bool { random.oneIn(n) }
  private mutating func pick<T>(_ values: [T]) -> T { random.pick(values) }
}
