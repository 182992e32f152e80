// Small machines for the tests, and calls into their kernels.

import JSON
import Linux
import Placement
import Ports
import Simulation
import Testing

/// A scenario of these devices, reaches and buffers, each a list of JSON values.
func machine(
  noMove: String = "ignored", introspection: Bool = false, devices: String, reaches: String = "",
  buffers: String, steps: String = ""
) throws -> Scenario {
  let text = """
    { "name": "test", "kernel": { "noMove": "\(noMove)", "introspection": \(introspection) },
      "devices": [ \(devices) ], "reaches": [ \(reaches) ], "buffers": [ \(buffers) ],
      "steps": [ \(steps) ] }
    """
  return try Scenario(json: Array(text.utf8))
}

/// Integrated and discrete GPU, and a buffer of the discrete one in its memory.
func hybrid(
  noMove: String = "ignored", exporter: String = "amdgpu", power: String = "active",
  importer: String = #""driver": "i915""#, reaches: String = #"["i", "d", "system"]"#,
  residency: String = "dedicated", introspection: Bool = false, steps: String = ""
) throws -> Scenario {
  try machine(
    noMove: noMove, introspection: introspection,
    devices: """
      { "id": "i", \(importer), "card": 1, "render": 128 },
      { "id": "d", "driver": "\(exporter)", "card": 0, "render": 129, "dedicated": 1024,
        "power": "\(power)" }
      """, reaches: reaches,
    buffers: """
      { "id": "b", "exporter": "d", "home": "dedicated", "residency": "\(residency)" },
      { "id": "u", "exporter": null, "home": "system", "residency": "system", "planes": 2 }
      """, steps: steps)
}

/// A kernel and its workers, on a clock of their own.
final class Rig {
  let clock = VirtualClock()
  let kernel: SimulatedKernel
  let prober: SimulatedProber
  let scenario: Scenario

  init(_ scenario: Scenario) {
    self.scenario = scenario
    kernel = SimulatedKernel(scenario, time: clock)
    prober = SimulatedProber(kernel, time: clock)
  }

  func hold(_ id: String, plane: Int = 0) throws -> HeldBuffer {
    let fd = try makeBuffer(id, plane: plane)
    let identity = try #require(kernel.identity(of: fd.rawValue))
    return HeldBuffer(identity: identity, fd: fd)
  }

  func description(_ device: Int) throws -> DeviceDescription {
    try #require(kernel.find(scenario.devices[device].number))
  }

  /// Asks for a probe, but makes no call.
  func ask(
    _ device: Int, _ id: String, _ method: ProbeMethod, wake: Bool = false,
    then: @escaping (ProbeOutcome) -> Void
  ) throws {
    let task = ProbeTask(
      device: try description(device), buffer: try hold(id), method: method, wake: wake)
    prober.probe(task, at: DeviceSlot(UInt8(device)), done: then)
  }

  func probe(
    _ device: Int, _ id: String, _ method: ProbeMethod, wake: Bool = false
  ) throws -> ProbeOutcome? {
    var outcome: ProbeOutcome?
    try ask(device, id, method, wake: wake) { outcome = $0 }
    #expect(outcome == nil, "called from inside probe")
    prober.runPending()
    return outcome
  }

  func assess(_ device: Int, wake: Bool = false) throws -> AbilityOutcome? {
    var outcome: AbilityOutcome?
    prober.assess(try description(device), at: DeviceSlot(UInt8(device)), wake: wake) {
      outcome = $0
    }
    prober.runPending()
    return outcome
  }

  var moves: Int { kernel.harm.moves }
  var wakes: Int { kernel.harm.wakes }
}
