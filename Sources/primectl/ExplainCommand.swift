// primectl explain: the reasons of an answer, step by step, and what would happen without primed.

import ArgumentParser
import Bus
import Inspection
internal import JSON
import Placement

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Ask where a buffer belongs, and show each step to the answer.",
    discussion: """
      As place, with all of it: what each source of evidence said or why it did not, which devices were left after each \
      step and why the others were not, the rule that decided, and what a compositor would have moved \
      that imports into its own device first and then tries all others.

      Examples:
        primectl explain --device renderD129 --memory vram
        primectl explain --fd 3 --hint usage=scanout --hint target-device=card1 3<&0
        primectl explain --buffer game --hint primary-device=i915 --bus session
      """)

  @OptionGroup var buffer: BufferOptions
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let client = try options.connect()
    let (reply, hints, size) = try buffer.ask(client)
    let properties = try client.brokerProperties()
    let missing = Diagnosis.missing(Inspected(options).facts)
    let story = AnswerStory(reply, hints, try client.deviceInfos(), properties)
    if output.json {
      print(
        JSON.object(
          reply.json + [
            ("sources", .array(story.sources(missing: missing).lines.map(\.json))),
            ("steps", .array(story.steps.map(\.json))), ("naive", .string(story.naive(size))),
          ]
        ).text)
    } else {
      show(story, missing, size, reply)
    }
  }

  private func show(
    _ story: AnswerStory, _ missing: [(source: String, why: String)], _ size: UInt64,
    _ reply: PlaceReply
  ) {
    let terminal = Terminal.output
    print(
      terminal.paint(story.title(reply.device), .strong) + ", "
        + terminal.paint(Cell(word: reply.access.word)) + ", \(reply.confidence.word)")
    printLines(terminal.fold(story.text(Names.Detail.reason), from: 2).map { "  " + $0 })
    section("Evidence", story.evidence(missing: missing), terminal)
    section("Steps", story.steps.flatMap(\.rows), terminal)
    section("Without primed", [[Cell(story.naive(size))]], terminal)
    if case .number(let ms) = reply.detail(Names.Detail.recheck) {
      section(
        "Not settled", [[Cell("ask again in \(ms) ms, or wait for PlacementChanged")]], terminal)
    }
  }

  private func section(_ title: String, _ rows: [[Cell]], _ terminal: Terminal) {
    print("\n" + terminal.paint(title, .strong))
    printLines(terminal.table(rows, indent: 2))
  }
}

/// An explained answer, sorted into steps.
struct AnswerStory {
  struct Step {
    var name: String
    var left: [String]
    /// Devices that this step excludes, and why.
    var out: [(device: String, why: String)]
  }
  private let reply: PlaceReply
  private let hints: [String: BusValue]
  private let devices: [DeviceInfo]
  private let properties: [String: BusValue]
  private let lines: [Explanation.Line]

  init(
    _ reply: PlaceReply, _ hints: [String: BusValue], _ devices: [DeviceInfo],
    _ properties: [String: BusValue]
  ) {
    (self.reply, self.hints, self.devices, self.properties) = (reply, hints, devices, properties)
    if case .lines(let lines)? = reply.detail(Names.Detail.devices) {
      self.lines = lines
    } else {
      lines = []
    }
  }

  func title(_ number: DeviceNumber) -> String {
    devices.first { $0.number == number }.map { "\($0.node) (\($0.name))" } ?? "no device"
  }
  private func label(_ number: DeviceNumber) -> String {
    let node = devices.first { $0.number == number }?.node ?? number.words
    return String(node.split(separator: "/").last ?? "?")
  }
  func text(_ key: StaticString) -> String {
    if case .string(let text)? = reply.detail(key) { text } else { "-" }
  }

  // MARK: Evidence

  /// Each source with what it said or why it said nothing, then what they say together.
  func evidence(missing: [(source: String, why: String)]) -> [[Cell]] {
    let sources = sources(missing: missing)
    var rows = sources.lines.map { line in
      [Cell(line.source), Cell(line.said, line.isSilent ? .faint : nil)]
    }
    rows += sources.rest.map { [Cell("together"), Cell($0)] }
    if text(Names.Detail.homeMemory) == Memory.unknown.word {
      rows.append([Cell("home memory"), Cell(word: Memory.unknown.word)])
    }
    if case .number(let count)? = reply.detail(Names.Detail.attachments) {
      rows.append([Cell("attachments"), Cell("\(count) when last looked at")])
    }
    let isCached = reply.detail(Names.Detail.cached) == .bool(true)
    rows.append([Cell("looked at"), Cell(isCached ? "before; this answer is remembered" : "now")])
    return rows
  }

  func sources(missing: [(source: String, why: String)]) -> SourceLines {
    var said: [String] = []
    if case .strings(let lines)? = reply.detail(Names.Detail.evidence) { said = lines }
    var inUse: [String] = []
    if case .strings(let words)? = properties[Names.Property.evidence.rawValue] { inUse = words }
    var declared: String?
    if case .number(let number)? = hints["\(Hint.samplingDevice.name)"] {
      declared = "it will be sampled on \(label(DeviceNumber(number)))"
    }
    return SourceLines(
      said, inUse: inUse, missing: missing, declared: declared,
      notAsked: lines.filter { $0.why.hasPrefix("not asked") }.map {
        "\(label($0.device)): \($0.why)"
      })
  }

  // MARK: Steps

  /// The sets of the rules: all devices; those that may be chosen; those that reach the buffer
  /// where it lies; those that can do what is asked; the chosen one.
  var steps: [Step] {
    var left = lines
    var steps = [Step(name: "all devices", left: left.map { label($0.device) }, out: [])]
    func narrow(_ name: String, _ isIn: (Explanation.Line) -> String?) {
      var out: [(String, String)] = []
      left = left.filter { line in
        guard let why = isIn(line) else { return true }
        out.append((label(line.device), why))
        return false
      }
      steps.append(Step(name: name, left: left.map { label($0.device) }, out: out))
    }
    narrow("may be chosen") { $0.access == .unreachable || isUnfit($0) ? $0.why : nil }
    if case .numbers(let candidates)? = hints["\(Hint.candidates.name)"] {
      narrow("among the candidates") { line in
        devices.contains { $0.number == line.device && $0.isOne(of: candidates) }
          ? nil : "not a candidate"
      }
    }
    narrow("reach it as it lies") {
      [.native, .inPlace].contains($0.access) ? nil : $0.why
    }
    narrow("can do what is asked") { line in
      let missing = wanted.subtracting(abilities(line.device))
      return missing.isEmpty ? nil : "not known to \(missing.text)"
    }
    let named = label(reply.device)
    steps.append(
      Step(
        name: "named, by rule \(text(Names.Detail.rule))",
        left: reply.device == .none ? [] : [named],
        out: left.map { label($0.device) }.filter { $0 != named }.map { ($0, "comes after it") }))
    return steps
  }

  private func isUnfit(_ line: Explanation.Line) -> Bool {
    guard let device = devices.first(where: { $0.number == line.device }) else { return true }
    return device.text(.state) != DeviceState.ready.word
      || [Explanation.Line.mayHang, Explanation.Line.ignored].contains(line.why)
  }

  /// With `scanout` the target must scan out; other devices sample.
  private var wanted: Usage {
    guard case .strings(let words)? = hints["\(Hint.usage.name)"] else { return .sample }
    let all = words.reduce(into: Usage()) { $0.formUnion(Usage(word: $1) ?? []) }
    return all.contains(.scanout) ? all.subtracting(.scanout).union(.sample) : all
  }
  private func abilities(_ device: DeviceNumber) -> Usage {
    guard case .verdicts(let list)? = reply.detail(Names.Detail.verdicts) else { return .all }
    return list.first { $0.device == device }?.abilities ?? []
  }

  // MARK: The naive order

  /// What happens if the compositor imports into its own device, then into each other one until one
  /// succeeds.
  func naive(_ size: UInt64) -> String {
    let own: DeviceNumber
    if case .number(let given)? = hints["\(Hint.primaryDevice.name)"] {
      own = DeviceNumber(given)
    } else if case .number(let number)? = properties[Names.Property.primaryDevice.rawValue] {
      own = DeviceNumber(number)
    } else {
      own = .none
    }
    let first = lines.filter { line in
      devices.contains { $0.number == line.device && $0.isOne(of: [own.rawValue]) }
    }
    let buffer = size > 0 ? "the buffer, \(bytes(size))," : "the buffer"
    var refused: [String] = []
    for line in first + lines.filter({ !first.contains($0) }) {
      let before = refused.isEmpty ? "" : "\(refused.joined(separator: ", ")) would refuse it; "
      let device = label(line.device)
      switch line.access {
      case .native, .inPlace:
        return before + "\(device) would take \(buffer) as it lies: nothing moves"
      case .moves: return before + "an import into \(device) would move \(buffer) out of its home"
      case .mayMove, .unknown:
        return before
          + "an import into \(device) could move \(buffer) out of its home: not known (\(line.why))"
      case .unreachable where line.why == Explanation.Line.wouldHang:
        return before + "an import into \(device) would succeed, and then hang it"
      case .unreachable: refused.append(device)
      }
    }
    return "no device would take it"
  }
}

extension SourceLine {
  var json: JSON {
    .object([
      ("source", .string(source)), ("said", isSilent ? .null : .string(said)),
      ("silence", isSilent ? .string(said) : .null),
    ])
  }
}

extension AnswerStory.Step {
  var rows: [[Cell]] {
    [[Cell(name), Cell(left.isEmpty ? "none" : left.joined(separator: " "))]]
      + out.map { [Cell("  not \($0.device)", .faint), Cell($0.why, .faint)] }
  }
  var json: JSON {
    .object([
      ("step", .string(name)), ("left", .array(left.map { .string($0) })),
      (
        "out",
        .array(out.map { .object([("device", .string($0.device)), ("why", .string($0.why))]) })
      ),
    ])
  }
}

extension DeviceInfo {
  func isOne(of numbers: [UInt64]) -> Bool {
    numbers.contains(number(.renderDevice)) || numbers.contains(number(.primaryDevice))
  }
}
