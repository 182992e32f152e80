// Shared by the subcommands: which bus to use, words for values, JSON.

import ArgumentParser
import Bus
import Glibc
import Inspection
internal import JSON
import Linux
import Placement
import Simulation

struct BusOptions: ParsableArguments {
  @Option(
    help: "The bus: system, session, or a D-Bus address.", completion: .list(["system", "session"]))
  var bus = "system"

  func validate() throws {
    guard BusChoice(bus) != nil else {
      throw ValidationError("--bus \(bus): give system, session or a D-Bus address")
    }
  }

  func connect() throws -> BrokerClient {
    do {
      let client = try BrokerClient(BusChoice(bus)!)
      client.onWaiting = { complain("waiting for primed's answer ...") }
      return client
    } catch {
      let mend =
        switch bus {
        case "system": "does the system bus run here? For another one give --bus"
        case "session": "is this a session? dbus-run-session starts one"
        default: "is this its address?"
        }
      throw CleanExit.failure("can't reach the bus \(bus): \(error); \(mend)")
    }
  }
}

struct OutputOptions: ParsableArguments {
  @Flag(help: "Print JSON, for programs.")
  var json = false
}

/// Prints a line to standard error.
func complain(_ line: String) {
  let line = "primectl: \(line)\n"
  _ = write(STDERR_FILENO, line, line.utf8.count)
}

/// The names of devices on the system bus that `BrokerClient.device(named:)` accepts.
let devicesCompletion = CompletionKind.custom { _, _, _ in
  let devices = (try? BrokerClient(.system).deviceInfos()) ?? []
  return devices.flatMap { info in
    [info.text(.renderNode), info.text(.primaryNode)].filter { !$0.isEmpty }
      .map { String($0.drop { $0 != "/" }.split(separator: "/").last ?? "") }
  }
}

extension CleanExit {
  /// An error message: one line, exit status 1.
  static func failure(_ line: String) -> any Error { Failure(description: line) }
  private struct Failure: Error, CustomStringConvertible { var description: String }
}

/// A device object's properties, with the contract's names.
struct DeviceInfo {
  let properties: [String: BusValue]

  func text(_ key: Names.DeviceProperty) -> String {
    if case .string(let text) = properties[key.rawValue] { text } else { "" }
  }
  func number(_ key: Names.DeviceProperty) -> UInt64 {
    if case .number(let number) = properties[key.rawValue] { number } else { 0 }
  }
  func flag(_ key: Names.DeviceProperty) -> Bool { properties[key.rawValue] == .bool(true) }
  func list(_ key: Names.DeviceProperty) -> [String] {
    if case .strings(let list) = properties[key.rawValue] { list } else { [] }
  }

  /// The path of the node that answers give.
  var node: String { text(.renderNode).isEmpty ? text(.primaryNode) : text(.renderNode) }
  var number: DeviceNumber {
    let render = number(.renderDevice)
    return DeviceNumber(render != 0 ? render : number(.primaryDevice))
  }
  var name: String {
    let model = [text(.vendor), text(.model)].filter { !$0.isEmpty }.joined(separator: " ")
    return model.isEmpty ? text(.driver) : model
  }

  /// Accepts a node's path or its last part, a dev_t, a stable ID, a driver's name, or what the
  /// lists show as the device.
  func isNamed(_ word: String) -> Bool {
    let nodes = [text(.renderNode), text(.primaryNode)].filter { !$0.isEmpty }
    return nodes.contains { $0 == word || $0.hasSuffix("/" + word) }
      || text(.stableID) == word || text(.driver) == word || name == word
      || UInt64(word).map { [number(.renderDevice), number(.primaryDevice)].contains($0) } == true
  }
}

extension BrokerClient {
  /// renderD9 comes before renderD10.
  func deviceInfos() throws -> [DeviceInfo] {
    try devices().map(DeviceInfo.init).sorted { isBefore($0.node, $1.node) }
  }

  /// The one device that `word` names.
  func device(named word: String) throws -> DeviceInfo {
    let found = try deviceInfos().filter { $0.isNamed(word) }
    guard found.count < 2 else {
      throw CleanExit.failure("\(word) names \(found.count) devices; say which: \(list(found))")
    }
    guard let device = found.first else { throw noDevice(word, among: try deviceInfos()) }
    return device
  }
}

func noDevice(_ word: String, among all: [DeviceInfo]) -> any Error {
  let choices = all.isEmpty ? "there is none" : "there are: \(list(all))"
  return CleanExit.failure("\(word): no such device; \(choices)")
}

private func list(_ devices: [DeviceInfo]) -> String {
  devices.map { "\($0.node) (\($0.name))" }.joined(separator: ", ")
}

extension JSON {
  init(_ number: UInt64) { self = .number("\(number)") }

  /// Keys are sorted, so that two answers can be compared as text.
  init(_ properties: [String: BusValue]) {
    self = .object(properties.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) })
  }
}

extension DeviceNumber {
  /// `226:128`.
  var words: String { "\(major):\(minor)" }
}

extension BusValue {
  /// For people; a list's items are separated by spaces.
  var words: String {
    switch self {
    case .string(let text): text.isEmpty ? "-" : text
    case .strings(let list): list.isEmpty ? "-" : list.joined(separator: " ")
    case .number(let number): "\(number)"
    case .numbers(let list): list.map { "\($0)" }.joined(separator: " ")
    case .verdicts(let list): "\(list.count)"
    case .bool(let flag): flag ? "yes" : "no"
    case .lines(let lines): "\(lines.count)"
    case .counters(let counters): "\(counters.count)"
    case .rows(let rows): "\(rows.count)"
    }
  }

  var json: JSON {
    switch self {
    case .string(let text): .string(text)
    case .strings(let list): .array(list.map { .string($0) })
    case .number(let number): JSON(number)
    case .numbers(let list): .array(list.map { JSON($0) })
    case .verdicts(let list):
      .array(
        list.map {
          .object([
            ("device", JSON($0.device.rawValue)), ("access", .string($0.access.word)),
            ("can", .array($0.abilities.list.map { .string($0) })),
          ])
        })
    case .bool(let flag): .bool(flag)
    case .lines(let lines):
      .array(
        lines.map {
          .object([
            ("device", JSON($0.device.rawValue)), ("access", .string($0.access.word)),
            ("why", .string($0.why)),
          ])
        })
    case .counters(let counters): .object(counters.map { ($0.name, JSON($0.value)) })
    case .rows(let rows): .array(rows.map { .array($0.map { .string($0) }) })
    }
  }
}

extension Terminal {
  /// The terminal or pipe that this command prints to.
  static let output: Terminal = {
    var size = winsize()
    let isTerminal = isatty(STDOUT_FILENO) == 1
    if isTerminal { _ = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) }
    return Terminal(columns: isTerminal ? Int(size.ws_col) : nil) { name in
      getenv(name).map { String(cString: $0) }
    }
  }()
}

/// Columns as wide as their widest cell; the contract's words in their colours.
func printTable(_ rows: [[String]], hasHead: Bool = false) {
  let cells = rows.enumerated().map { i, row in
    row.map { hasHead && i == 0 ? Cell($0, .strong) : Cell(word: $0) }
  }
  printLines(Terminal.output.table(cells))
}

func printLines(_ lines: [String]) { for line in lines { print(line) } }

/// A picture: to standard output for `-`, else to a file, and says so on standard error.
func writePicture(_ text: String, to path: String) throws {
  if path == "-" { return print(text, terminator: "") }
  try writeFile(text, to: path)
  complain("\(path) is written")
}

/// - Throws: what to do if it can't be written.
func writeFile(_ text: String, to path: String) throws {
  guard let file = fopen(path, "we") else {
    throw CleanExit.failure("\(path) can't be written: \(Errno(errno))")
  }
  let isWritten = fputs(text, file) >= 0
  guard fclose(file) == 0, isWritten else {
    throw CleanExit.failure("\(path) can't be written: \(Errno(errno))")
  }
}
