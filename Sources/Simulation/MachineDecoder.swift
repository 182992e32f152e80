// Decodes the machine of a scenario: kernel, devices, reaches, buffers.

internal import JSON
internal import Placement
internal import Ports

struct MachineDecoder {
  var scenario: Scenario
  private(set) var devices: [String: Int] = [:]
  private(set) var buffers: [String: Int] = [:]

  init(name: String) { scenario = Scenario(name: name) }

  mutating func decode(_ top: JSONMembers) throws(ScenarioError) {
    if let kernel = top["kernel"] { scenario.kernel = try Self.kernel(kernel) }
    try decodeDevices(top["devices"]!)
    if let reaches = top["reaches"] { try decodeReaches(reaches) }
    if let buffers = top["buffers"] { try decodeBuffers(buffers) }
  }

  private static func kernel(_ cursor: JSONCursor) throws(ScenarioError) -> KernelModel {
    let members = try cursor.object(optional: ["noMove", "introspection", "version"])
    var kernel = KernelModel()
    kernel.noMove = try members["noMove"]?.word(ScenarioWords.noMove) ?? .ignored
    kernel.introspection = try members["introspection"]?.bool() ?? false
    kernel.version = try members["version"]?.version() ?? newestKernel
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
        "card", "render", "accel", "dedicated", "integrated", "power", "present", "import",
        "export",
        "openable", "importTime", "role", "bootVGA", "bootDisplay", "connectors", "display",
      ])
    var device = DeviceModel(
      id: try members["id"]!.identifier(), driver: try members["driver"]!.identifier())
    device.card = try members["card"]?.whole(0...63).minor
    device.render = try members["render"]?.whole(128...191).minor
    device.accel = try members["accel"]?.whole(0...63).minor
    device.dedicated = try members["dedicated"]?.whole(0...(1 << 50)) ?? 0
    device.integrated = try members["integrated"]?.bool() ?? (device.dedicated == 0)
    device.power = try members["power"]?.word(ScenarioWords.power) ?? .active
    device.present = try members["present"]?.bool() ?? true
    device.imports = try members["import"]?.bool() ?? true
    device.exports = try members["export"]?.bool() ?? true
    device.openable = try members["openable"]?.bool() ?? true
    device.importTime = try members["importTime"]?.importTime() ?? 0
    device.role = try members["role"]?.word(ScenarioWords.roles) ?? .render
    device.bootVGA = try members["bootVGA"]?.bool() ?? false
    device.bootDisplay = try members["bootDisplay"]?.bool() ?? false
    for connector in try members["connectors"]?.array() ?? [] {
      device.connectors.append(try connector.identifier())
    }
    guard (device.accel != nil) != (device.card != nil || device.render != nil) else {
      throw cursor.wrong("a device has a card node, a render node or both, or else accel")
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
        exporter: try triple[1].orNull()?.reference(devices, "device"),
        how: try triple[2].word(ScenarioWords.reaches))
      guard reach.importer != reach.exporter else {
        throw item.wrong("a device always reaches its own buffers")
      }
      guard !scenario.reaches.contains(reach) else { throw item.wrong("again") }
      if reach.how == .dedicated {
        try scenario.checkDedicated(of: reach.exporter, at: triple[2])
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
      optional: ["name", "planes", "format", "modifier", "client"])
    var buffer = BufferModel(
      id: try members["id"]!.identifier(),
      exporter: try members["exporter"]!.orNull()?.reference(devices, "device"),
      home: try members["home"]!.word(ScenarioWords.memories),
      residency: try members["residency"]!.word(ScenarioWords.memories))
    buffer.name = try members["name"]?.exporterName()
    buffer.planes = Int(try members["planes"]?.whole(1...UInt64(Planes.limit)) ?? 1)
    buffer.format = try members["format"]?.fourcc()
    buffer.modifier = try members["modifier"]?.modifier()
    buffer.client = try members["client"]?.pid() ?? 0
    if let exporter = buffer.exporter, !scenario.devices[exporter].exports {
      throw members["exporter"]!.wrong("\"\(scenario.devices[exporter].id)\" exports nothing")
    }
    for key in ["home", "residency"] {
      guard try members[key]!.word(ScenarioWords.memories) == .dedicated else { continue }
      try scenario.checkDedicated(of: buffer.exporter, at: members[key]!)
    }
    return buffer
  }
}

extension DeviceModel {
  fileprivate func sharesNode(with other: DeviceModel) -> Bool {
    card != nil && card == other.card || render != nil && render == other.render
      || accel != nil && accel == other.accel
  }
}

extension UInt64 {
  fileprivate var minor: UInt32 { UInt32(self) }
}

extension JSONCursor {
  /// A driver that takes longer hangs.
  fileprivate func importTime() throws(ScenarioError) -> Milliseconds {
    let time = try duration()
    guard time < probeDeadline else { throw wrong("is not less than \(probeDeadline)ms") }
    return time
  }

  fileprivate func member(_ key: String) throws(ScenarioError) -> JSONCursor? {
    guard case .object(let members) = value else { return nil }
    return JSONMembers(cursor: self, members: members)[key]
  }

  /// `"6.12"`.
  fileprivate func version() throws(ScenarioError) -> KernelVersion {
    let text = try string()
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, let version = KernelVersion(text), parts.joined(separator: ".") == text,
      "\(version.major).\(version.minor)" == text
    else { throw wrong("\"\(text)\" is no kernel version like 6.12") }
    return version
  }

  /// As in fdinfo, where the kernel allows 32 bytes (DMA_BUF_NAME_LEN).
  fileprivate func exporterName() throws(ScenarioError) -> String {
    let text = try string()
    guard (1...32).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21..<0x7f).contains($0) })
    else { throw wrong("a name in fdinfo is 1 to 32 printable characters without spaces") }
    return text
  }
}
