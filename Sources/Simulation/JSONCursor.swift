// A place in a JSON text, read as the type that the format expects. Errors name the place by its
// path: `$.devices[1].power: "sleepy" is none of active, suspended`.

package import JSON
internal import Placement

/// Why a text is not a scenario.
package enum ScenarioError: Error, Equatable, CustomStringConvertible {
  case syntax(JSONError)
  case content(path: String, problem: String)

  package var description: String {
    switch self {
    case .syntax(let error): error.description
    case .content(let path, let problem): "\(path): \(problem)"
    }
  }
}

struct JSONCursor {
  var value: JSON
  var path: String

  func wrong(_ problem: String) -> ScenarioError { .content(path: path, problem: problem) }

  func object(
    required: [String] = [], optional: [String] = []
  ) throws(ScenarioError) -> JSONMembers {
    guard case .object(let members) = value else { throw wrong("is \(value.kind), not an object") }
    let known = required + optional
    for (key, _) in members where !known.contains(key) {
      throw wrong("unknown key \"\(key)\"; known are \(known.joined(separator: ", "))")
    }
    for key in required where !members.contains(where: { $0.key == key }) {
      throw wrong("lacks \"\(key)\"")
    }
    return JSONMembers(cursor: self, members: members)
  }

  func array() throws(ScenarioError) -> [JSONCursor] {
    guard case .array(let items) = value else { throw wrong("is \(value.kind), not an array") }
    return items.enumerated().map { JSONCursor(value: $1, path: "\(path)[\($0)]") }
  }

  func string() throws(ScenarioError) -> String {
    guard case .string(let text) = value else { throw wrong("is \(value.kind), not a string") }
    return text
  }

  func bool() throws(ScenarioError) -> Bool {
    guard case .bool(let bool) = value else { throw wrong("is \(value.kind), not true or false") }
    return bool
  }

  func whole(_ range: ClosedRange<UInt64>) throws(ScenarioError) -> UInt64 {
    guard case .number(let text) = value else { throw wrong("is \(value.kind), not a number") }
    guard let number = UInt64(text), range.contains(number) else {
      throw wrong("\(text) is not a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// One of the words of a table.
  func word<T>(_ table: KeyValuePairs<String, T>) throws(ScenarioError) -> T {
    let text = try string()
    guard let entry = table.first(where: { $0.key == text }) else {
      throw wrong("\"\(text)\" is none of \(table.map(\.key).joined(separator: ", "))")
    }
    return entry.value
  }

  /// The id of a device or a buffer.
  func identifier() throws(ScenarioError) -> String {
    let text = try string()
    let allowed = text.utf8.allSatisfy { c in
      switch c {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
        true
      default: false
      }
    }
    guard allowed, (1...64).contains(text.utf8.count) else {
      throw wrong("an id is 1 to 64 of a-z, A-Z, 0-9, - and _")
    }
    return text
  }

  /// Index of a declared id.
  func reference(_ ids: [String: Int], _ what: String) throws(ScenarioError) -> Int {
    let id = try string()
    guard let index = ids[id] else { throw wrong("no \(what) has the id \"\(id)\"") }
    return index
  }

  /// `"5s"`, `"250ms"`, `"2min"`.
  func duration() throws(ScenarioError) -> Milliseconds {
    let text = try string()
    let units: KeyValuePairs<String, UInt64> = ["ms": 1, "min": 60_000, "s": 1000, "h": 3_600_000]
    for (unit, milliseconds) in units where text.hasSuffix(unit) {
      guard let count = UInt64(text.dropLast(unit.count)), (1...1_000_000).contains(count) else {
        break
      }
      return count * milliseconds
    }
    throw wrong("\"\(text)\" is no duration like 250ms, 5s, 2min or 1h")
  }

  /// Four characters, as in drm_fourcc.h.
  func fourcc() throws(ScenarioError) -> UInt32 {
    let text = try string()
    guard text.utf8.count == 4, text.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) else {
      throw wrong("\"\(text)\" is not the four characters of a DRM format")
    }
    return text.utf8.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// `"0x…"`: JSON numbers are not exact at 64 bits everywhere.
  func modifier() throws(ScenarioError) -> UInt64 {
    let text = try string()
    guard text.hasPrefix("0x"), let number = UInt64(text.dropFirst(2), radix: 16) else {
      throw wrong("\"\(text)\" is not a modifier like 0x0200000000000001")
    }
    return number
  }
}

extension JSONCursor {
  /// nil: null.
  func orNull() -> JSONCursor? { value == .null ? nil : self }

  /// Linux allows pids up to 2^22.
  func pid() throws(ScenarioError) -> UInt32 { UInt32(try whole(1...(1 << 22))) }
}

extension Scenario {
  /// A buffer can only be in dedicated memory if its exporter has some.
  func checkDedicated(of exporter: Int?, at cursor: JSONCursor) throws(ScenarioError) {
    guard let exporter else { throw cursor.wrong("a buffer of no device is in system memory") }
    guard devices[exporter].dedicated > 0 else {
      throw cursor.wrong("\"\(devices[exporter].id)\" has no dedicated memory")
    }
  }
}

/// The members of an object; its keys were checked.
struct JSONMembers {
  var cursor: JSONCursor
  var members: [(key: String, value: JSON)]

  /// nil: absent. `null` counts as present.
  subscript(key: String) -> JSONCursor? {
    members.first { $0.key == key }.map {
      JSONCursor(value: $0.value, path: "\(cursor.path).\(key)")
    }
  }

  func string(_ key: String) throws(ScenarioError) -> String { try self[key]!.string() }
}

extension JSON {
  var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let text): text
    case .string(let text): "\"\(text)\""
    case .array: "an array"
    case .object: "an object"
    }
  }
}
