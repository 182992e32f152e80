// The last 256 questions and answers, without the asker, for bug reports; a question that is
// repeated every frame is noted once. Also their form as lines of the log, which `primectl capture`
// reads.

package struct RecentAnswer: Sendable, Equatable {
  package var at: Milliseconds
  package var planes: Planes
  package var format: UInt32?
  package var modifier: UInt64?
  package var usage: Usage?
  package var samplingDevice = DeviceNumber.none
  package var targetDevice = DeviceNumber.none
  package var primaryDevice = DeviceNumber.none
  package var candidates: DeviceList?
  package var device: DeviceNumber
  package var access: Access
  package var confidence: Confidence

  package init(_ query: Query, _ answer: Answer, at now: Milliseconds) {
    at = now
    planes = query.planes
    (format, modifier, usage) = (query.hints.format, query.hints.modifier, query.hints.usage)
    samplingDevice = query.hints.samplingDevice
    targetDevice = query.hints.targetDevice
    primaryDevice = query.hints.primaryDevice
    candidates = query.hints.candidates
    (device, access, confidence) = (answer.device, answer.access, answer.confidence)
  }
}

/// A ring buffer. Adding an answer allocates nothing.
package struct RecentAnswers: Sendable {
  package static let limit = 256
  private var entries: [RecentAnswer] = []
  private var next = 0
  /// By the low bits of the first plane's inode: a fingerprint of the last question and answer.
  private var last = [UInt64](repeating: 0, count: limit)

  package init() { entries.reserveCapacity(Self.limit) }

  package mutating func note(_ query: Query, _ answer: Answer, at now: Milliseconds) {
    let print = Self.fingerprint(query, answer)
    let place = Int(truncatingIfNeeded: query.planes[0].inode) & (Self.limit - 1)
    if last[place] == print { return }
    last[place] = print
    let entry = RecentAnswer(query, answer, at: now)
    if entries.count < Self.limit {
      entries.append(entry)
    } else {
      entries[next] = entry
    }
    next = next + 1 == Self.limit ? 0 : next + 1
  }

  /// Of all that the answer depends on, except what is known of the buffer.
  private static func fingerprint(_ query: Query, _ answer: Answer) -> UInt64 {
    let said = UInt64(answer.access.rawValue) << 8 | UInt64(answer.confidence.rawValue)
    let asked = query.hints.targetDevice.rawValue << 32 ^ query.hints.primaryDevice.rawValue
    let usage = UInt64(query.hints.usage?.rawValue ?? 0) << 16
    let candidates = UInt64(query.hints.candidates?.count ?? 0xff)
    let odd: UInt64 = 0x9e37_79b9_7f4a_7c15
    let first = (query.planes[0].inode ^ answer.device.rawValue) &* odd
    return (((first ^ said) &* odd ^ asked) &* odd ^ usage ^ candidates) &* odd
  }

  /// The oldest first.
  package var all: [RecentAnswer] {
    entries.count < Self.limit ? entries : Array(entries[next...] + entries[..<next])
  }
}

/// An answer, and what is known of plane 0 when the log line is written.
package struct ToldAnswer: Sendable, Equatable {
  package var answer: RecentAnswer
  /// Milliseconds since the answer was given.
  package var age: Milliseconds
  /// `.none`: unknown.
  package var exporter: DeviceNumber
  package var home: Memory
  package var residency: Memory

  package init(
    _ answer: RecentAnswer, age: Milliseconds, exporter: DeviceNumber, home: Memory,
    residency: Memory
  ) {
    (self.answer, self.age, self.exporter) = (answer, age, exporter)
    (self.home, self.residency) = (home, residency)
  }
}

// MARK: as a line of the log

extension ToldAnswer {
  /// The first word of such a line; and that of the line before them, with their number.
  private static let start = "answered"
  package static let headStart = "last answers, list "
  package static func head(_ number: Int, count: Int) -> String {
    "\(headStart)\(number): \(count)"
  }

  /// `answered ago=5 planes=4097 device=226:129 access=native confidence=intent ...`
  package var line: String {
    var words = [Self.start, "ago=\(age)"]
    let ids = (0..<answer.planes.count).map { "\(answer.planes[$0].inode)" }
    words.append("planes=\(ids.joined(separator: ","))")
    words.append("device=\(word(answer.device))")
    words.append("access=\(answer.access.word)")
    words.append("confidence=\(answer.confidence.word)")
    words.append("exporter=\(word(exporter))")
    words += ["home=\(home.word)", "residency=\(residency.word)"]
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
    ] where device != .none { given.append((hint, word(device))) }
    if let list = answer.candidates {
      let numbers = (0..<list.count).map { word(list[$0]) }
      given.append((.candidates, numbers.joined(separator: ",")))
    }
    return given
  }

  private func word(_ device: DeviceNumber) -> String {
    device == .none ? "none" : "\(device.major):\(device.minor)"
  }

  /// nil: not such a line, or one of another version.
  package init?(line: some StringProtocol) {
    let words = line.split(separator: " ")
    guard let word = words.first, word == Self.start else { return nil }
    var values: [String: String] = [:]
    for word in words.dropFirst() {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
    }
    guard let age = values["ago"].flatMap(Milliseconds.init),
      let access = Access.allCases.first(where: { $0.word == values["access"] }),
      let confidence = Confidence.allCases.first(where: { $0.word == values["confidence"] }),
      let device = values["device"].flatMap(Self.device)
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
      RecentAnswer(query, answer, at: 0), age: age,
      exporter: values["exporter"].flatMap(Self.device) ?? .none,
      home: Self.memory(values["home"]), residency: Self.memory(values["residency"]))
  }

  private static func hints(_ values: [String: String]) -> Hints {
    func value(_ hint: Hint) -> String? { values["\(hint.name)"] }
    var hints = Hints()
    hints.format = value(.format).flatMap(UInt32.init)
    hints.modifier = value(.modifier).flatMap(UInt64.init)
    hints.usage = value(.usage).flatMap(UInt8.init).map { Usage(rawValue: $0) }
    hints.samplingDevice = value(.samplingDevice).flatMap(device) ?? .none
    hints.targetDevice = value(.targetDevice).flatMap(device) ?? .none
    hints.primaryDevice = value(.primaryDevice).flatMap(device) ?? .none
    hints.candidates = value(.candidates).map { list in
      DeviceList(
        list.split(separator: ",").prefix(DeviceList.limit).compactMap { device(String($0)) })
    }
    return hints
  }

  private static func memory(_ word: String?) -> Memory {
    Memory.allCases.first { $0.word == word } ?? .unknown
  }
  private static func device(_ word: String) -> DeviceNumber? {
    if word == "none" { return DeviceNumber.none }
    let parts = word.split(separator: ":").map { UInt32($0) }
    guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return nil }
    return DeviceNumber(major: major, minor: minor)
  }
}
