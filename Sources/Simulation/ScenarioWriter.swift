// Writes a `Scenario` as JSON that decodes to the same scenario.

internal import JSON
internal import Placement

extension Scenario {
  /// With one line for each device, reach, buffer and step.
  package var text: String {
    var parts = ["  \"name\": \(JSON.string(name).text)"]
    if let about { parts.append("  \"about\": \(JSON.string(about).text)") }
    if let source { parts.append("  \"source\": \(JSON.string(source).text)") }
    parts.append("  \"kernel\": \(kernel.json.text)")
    for (key, items) in [
      ("devices", devices.map { $0.json(in: self) }),
      ("reaches", reaches.map { $0.json(in: self) }),
      ("buffers", buffers.map { $0.json(in: self) }), ("steps", steps.map { $0.json(in: self) }),
    ] {
      let lines = items.map { "    " + $0.text }.joined(separator: ",\n")
      parts.append(items.isEmpty ? "  \"\(key)\": []" : "  \"\(key)\": [\n\(lines)\n  ]")
    }
    return "{\n" + parts.joined(separator: ",\n") + "\n}"
  }

  fileprivate func device(_ index: Int?) -> JSON {
    index.map { .string(devices[$0].id) } ?? .null
  }

  fileprivate func device(_ number: DeviceNumber) -> JSON {
    device(devices.firstIndex { $0.number == number })
  }
}

private typealias Members = [(key: String, value: JSON)]

private func word<T: Equatable>(_ value: T, _ table: KeyValuePairs<String, T>) -> JSON {
  .string(table.first { $0.value == value }?.key ?? "")
}

private func words(_ usage: Usage) -> [JSON] {
  Usage.words.filter { usage.contains($0.value) }.map { .string("\($0.key)") }
}

private func whole(_ value: some BinaryInteger) -> JSON { .number("\(value)") }

extension KernelModel {
  fileprivate var json: JSON {
    .object([
      ("noMove", word(noMove, ScenarioWords.noMove)), ("introspection", .bool(introspection)),
      ("version", .string("\(version.major).\(version.minor)")),
    ])
  }
}

extension DeviceModel {
  fileprivate func json(in scenario: Scenario) -> JSON {
    var members: Members = [("id", .string(id)), ("driver", .string(driver))]
    if let card { members.append(("card", whole(card))) }
    if let render { members.append(("render", whole(render))) }
    if let accel { members.append(("accel", whole(accel))) }
    if dedicated > 0 { members.append(("dedicated", whole(dedicated))) }
    if integrated != (dedicated == 0) { members.append(("integrated", .bool(integrated))) }
    if power != .active { members.append(("power", word(power, ScenarioWords.power))) }
    for (key, value, usual) in [
      ("present", present, true), ("import", imports, true), ("export", exports, true),
      ("openable", openable, true), ("bootVGA", bootVGA, false),
      ("bootDisplay", bootDisplay, false),
    ] where value != usual {
      members.append((key, .bool(value)))
    }
    if importTime > 0 { members.append(("importTime", .string(duration(importTime)))) }
    if role != .render { members.append(("role", word(role, ScenarioWords.roles))) }
    if !connectors.isEmpty { members.append(("connectors", .array(connectors.map(JSON.string)))) }
    if let display { members.append(("display", scenario.device(display))) }
    return .object(members)
  }
}

extension Reach {
  fileprivate func json(in scenario: Scenario) -> JSON {
    .array([
      scenario.device(importer), scenario.device(exporter), word(how, ScenarioWords.reaches),
    ])
  }
}

extension BufferModel {
  fileprivate func json(in scenario: Scenario) -> JSON {
    var members: Members = [
      ("id", .string(id)), ("exporter", scenario.device(exporter)),
      ("home", word(home, ScenarioWords.memories)),
      ("residency", word(residency, ScenarioWords.memories)),
    ]
    if let name { members.append(("name", .string(name))) }
    if planes != 1 { members.append(("planes", whole(planes))) }
    if let format { members.append(("format", fourcc(format))) }
    if let modifier { members.append(("modifier", hexadecimal(modifier))) }
    if client != 0 { members.append(("client", whole(client))) }
    return .object(members)
  }
}

private func fourcc(_ format: UInt32) -> JSON {
  let bytes = (0..<4).map { UInt8(truncatingIfNeeded: format >> ($0 * 8)) }
  return .string(String(decoding: bytes, as: UTF8.self))
}

/// In the largest unit of which it is a whole number.
private func duration(_ time: Milliseconds) -> String {
  let units: KeyValuePairs<String, Milliseconds> = ["h": 3_600_000, "min": 60_000, "s": 1000]
  let unit = units.first { time.isMultiple(of: $0.value) }
  return unit.map { "\(time / $0.value)\($0.key)" } ?? "\(time)ms"
}

private func hexadecimal(_ modifier: UInt64) -> JSON { .string("0x" + String(modifier, radix: 16)) }

extension Step {
  fileprivate func json(in scenario: Scenario) -> JSON {
    var members = action.members(in: scenario)
    let expected = expect.members(in: scenario)
    if !expected.isEmpty { members.append(("expect", .object(expected))) }
    return .object(members)
  }
}

extension Step.Action {
  fileprivate func members(in scenario: Scenario) -> Members {
    func buffer(_ index: Int) -> JSON { .string(scenario.buffers[index].id) }
    switch self {
    case .place(let question):
      let ids = question.buffers.map(buffer)
      return [
        ("place", ids.count == 1 ? ids[0] : .array(ids)),
        ("hints", question.hints.json(in: scenario, of: scenario.buffers[question.buffers[0]])),
      ]
    case .advise(let users, let hints):
      let list = users.map { JSON.array([scenario.device($0.device)] + words($0.usage)) }
      return [("advise", .array(list)), ("hints", hints.json(in: scenario))]
    case .defaults(let hints): return [("defaults", hints.json(in: scenario))]
    case .migrate(let index, let memory):
      return [("migrate", buffer(index)), ("to", word(memory, ScenarioWords.memories))]
    case .advance(let time): return [("advance", .string(duration(time)))]
    case .device(let event, let device): return [(event.rawValue, scenario.device(device))]
    case .release(let device): return [("release", scenario.device(device))]
    case .unrelease(let device): return [("unrelease", scenario.device(device))]
    case .restart: return [("restart", .bool(true))]
    case .look: return []
    }
  }
}

extension Hints {
  /// - Parameter buffer: hints that equal this buffer's values are not written.
  fileprivate func json(in scenario: Scenario, of buffer: BufferModel? = nil) -> JSON {
    var members: Members = []
    for hint in Hint.allCases where given.contains(hint.key) && !isSaid(hint, by: buffer) {
      members.append(("\(hint.name)", json(hint, scenario)))
    }
    return .object(members)
  }

  private func isSaid(_ hint: Hint, by buffer: BufferModel?) -> Bool {
    switch hint {
    case .format: format == buffer?.format
    case .modifier: modifier == buffer?.modifier
    case .client: clientPID == buffer?.client
    default: false
    }
  }

  private func json(_ hint: Hint, _ scenario: Scenario) -> JSON {
    switch hint {
    case .samplingDevice: scenario.device(samplingDevice)
    case .targetDevice: scenario.device(targetDevice)
    case .primaryDevice: scenario.device(primaryDevice)
    case .usage: .array(words(usage ?? []))
    case .format: fourcc(format ?? 0)
    case .modifier: hexadecimal(modifier ?? 0)
    case .client: whole(clientPID)
    case .candidates:
      .array((0..<(candidates?.count ?? 0)).map { scenario.device(candidates![$0]) })
    case .verdicts: .bool(verdicts)
    case .wake: .bool(wake)
    case .fresh: .bool(fresh)
    case .explain: .bool(explain)
    }
  }
}

extension Expectations {
  fileprivate func members(in scenario: Scenario) -> Members {
    var members: Members = []
    if let device { members.append(("device", scenario.device(device))) }
    if let access { members.append(("access", .string(access.word))) }
    if let confidence { members.append(("confidence", .string(confidence.word))) }
    if let rule { members.append(("rule", .string(rule))) }
    if let cached { members.append(("cached", .bool(cached))) }
    if let error { members.append(("error", .string(error))) }
    if let verdicts {
      let list = verdicts.map { verdict in
        (
          key: scenario.devices[verdict.device].id,
          value: JSON.array([.string(verdict.access.word)] + words(verdict.abilities))
        )
      }
      members.append(("verdicts", .object(list)))
    }
    if let home { members.append(("home", scenario.device(home))) }
    if let recheck { members.append(("recheck", .bool(recheck))) }
    if let changed {
      members.append(("changed", .array(changed.map { .string(scenario.buffers[$0].id) })))
    }
    if let places {
      let list = places.map { place in
        JSON.array([
          scenario.device(place.device), word(place.memory, ScenarioWords.memories),
          .array(place.accesses.map { .string($0.word) }),
        ])
      }
      members.append(("places", .array(list)))
    }
    for (key, total) in zip(ScenarioWords.totals, [moves, wakes, masters, held]) {
      if let total { members.append((key, whole(total))) }
    }
    return members
  }
}
