// What the subcommands have in common: the bus to ask, words for values, JSON.

import ArgumentParser
import Bus
import Glibc
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

/// A line beside the output.
func complain(_ line: String) {
  let line = "primectl: \(line)\n"
  _ = write(STDERR_FILENO, line, line.utf8.count)
}

/// The names that `BrokerClient.device(named:)` takes, of the devices on the system bus.
let devicesCompletion = CompletionKind.custom { _, _, _ in
  let devices = (try? BrokerClient(.system).deviceInfos()) ?? []
  return devices.flatMap { info in
    [info.text("RenderNode"), info.text("PrimaryNode")].filter { !$0.isEmpty }
      .map { String($0.drop { $0 != "/" }.split(separator: "/").last ?? "") }
  }
}

extension CleanExit {
  /// An error for people: one line, exit status 1.
  static func failure(_ line: String) -> any Error { Failure(description: line) }
  private struct Failure: Error, CustomStringConvertible { var description: String }
}

/// A device object's properties, by the contract's names.
struct DeviceInfo {
  let properties: [String: BusValue]

  func text(_ key: String) -> String {
    if case .string(let text) = properties[key] { text } else { "" }
  }
  func number(_ key: String) -> UInt64 {
    if case .number(let number) = properties[key] { number } else { 0 }
  }
  func flag(_ key: String) -> Bool { properties[key] == .bool(true) }
  func list(_ key: String) -> [String] {
    if case .strings(let list) = properties[key] { list } else { [] }
  }

  /// The path that answers name it by.
  var node: String { text("RenderNode").isEmpty ? text("PrimaryNode") : text("RenderNode") }
  var number: DeviceNumber {
    let render = number("RenderDevice")
    return DeviceNumber(render != 0 ? render : number("PrimaryDevice"))
  }
  var name: String {
    let model = [text("Vendor"), text("Model")].filter { !$0.isEmpty }.joined(separator: " ")
    return model.isEmpty ? text("Driver") : model
  }

  /// A node's path or its last part, a dev_t, a stable id, or a driver's name.
  func isNamed(_ word: String) -> Bool {
    let nodes = [text("RenderNode"), text("PrimaryNode")].filter { !$0.isEmpty }
    return nodes.contains { $0 == word || $0.hasSuffix("/" + word) }
      || text("StableId") == word || text("Driver") == word
      || UInt64(word).map { [number("RenderDevice"), number("PrimaryDevice")].contains($0) } == true
  }
}

extension BrokerClient {
  func deviceInfos() throws -> [DeviceInfo] { try devices().map(DeviceInfo.init) }

  /// The one device that `word` names.
  func device(named word: String) throws -> DeviceInfo {
    let found = try deviceInfos().filter { $0.isNamed(word) }
    guard found.count < 2 else {
      throw CleanExit.failure("\(word) names \(found.count) devices; say which: \(list(found))")
    }
    guard let device = found.first else {
      let all = try deviceInfos()
      let choices = all.isEmpty ? "there is none" : "there are: \(list(all))"
      throw CleanExit.failure("\(word): no such device; \(choices)")
    }
    return device
  }

  private func list(_ devices: [DeviceInfo]) -> String {
    devices.map { "\($0.node) (\($0.name))" }.joined(separator: ", ")
  }
}

extension JSON {
  init(_ number: UInt64) { self = .number("\(number)") }

  /// Keys sorted, so that two answers can be compared as text.
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

/// "8.0 GiB"; "-" for none.
func bytes(_ count: UInt64) -> String {
  guard count > 0 else { return "-" }
  // In tenths, so that no floating point has to be written out.
  var (tenths, unit) = (count.multipliedReportingOverflow(by: 10).partialValue, 0)
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  while tenths >= 10240, unit < units.count - 1 { (tenths, unit) = (tenths / 1024, unit + 1) }
  return unit == 0 ? "\(count) B" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
}

/// Columns as wide as their widest cell.
func printTable(_ rows: [[String]]) {
  guard let first = rows.first else { return }
  let widths = first.indices.map { column in rows.map { $0[column].count }.max()! }
  for row in rows {
    var line = ""
    for (cell, width) in zip(row, widths) {
      line += cell + String(repeating: " ", count: width - cell.count + 2)
    }
    while line.last == " " { line.removeLast() }
    print(line)
  }
}
