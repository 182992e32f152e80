// The steps of a scenario: one action each, and what is expected after it.

internal import Placement

struct StepDecoder {
  /// Its machine is complete, its steps are not.
  let scenario: Scenario
  let devices: [String: Int]
  let buffers: [String: Int]

  private static let deviceActions: KeyValuePairs<String, @Sendable (Int) -> Step.Action> = [
    "unplug": { .unplug($0) }, "plug": { .plug($0) }, "suspend": { .suspend($0) },
    "resume": { .resume($0) }, "release": { .release($0) }, "unrelease": { .unrelease($0) },
    "hang": { .hang($0) },
  ]
  private static let actions = ["place", "migrate", "advance"] + deviceActions.map(\.key)

  func step(_ cursor: JSONCursor) throws(ScenarioError) -> Step {
    let members = try cursor.object(optional: Self.actions + ["hints", "to", "expect"])
    let named = Self.actions.filter { members[$0] != nil }
    guard named.count <= 1 else {
      throw cursor.wrong("does several things: \(named.joined(separator: ", "))")
    }
    guard let name = named.first ?? (members["expect"] == nil ? nil : "") else {
      throw cursor.wrong("does nothing: one of \(Self.actions.joined(separator: ", "))")
    }
    for (key, owner) in ["hints": "place", "to": "migrate"] where name != owner {
      if let stray = members[key] { throw stray.wrong("only a \(owner) has it") }
    }
    let action = try action(name, members)
    let expect = try members["expect"].map { cursor throws(ScenarioError) in
      try expectations(cursor, after: name)
    }
    return Step(action: action, expect: expect ?? Expectations())
  }

  private func action(_ name: String, _ members: JSONMembers) throws(ScenarioError) -> Step.Action {
    switch name {
    case "": return .look
    case "place":
      return .place(try question(members["place"]!, hints: members["hints"]))
    case "migrate":
      return try migration(members)
    case "advance": return .advance(try members["advance"]!.duration())
    default:
      let device = try members[name]!.reference(devices, "device")
      return Self.deviceActions.first { $0.key == name }!.value(device)
    }
  }

  private func migration(_ members: JSONMembers) throws(ScenarioError) -> Step.Action {
    guard let to = members["to"] else { throw members.cursor.wrong("lacks \"to\"") }
    let buffer = try members["migrate"]!.reference(buffers, "buffer")
    let memory = try to.word(memories)
    if memory == .dedicated { try scenario.checkDedicated(of: scenario.buffers[buffer], at: to) }
    return .migrate(buffer: buffer, to: memory)
  }

  // MARK: place

  private func question(
    _ place: JSONCursor, hints: JSONCursor?
  ) throws(ScenarioError) -> Question {
    var question = Question(buffers: [])
    if case .string = place.value {
      question.buffers = [try place.reference(buffers, "buffer")]
    } else {
      for item in try place.array() {
        question.buffers.append(try item.reference(buffers, "buffer"))
      }
    }
    let planes = question.buffers.reduce(0) { $0 + scenario.buffers[$1].planes }
    guard (1...Planes.limit).contains(planes) else {
      throw place.wrong("\(planes) planes; a buffer has 1 to \(Planes.limit)")
    }
    // What a compositor knows from the client's own requests.
    let first = scenario.buffers[question.buffers[0]]
    question.hints.format = first.format
    question.hints.modifier = first.modifier
    question.hints.clientPID = first.client
    if let hints { try read(hints, into: &question.hints) }
    return question
  }

  private func read(_ cursor: JSONCursor, into hints: inout Hints) throws(ScenarioError) {
    let members = try cursor.object(optional: [
      "sampling-device", "target-device", "primary-device", "usage", "format", "modifier", "client",
      "wake", "fresh", "explain",
    ])
    hints.samplingDevice = try number(members["sampling-device"])
    hints.targetDevice = try number(members["target-device"])
    hints.primaryDevice = try number(members["primary-device"])
    for use in try members["usage"]?.array() ?? [] {
      let flag: Usage = try use.word(["sample": .sample, "scanout": .scanout, "capture": .capture])
      hints.usage = (hints.usage ?? []).union(flag)
    }
    hints.format = try members["format"]?.fourcc() ?? hints.format
    hints.modifier = try members["modifier"]?.modifier() ?? hints.modifier
    hints.clientPID = try members["client"]?.pid() ?? hints.clientPID
    hints.wake = try members["wake"]?.bool() ?? false
    hints.fresh = try members["fresh"]?.bool() ?? false
    hints.explain = try members["explain"]?.bool() ?? false
  }

  private func number(_ cursor: JSONCursor?) throws(ScenarioError) -> DeviceNumber {
    guard let cursor else { return .none }
    return scenario.devices[try cursor.reference(devices, "device")].number
  }

  // MARK: expect

  private static let totals = ["moves", "wakes", "masters", "held"]

  private func expectations(
    _ cursor: JSONCursor, after action: String
  ) throws(ScenarioError) -> Expectations {
    let own =
      switch action {
      case "place": ["device", "access", "confidence", "rule", "cached", "error"]
      case "release": ["error"]
      default: [String]()
      }
    let members = try cursor.object(optional: own + Self.totals)
    var expect = Expectations()
    if let device = members["device"] {
      expect.device = .some(
        device.value == .null ? nil : try device.reference(devices, "device"))
    }
    expect.access = try members["access"]?.oneOf(Access.allCases, \.word)
    expect.confidence = try members["confidence"]?.oneOf(Confidence.allCases, \.word)
    expect.rule = try members["rule"]?.oneOf(Rule.allCases.map { "\($0.name)" }, \.self)
    expect.cached = try members["cached"]?.bool()
    expect.error = try members["error"]?.oneOf(errorNames, \.self)
    expect.moves = try members["moves"]?.count()
    expect.wakes = try members["wakes"]?.count()
    expect.masters = try members["masters"]?.count()
    expect.held = try members["held"]?.count()
    if expect.error != nil, members.members.contains(where: { own.dropLast().contains($0.key) }) {
      throw cursor.wrong("expects an answer and an error")
    }
    return expect
  }
}

/// org.primed.Broker1.Error.*, as far as a scenario can bring one about.
let errorNames = ["UnknownDevice", "Released", "LimitsExceeded", "Failed"]

extension JSONCursor {
  fileprivate func oneOf<T>(_ values: [T], _ word: (T) -> String) throws(ScenarioError) -> T {
    let text = try string()
    guard let value = values.first(where: { word($0) == text }) else {
      throw wrong("\"\(text)\" is none of \(values.map(word).joined(separator: ", "))")
    }
    return value
  }

  fileprivate func count() throws(ScenarioError) -> Int { Int(try whole(0...1_000_000)) }
}
