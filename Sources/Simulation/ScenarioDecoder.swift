// From JSON to a `Scenario`. Strict: unknown keys, values that no machine can have, and names of
// things that are not declared are errors. The machine here, the steps in StepDecoder.swift.

internal import Placement

extension Scenario {
  package init(json text: some Collection<UInt8>) throws(ScenarioError) {
    let value: JSON
    do { value = try JSON(text) } catch { throw .syntax(error) }
    var decoder = ScenarioDecoder()
    try decoder.decode(JSONCursor(value: value, path: "$"))
    self = decoder.scenario
  }
}

private struct ScenarioDecoder {
  var scenario = Scenario(name: "")
  var devices: [String: Int] = [:]
  var buffers: [String: Int] = [:]

  mutating func decode(_ root: JSONCursor) throws(ScenarioError) {
    let top = try root.object(
      required: ["name", "devices"],
      optional: ["about", "source", "kernel", "reaches", "buffers", "steps"])
    scenario.name = try top.string("name")
    scenario.about = try top["about"]?.string()
    scenario.source = try top["source"]?.string()
    if let kernel = top["kernel"] { scenario.kernel = try Self.kernel(kernel) }
    try decodeDevices(top["devices"]!)
    if let reaches = top["reaches"] { try decodeReaches(reaches) }
    if let buffers = top["buffers"] { try decodeBuffers(buffers) }
    guard let steps = top["steps"] else { return }
    let decoder = StepDecoder(scenario: scenario, devices: devices, buffers: buffers)
    for step in try steps.array() { scenario.steps.append(try decoder.step(step)) }
  }

  static func kernel(_ cursor: JSONCursor) throws(ScenarioError) -> KernelModel {
    let members = try cursor.object(optional: ["noMove", "introspection"])
    var kernel = KernelModel()
    kernel.noMove =
      try members["noMove"]?.word([
        "ignored": .ignored, "honoured": .honoured, "validated": .validated,
      ]) ?? .ignored
    kernel.introspection = try members["introspection"]?.bool() ?? false
    return kernel
  }

  // MARK: devices

  mutating func decodeDevices(_ cursor: JSONCursor) throws(ScenarioError) {
    let items = try cursor.array()
    guard items.count <= DeviceSlot.limit else {
      throw cursor.wrong("more than \(DeviceSlot.limit) devices")
    }
    for item in items {
      let device = try Self.device(item)
      guard devices.updateValue(devices.count, forKey: device.id) == nil else {
        throw item.wrong("another device has the id \"\(device.id)\"")
      }
      for other in scenario.devices where other.sharesNode(with: device) {
        throw item.wrong("\"\(other.id)\" has the same node")
      }
      scenario.devices.append(device)
    }
    for (index, item) in items.enumerated() { try pair(index, item) }
  }

  static func device(_ cursor: JSONCursor) throws(ScenarioError) -> DeviceModel {
    let members = try cursor.object(
      required: ["id", "driver"],
      optional: [
        "card", "render", "dedicated", "power", "import", "export", "role", "bootVGA", "connectors",
        "display",
      ])
    var device = DeviceModel(
      id: try members["id"]!.identifier(), driver: try members["driver"]!.identifier())
    device.card = try members["card"]?.whole(0...63).minor
    device.render = try members["render"]?.whole(128...191).minor
    device.dedicated = try members["dedicated"]?.whole(0...(1 << 50)) ?? 0
    device.power =
      try members["power"]?.word(["active": .active, "suspended": .suspended]) ?? .active
    device.imports = try members["import"]?.bool() ?? true
    device.exports = try members["export"]?.bool() ?? true
    device.role =
      try members["role"]?.word([
        "render": .render, "display": .display, "split": .split, "sink": .sink,
        "software": .software,
      ]) ?? .render
    device.bootVGA = try members["bootVGA"]?.bool() ?? false
    for connector in try members["connectors"]?.array() ?? [] {
      device.connectors.append(try connector.identifier())
    }
    guard device.card != nil || device.render != nil else {
      throw cursor.wrong("a device has a card node, a render node or both")
    }
    guard device.card != nil || device.connectors.isEmpty else {
      throw cursor.wrong("connectors need a card node")
    }
    return device
  }

  mutating func pair(_ index: Int, _ cursor: JSONCursor) throws(ScenarioError) {
    guard let display = try cursor.member("display") else { return }
    let other = try display.reference(devices, "device")
    guard other != index, scenario.devices[other].card != nil else {
      throw display.wrong("must name another device that has a card node")
    }
    guard scenario.devices[index].role == .split else {
      throw display.wrong("only a device of role split has one")
    }
    scenario.devices[index].display = other
  }

  // MARK: reaches

  mutating func decodeReaches(_ cursor: JSONCursor) throws(ScenarioError) {
    for item in try cursor.array() {
      let triple = try item.array()
      guard triple.count == 3 else { throw item.wrong("is not [importer, exporter, memory]") }
      let reach = Reach(
        importer: try triple[0].reference(devices, "device"),
        exporter: try triple[1].reference(devices, "device"),
        how: try triple[2].word([
          "dedicated": .dedicated, "system": .system, "hangs": .hangs,
        ]))
      guard reach.importer != reach.exporter else {
        throw item.wrong("a device always reaches its own buffers")
      }
      guard !scenario.reaches.contains(reach) else { throw item.wrong("again") }
      guard reach.how != .dedicated || scenario.devices[reach.exporter].dedicated > 0 else {
        throw triple[2].wrong("\"\(scenario.devices[reach.exporter].id)\" has no dedicated memory")
      }
      scenario.reaches.append(reach)
    }
  }

  // MARK: buffers

  mutating func decodeBuffers(_ cursor: JSONCursor) throws(ScenarioError) {
    for item in try cursor.array() {
      let buffer = try buffer(item)
      guard buffers.updateValue(buffers.count, forKey: buffer.id) == nil else {
        throw item.wrong("another buffer has the id \"\(buffer.id)\"")
      }
      scenario.buffers.append(buffer)
    }
  }

  func buffer(_ cursor: JSONCursor) throws(ScenarioError) -> BufferModel {
    let members = try cursor.object(
      required: ["id", "exporter", "home", "residency"],
      optional: ["planes", "format", "modifier", "client"])
    var buffer = BufferModel(
      id: try members["id"]!.identifier(), home: try members["home"]!.word(memories),
      residency: try members["residency"]!.word(memories))
    if members["exporter"]!.value != .null {
      buffer.exporter = try members["exporter"]!.reference(devices, "device")
    }
    buffer.planes = Int(try members["planes"]?.whole(1...UInt64(Planes.limit)) ?? 1)
    buffer.format = try members["format"]?.fourcc()
    buffer.modifier = try members["modifier"]?.modifier()
    buffer.client = try members["client"]?.pid() ?? 0
    if let exporter = buffer.exporter, !scenario.devices[exporter].exports {
      throw members["exporter"]!.wrong("\"\(scenario.devices[exporter].id)\" exports nothing")
    }
    for key in ["home", "residency"] {
      guard try members[key]!.word(memories) == .dedicated else { continue }
      try scenario.checkDedicated(of: buffer, at: members[key]!)
    }
    return buffer
  }
}

let memories: KeyValuePairs<String, Memory> = ["dedicated": .dedicated, "system": .system]

extension Scenario {
  /// A buffer can only be in dedicated memory if its exporter has some.
  func checkDedicated(of buffer: BufferModel, at cursor: JSONCursor) throws(ScenarioError) {
    guard let exporter = buffer.exporter else {
      throw cursor.wrong("a buffer of no device is in system memory")
    }
    guard devices[exporter].dedicated > 0 else {
      throw cursor.wrong("\"\(devices[exporter].id)\" has no dedicated memory")
    }
  }
}

extension DeviceModel {
  fileprivate func sharesNode(with other: DeviceModel) -> Bool {
    card != nil && card == other.card || render != nil && render == other.render
  }
}

extension UInt64 {
  fileprivate var minor: UInt32 { UInt32(self) }
}

extension JSONCursor {
  fileprivate func member(_ key: String) throws(ScenarioError) -> JSONCursor? {
    guard case .object(let members) = value else { return nil }
    return JSONMembers(cursor: self, members: members)[key]
  }

  /// Linux counts up to 2^22 of them.
  func pid() throws(ScenarioError) -> UInt32 { UInt32(try whole(1...(1 << 22))) }
}
