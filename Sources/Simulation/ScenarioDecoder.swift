// Decodes a `Scenario` from JSON. Strict: unknown keys, values that no machine can have, and
// undeclared ids are errors. The machine is decoded first (MachineDecoder), then the steps, which
// refer to it (StepDecoder).

internal import JSON

extension Scenario {
  package init(json text: some Collection<UInt8>) throws(ScenarioError) {
    let value: JSON
    do { value = try JSON(text) } catch { throw .syntax(error) }
    let top = try JSONCursor(value: value, path: "$").object(
      required: ["name", "devices"],
      optional: ["about", "source", "kernel", "reaches", "buffers", "steps"])
    var machine = MachineDecoder(name: try top.string("name"))
    machine.scenario.about = try top["about"]?.string()
    machine.scenario.source = try top["source"]?.string()
    try machine.decode(top)
    self = machine.scenario
    guard let steps = top["steps"] else { return }
    let decoder = StepDecoder(
      scenario: machine.scenario, devices: machine.devices, buffers: machine.buffers)
    self.steps = try steps.array().map { cursor throws(ScenarioError) in
      try decoder.step(cursor)
    }
  }
}
