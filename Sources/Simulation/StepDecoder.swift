// Decodes the steps of a scenario: one action each, and the expectations after it.

internal import JSON
internal import Placement

struct StepDecoder {
  /// The machine is complete; the steps are being decoded.
  let scenario: Scenario
  let devices: [String: Int]
  let buffers: [String: Int]

  private static let actions =
    ["place", "advise", "defaults", "migrate", "advance", "release", "unrelease", "restart"]
    + Step.DeviceEvent.allCases.map(\.rawValue)
  /// Keys that are allowed with some actions only.
  private static let companions = ["hints": ["place", "advise"], "to": ["migrate"]]

  func step(_ cursor: JSONCursor) throws(ScenarioError) -> Step {
    let members = try cursor.object(optional: Self.actions + ["hints", "to", "expect"])
    let named = Self.actions.filter { members[$0] != nil }
    guard named.count <= 1 else {
      throw cursor.wrong("does several things: \(named.joined(separator: ", "))")
    }
    guard let name = named.first ?? (members["expect"] == nil ? nil : "") else {
      throw cursor.wrong("does nothing: one of \(Self.actions.joined(separator: ", "))")
    }
    for (key, owners) in Self.companions where !owners.contains(name) {
      if let stray = members[key] {
        throw stray.wrong("only a \(owners.joined(separator: " or ")) has it")
      }
    }
    var step = Step(try action(name, members))
    if let expect = members["expect"] { step.expect = try expectations(expect, after: name) }
    if case .place(var question) = step.action,
      step.expect.verdicts != nil || step.expect.home != nil
    {
      question.hints.set(.verdicts, flag: true)
      step.action = .place(question)
    }
    return step
  }

  private func action(_ name: String, _ members: JSONMembers) throws(ScenarioError) -> Step.Action {
    let hints = members["hints"]
    switch name {
    case "": return .look
    case "place": return .place(try question(members["place"]!, hints: hints))
    case "advise":
      return .advise(try users(members["advise"]!), try hints.map(read) ?? Hints())
    case "defaults": return .defaults(try read(members["defaults"]!))
    case "migrate": return try migration(members)
    case "advance": return .advance(try members["advance"]!.duration())
    case "release": return .release(try members["release"]!.reference(devices, "device"))
    case "unrelease": return .unrelease(try members["unrelease"]!.reference(devices, "device"))
    case "restart":
      guard try members["restart"]!.bool() else { throw members["restart"]!.wrong("can be true") }
      return .restart
    default:
      let device = try members[name]!.reference(devices, "device")
      return .device(Step.DeviceEvent(rawValue: name)!, device)
    }
  }

  private func migration(_ members: JSONMembers) throws(ScenarioError) -> Step.Action {
    guard let to = members["to"] else { throw members.cursor.wrong("lacks \"to\"") }
    let buffer = try members["migrate"]!.reference(buffers, "buffer")
    let memory = try to.word(ScenarioWords.memories)
    if memory == .dedicated {
      try scenario.checkDedicated(of: scenario.buffers[buffer].exporter, at: to)
    }
    return .migrate(buffer: buffer, to: memory)
  }

  /// `[["dgpu", "capture"], ["igpu", "sample", "scanout"]]`.
  private func users(_ cursor: JSONCursor) throws(ScenarioError) -> [AdviceUser] {
    let users = try cursor.array().map { cursor throws(ScenarioError) in
      let words = try cursor.array()
      guard let first = words.first else { throw cursor.wrong("names no device") }
      return AdviceUser(
        scenario.devices[try first.reference(devices, "device")].number,
        try Self.usage(words.dropFirst()))
    }
    guard (1...AdviceUser.limit).contains(users.count) else {
      throw cursor.wrong("\(users.count) users; there are 1 to \(AdviceUser.limit)")
    }
    return users
  }

  private static func usage(
    _ words: some Sequence<JSONCursor>
  ) throws(ScenarioError) -> Usage {
    var usage: Usage = []
    for word in words { usage.formUnion(try word.usage()) }
    return usage
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
    // What a compositor knows from the client's requests, unless the hints give it.
    question.hints = try hints.map(read) ?? Hints()
    question.fill(from: scenario.buffers[question.buffers[0]])
    return question
  }

  private func read(_ cursor: JSONCursor) throws(ScenarioError) -> Hints {
    let members = try cursor.object(optional: Hint.names)
    var hints = Hints()
    for hint in Hint.allCases {
      if let value = members["\(hint.name)"] { try read(hint, value, into: &hints) }
    }
    return hints
  }

  private func read(
    _ hint: Hint, _ value: JSONCursor, into hints: inout Hints
  ) throws(ScenarioError) {
    switch hint.kind {
    case .device: hints.set(hint, number: try number(value).rawValue)
    case .devices: hints.set(candidates: try candidates(value))
    case .usage: hints.set(usage: try Self.usage(try value.array()))
    case .number32: hints.set(hint, number: UInt64(try value.fourcc()))
    case .number64: hints.set(hint, number: try value.modifier())
    case .client: hints.set(clientPID: try value.pid())
    case .flag: hints.set(hint, flag: try value.bool())
    }
  }

  private func number(_ cursor: JSONCursor) throws(ScenarioError) -> DeviceNumber {
    scenario.devices[try cursor.reference(devices, "device")].number
  }

  private func candidates(_ cursor: JSONCursor) throws(ScenarioError) -> DeviceList {
    let items = try cursor.array()
    guard items.count <= DeviceList.limit else {
      throw cursor.wrong("more than \(DeviceList.limit) candidates")
    }
    return DeviceList(try items.map(number))
  }

  // MARK: expect

  /// Expectations about an answer; every step may also expect totals and `changed`.
  private static let ofAnswers = [
    "device", "access", "confidence", "rule", "cached", "verdicts", "home", "recheck",
  ]

  private func expectations(
    _ cursor: JSONCursor, after action: String
  ) throws(ScenarioError) -> Expectations {
    let own =
      switch action {
      case "place": Self.ofAnswers + ["error"]
      case "advise": ["places", "error"]
      case "release": ["error"]
      default: [String]()
      }
    let members = try cursor.object(optional: own + ["changed"] + ScenarioWords.totals)
    var expect = Expectations()
    try readAnswer(members, into: &expect)
    expect.places = try members["places"]?.array().map(place)
    expect.error = try members["error"]?.oneOf(ScenarioWords.errors, \.self)
    expect.changed = try members["changed"]?.array().map { cursor throws(ScenarioError) in
      try cursor.reference(buffers, "buffer")
    }
    expect.moves = try members["moves"]?.count()
    expect.wakes = try members["wakes"]?.count()
    expect.masters = try members["masters"]?.count()
    expect.held = try members["held"]?.count()
    if expect.error != nil,
      members.members.contains(where: { own.contains($0.key) && $0.key != "error" })
    {
      throw cursor.wrong("expects an answer and an error")
    }
    return expect
  }

  private func readAnswer(
    _ members: JSONMembers, into expect: inout Expectations
  ) throws(ScenarioError) {
    if let device = members["device"] {
      expect.device = .some(try device.orNull()?.reference(devices, "device"))
    }
    expect.access = try members["access"]?.oneOf(Access.allCases, \.word)
    expect.confidence = try members["confidence"]?.oneOf(Confidence.allCases, \.word)
    expect.rule = try members["rule"]?.oneOf(Rule.allCases.map { "\($0.name)" }, \.self)
    expect.cached = try members["cached"]?.bool()
    expect.recheck = try members["recheck"]?.bool()
    if let home = members["home"] {
      expect.home = .some(try home.orNull()?.reference(devices, "device"))
    }
    if let verdicts = members["verdicts"] { expect.verdicts = try self.verdicts(verdicts) }
  }

  /// `{ "igpu": ["in-place", "sample", "scanout"] }`.
  private func verdicts(_ cursor: JSONCursor) throws(ScenarioError) -> [Expectations.Verdict] {
    let members = try cursor.object(optional: scenario.devices.map(\.id))
    return try members.members.map { key, _ throws(ScenarioError) in
      let words = try members[key]!.array()
      guard let access = words.first else { throw members[key]!.wrong("has no access") }
      return Expectations.Verdict(
        device: devices[key]!, access: try access.oneOf(Access.allCases, \.word),
        abilities: try Self.usage(words.dropFirst()))
    }
  }

  /// `["dgpu", "system", ["native", "in-place"]]`.
  private func place(_ cursor: JSONCursor) throws(ScenarioError) -> Expectations.Place {
    let parts = try cursor.array()
    guard parts.count == 3 else { throw cursor.wrong("is not [device, memory, accesses]") }
    return Expectations.Place(
      device: try parts[0].reference(devices, "device"),
      memory: try parts[1].word(ScenarioWords.memories),
      accesses: try parts[2].array().map { cursor throws(ScenarioError) in
        try cursor.oneOf(Access.allCases, \.word)
      })
  }
}

extension JSONCursor {
  fileprivate func oneOf<T>(_ values: [T], _ word: (T) -> String) throws(ScenarioError) -> T {
    let text = try string()
    guard let value = values.first(where: { word($0) == text }) else {
      throw wrong("\"\(text)\" is none of \(values.map(word).joined(separator: ", "))")
    }
    return value
  }

  /// One of the words of the hint `usage`.
  fileprivate func usage() throws(ScenarioError) -> Usage {
    let word = try oneOf(Usage.words.map { "\($0.key)" }, \.self)
    return Usage.words.first { "\($0.key)" == word }!.value
  }

  fileprivate func count() throws(ScenarioError) -> Int { Int(try whole(0...1_000_000)) }
}
