// JSON as text, on one line.

extension JSON {
  package var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let text): text
    case .string(let text): quoted(text)
    case .array(let items): "[" + items.map(\.text).joined(separator: ", ") + "]"
    case .object(let members):
      "{" + members.map { "\(quoted($0.key)): \($0.value.text)" }.joined(separator: ", ") + "}"
    }
  }
}

private func quoted(_ text: String) -> String {
  var quoted = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": quoted += "\\\""
    case "\\": quoted += "\\\\"
    case "\n": quoted += "\\n"
    case "\t": quoted += "\\t"
    case "\u{0}"..<" ": quoted += "\\u00" + hex(scalar.value >> 4) + hex(scalar.value & 15)
    default: quoted.unicodeScalars.append(scalar)
    }
  }
  return quoted + "\""
}

private func hex(_ digit: UInt32) -> String { String(digit, radix: 16) }
