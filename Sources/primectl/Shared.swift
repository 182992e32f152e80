// What the subcommands have in common: the bus to ask, words for values, JSON.

import ArgumentParser
import Bus
import Foundation
import Linux
import Placement

struct BusOptions: ParsableArguments {
  @Option(help: "The bus: system, session, or a D-Bus address.")
  var bus = "system"

  @Flag(help: "Print JSON, for programs.")
  var json = false

  func connect() throws -> BrokerClient {
    guard let choice = BusChoice(bus) else {
      throw ValidationError("--bus \(bus): give system, session or a D-Bus address")
    }
    do { return try BrokerClient(choice) } catch {
      throw CleanExit.failure("can't reach the bus \(bus): \(error)")
    }
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
      let choices = found.map(\.node).joined(separator: ", ")
      throw ValidationError("\(word) names \(found.count) devices; say which: \(choices)")
    }
    guard let device = found.first else {
      throw ValidationError("\(word): no such device; see `primectl devices`")
    }
    return device
  }
}

/// Prints anything made of dictionaries, arrays, strings, numbers and booleans.
func printJSON(_ value: Any) throws {
  let data = try JSONSerialization.data(
    withJSONObject: value, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  print(String(decoding: data, as: UTF8.self))
}

extension BusValue {
  var json: Any {
    switch self {
    case .string(let text): text
    case .strings(let list): list
    case .number(let number): NSNumber(value: number)
    case .bool(let flag): NSNumber(value: flag)
    case .lines(let lines):
      lines.map { line -> [String: Any] in
        [
          "device": NSNumber(value: line.device.rawValue), "access": line.access.word,
          "why": line.why,
        ]
      }
    case .counters(let counters):
      Dictionary(uniqueKeysWithValues: counters.map { ($0.name, NSNumber(value: $0.value)) })
    }
  }
}

/// "8.0 GiB"; "-" for none.
func bytes(_ count: UInt64) -> String {
  guard count > 0 else { return "-" }
  var (value, unit) = (Double(count), 0)
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
  return String(format: unit == 0 ? "%.0f %@" : "%.1f %@", value, units[unit])
}

/// Columns as wide as their widest cell.
func printTable(_ rows: [[String]]) {
  guard let first = rows.first else { return }
  let widths = first.indices.map { column in rows.map { $0[column].count }.max()! }
  for row in rows {
    let cells = zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
    print(String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed()))
  }
}
