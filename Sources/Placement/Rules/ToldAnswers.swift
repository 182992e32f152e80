// Recent answers and events as lines of the log: written by primed, read by primectl.

/// A line.
package enum Told: Sendable, Equatable {
  case answer(ToldAnswer)
  case event(ToldEvent)

  /// Milliseconds since then.
  package var age: Milliseconds {
    switch self {
    case .answer(let told): told.age
    case .event(let told): told.age
    }
  }
  package var answer: ToldAnswer? {
    if case .answer(let told) = self { told } else { nil }
  }

  /// The line before them, with the list's number and theirs.
  package static let headStart = "last answers, list "
  package static func head(_ number: Int, count: Int) -> String {
    "\(headStart)\(number): \(count)"
  }
  package var line: String {
    switch self {
    case .answer(let told): told.line
    case .event(let told): told.line
    }
  }
  /// nil: not such a line, or one of another version.
  package init?(line: some StringProtocol) {
    if let told = ToldAnswer(line: line) {
      self = .answer(told)
    } else if let told = ToldEvent(line: line) {
      self = .event(told)
    } else {
      return nil
    }
  }
}

package struct ToldAnswer: Sendable, Equatable {
  package var answer: RecentAnswer
  /// Milliseconds since the answer was given.
  package var age: Milliseconds

  package init(_ answer: RecentAnswer, age: Milliseconds) {
    (self.answer, self.age) = (answer, age)
  }
}

package struct ToldEvent: Sendable, Equatable {
  package var event: RecentEvent
  package var age: Milliseconds

  package init(_ event: RecentEvent, age: Milliseconds) { (self.event, self.age) = (event, age) }
}

extension RecentAnswers {
  package func told(at now: Milliseconds) -> [Told] {
    func age(_ at: Milliseconds) -> Milliseconds { now > at ? now - at : 0 }
    return inOrder.map { entry in
      switch entry {
      case .answer(let answer): .answer(ToldAnswer(answer, age: age(answer.at)))
      case .event(let event): .event(ToldEvent(event, age: age(event.at)))
      }
    }
  }
}

/// The `key=value` words of a line that starts with this word; nil: it starts with another.
private func values(_ line: some StringProtocol, after start: String) -> [String: String]? {
  let words = line.split(separator: " ")
  guard let first = words.first, first == start else { return nil }
  var values: [String: String] = [:]
  for word in words.dropFirst() {
    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
  }
  return values
}

extension DeviceNumber {
  /// `226:129`, or `none`.
  fileprivate var word: String { self == .none ? "none" : "\(major):\(minor)" }
  fileprivate init?(word: some StringProtocol) {
    if word == "none" {
      self = .none
      return
    }
    let parts = word.split(separator: ":").map { UInt32($0) }
    guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return nil }
    self.init(major: major, minor: minor)
  }
}

extension KnownExporter {
  /// `226:129`; `226:129?`, `none?`: it may be another; `none`: no device.
  fileprivate var word: String {
    switch self {
    case .device(let number): number.word
    case .noDevice: "none"
    case .possibly(let number): "\(number.word)?"
    }
  }
  fileprivate init?(word: String) {
    let isCertain = !word.hasSuffix("?")
    guard let number = DeviceNumber(word: isCertain ? word[...] : word.dropLast()) else {
      return nil
    }
    self = !isCertain ? .possibly(number) : number == .none ? .noDevice : .device(number)
  }
}

// MARK: An answer

extension ToldAnswer {
  private static let start = "answered"

  /// `answered ago=5 planes=4097 device=226:129 access=native confidence=intent ...`
  fileprivate var line: String {
    var words = [Self.start, "ago=\(age)"]
    let ids = (0..<answer.planes.count).map { "\(answer.planes[$0].inode)" }
    words.append("planes=\(ids.joined(separator: ","))")
    words.append("device=\(answer.device.word)")
    words.append("access=\(answer.access.word)")
    words.append("confidence=\(answer.confidence.word)")
    words.append("exporter=\(answer.exporter.word)")
    words += ["home=\(answer.home.word)", "residency=\(answer.residency.word)"]
    for (hint, value) in hints { words.append("\(hint.name)=\(value)") }
    return words.joined(separator: " ")
  }

  /// The hints that were given, as their values are written.
  private var hints: [(hint: Hint, value: String)] {
    var given: [(hint: Hint, value: String)] = []
    if let format = answer.format { given.append((.format, "\(format)")) }
    if let modifier = answer.modifier { given.append((.modifier, "\(modifier)")) }
    if let usage = answer.usage { given.append((.usage, "\(usage.rawValue)")) }
    for (hint, device) in [
      (Hint.samplingDevice, answer.samplingDevice), (.targetDevice, answer.targetDevice),
      (.primaryDevice, answer.primaryDevice),
    ] where device != .none { given.append((hint, device.word)) }
    if let list = answer.candidates {
      let numbers = (0..<list.count).map { list[$0].word }
      given.append((.candidates, numbers.joined(separator: ",")))
    }
    return given
  }

  init?(line: some StringProtocol) {
    guard let values = values(line, after: Self.start) else { return nil }
    guard let age = values["ago"].flatMap(Milliseconds.init),
      let access = Access.allCases.first(where: { $0.word == values["access"] }),
      let confidence = Confidence.allCases.first(where: { $0.word == values["confidence"] }),
      let device = values["device"].flatMap(DeviceNumber.init(word:))
    else { return nil }
    var query = Query(planes: Planes(), hints: Hints())
    for plane in (values["planes"] ?? "").split(separator: ",").prefix(Planes.limit) {
      guard let inode = UInt64(plane) else { return nil }
      query.planes.append(BufferIdentity(inode: inode))
    }
    guard query.planes.count > 0 else { return nil }
    query.hints = Self.hints(values)
    let answer = Answer(
      device: device, access: access, confidence: confidence, buffer: query.planes[0], generation: 0
    )
    self.init(
      RecentAnswer(
        query, answer,
        exporter: values["exporter"].flatMap(KnownExporter.init(word:)) ?? .possibly(.none),
        home: Self.memory(values["home"]), residency: Self.memory(values["residency"]), at: 0),
      age: age)
  }

  private static func hints(_ values: [String: String]) -> Hints {
    func value(_ hint: Hint) -> String? { values["\(hint.name)"] }
    var hints = Hints()
    hints.format = value(.format).flatMap(UInt32.init)
    hints.modifier = value(.modifier).flatMap(UInt64.init)
    hints.usage = value(.usage).flatMap(UInt8.init).map { Usage(rawValue: $0) }
    hints.samplingDevice = value(.samplingDevice).flatMap(DeviceNumber.init(word:)) ?? .none
    hints.targetDevice = value(.targetDevice).flatMap(DeviceNumber.init(word:)) ?? .none
    hints.primaryDevice = value(.primaryDevice).flatMap(DeviceNumber.init(word:)) ?? .none
    hints.candidates = value(.candidates).map { list in
      DeviceList(
        list.split(separator: ",").prefix(DeviceList.limit).compactMap { DeviceNumber(word: $0) })
    }
    return hints
  }

  private static func memory(_ word: String?) -> Memory {
    Memory.allCases.first { $0.word == word } ?? .unknown
  }
}

// MARK: An event

extension ToldEvent {
  private static let start = "happened"

  /// `happened ago=5 what=unplug driver=amdgpu render=226:129 card=226:1 dedicated=0 ...`
  fileprivate var line: String {
    let device = event.device
    var words = [Self.start, "ago=\(age)", "what=\(event.kind.rawValue)"]
    // A name with a space can't be a word.
    words.append("driver=\(device.driver.filter { $0 != " " })")
    if let node = device.render { words.append("render=\(node.number.word)") }
    if let node = device.primary { words.append("card=\(node.number.word)") }
    words += ["dedicated=\(device.dedicatedMemory)", "role=\(device.role.word)"]
    if let isIntegrated = device.isIntegrated { words.append("integrated=\(isIntegrated)") }
    words += ["imports=\(device.imports)", "exports=\(device.exports)"]
    return words.joined(separator: " ")
  }

  fileprivate init?(line: some StringProtocol) {
    guard let values = values(line, after: Self.start),
      let age = values["ago"].flatMap(Milliseconds.init),
      let kind = values["what"].flatMap(RecentEvent.Kind.init), let driver = values["driver"]
    else { return nil }
    var description = DeviceDescription(stableID: "", sysfsPath: "", driver: driver)
    description.render = values["render"].flatMap(DeviceNumber.init(word:)).map {
      Node(path: "renderD\($0.minor)", number: $0)
    }
    description.primary = values["card"].flatMap(DeviceNumber.init(word:)).map {
      Node(path: "card\($0.minor)", number: $0)
    }
    description.dedicatedMemory = values["dedicated"].flatMap(UInt64.init) ?? 0
    description.role = Role.allCases.first { $0.word == values["role"] } ?? .render
    description.integrated = values["integrated"].map { $0 == "true" }
    description.imports = values["imports"] != "false"
    description.exports = values["exports"] != "false"
    self.init(RecentEvent(kind, description, at: 0), age: age)
  }
}
