// JSON as RFC 8259 has it, read strictly and without Foundation: the whole text or an error with
// its line and column. Numbers stay text, so that nothing is lost before the decoder knows what a
// number is for; objects keep their order and may not name a key twice.

package indirect enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  /// As it was written.
  case number(String)
  case string(String)
  case array([JSON])
  case object([(key: String, value: JSON)])

  package static func == (a: JSON, b: JSON) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let x), .bool(let y)): x == y
    case (.number(let x), .number(let y)): x == y
    case (.string(let x), .string(let y)): x == y
    case (.array(let x), .array(let y)): x == y
    case (.object(let x), .object(let y)):
      x.elementsEqual(y) { $0.key == $1.key && $0.value == $1.value }
    default: false
    }
  }
}

package struct JSONError: Error, Equatable, CustomStringConvertible {
  package var line: Int
  /// In bytes, from 1.
  package var column: Int
  package var problem: String
  package var description: String { "line \(line), column \(column): \(problem)" }
}

extension JSON {
  /// Bounds on what is read: a scenario of 64 devices needs 40 KB, one of 100,000 buffers 10 MB.
  package static let sizeLimit = 1 << 24
  package static let depthLimit = 16

  package init(_ text: some Collection<UInt8>) throws(JSONError) {
    var reader = JSONReader(bytes: Array(text))
    self = try reader.document()
  }
}

/// Recursive descent over bytes; one method a production of the grammar.
private struct JSONReader {
  let bytes: [UInt8]
  var at = 0
  var depth = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func document() throws(JSONError) -> JSON {
    guard bytes.count <= JSON.sizeLimit else { throw error("more than \(JSON.sizeLimit) bytes") }
    skipSpace()
    let value = try self.value()
    skipSpace()
    guard at == bytes.count else { throw error("text after the end of the value") }
    return value
  }

  var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  func error(_ problem: String, at position: Int? = nil) -> JSONError {
    let before = bytes.prefix(position ?? at)
    let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    return JSONError(
      line: before.count { $0 == UInt8(ascii: "\n") } + 1, column: before.count - lineStart + 1,
      problem: problem)
  }

  mutating func skipSpace() {
    while let c = next, c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09 { at += 1 }
  }

  mutating func take(_ c: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: c) else { return false }
    at += 1
    return true
  }

  mutating func value() throws(JSONError) -> JSON {
    guard let first = next else { throw error("the text ends where a value should be") }
    switch first {
    case UInt8(ascii: "{"): return try nested { reader throws(JSONError) in try reader.object() }
    case UInt8(ascii: "["): return try nested { reader throws(JSONError) in try reader.array() }
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw error("no JSON value starts like this")
    }
  }

  mutating func nested(
    _ read: (inout JSONReader) throws(JSONError) -> JSON
  ) throws(JSONError) -> JSON {
    guard depth < JSON.depthLimit else { throw error("nested deeper than \(JSON.depthLimit)") }
    depth += 1
    defer { depth -= 1 }
    at += 1
    return try read(&self)
  }

  mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
    let length = word.utf8CodeUnitCount
    let spelled = word.withUTF8Buffer { bytes[at...].prefix(length).elementsEqual($0) }
    guard spelled else { throw error("no JSON value starts like this") }
    at += length
    return value
  }

  mutating func array() throws(JSONError) -> JSON {
    var items: [JSON] = []
    skipSpace()
    if take("]") { return .array(items) }
    while true {
      skipSpace()
      items.append(try value())
      skipSpace()
      if take("]") { return .array(items) }
      guard take(",") else { throw error("expected , or ] in an array") }
    }
  }

  mutating func object() throws(JSONError) -> JSON {
    var members: [(key: String, value: JSON)] = []
    var keys: Set<String> = []
    skipSpace()
    if take("}") { return .object(members) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
      let keyAt = at
      let key = try string()
      guard keys.insert(key).inserted else { throw error("key \"\(key)\" again", at: keyAt) }
      skipSpace()
      guard take(":") else { throw error("expected : after a key") }
      skipSpace()
      members.append((key, try value()))
      skipSpace()
      if take("}") { return .object(members) }
      guard take(",") else { throw error("expected , or } in an object") }
    }
  }

  mutating func number() throws(JSONError) -> JSON {
    let start = at
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    return .number(String(decoding: bytes[start..<at], as: UTF8.self))
  }

  mutating func digits() throws(JSONError) {
    let start = at
    while let c = next, c >= UInt8(ascii: "0"), c <= UInt8(ascii: "9") { at += 1 }
    guard at > start else { throw error("expected a digit") }
  }

  mutating func string() throws(JSONError) -> String {
    let start = at
    at += 1
    var text: [UInt8] = []
    while let c = next {
      switch c {
      case UInt8(ascii: "\""):
        at += 1
        guard let string = String(validating: text, as: UTF8.self) else {
          throw error("not UTF-8", at: start)
        }
        return string
      case UInt8(ascii: "\\"):
        at += 1
        text.append(contentsOf: String(try escape()).utf8)
      case ..<0x20: throw error("a control character in a string")
      default:
        text.append(c)
        at += 1
      }
    }
    throw error("a string that never ends", at: start)
  }

  mutating func escape() throws(JSONError) -> Unicode.Scalar {
    let start = at - 1
    guard let c = next else { throw error("a string that never ends", at: start) }
    at += 1
    switch c {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(c)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return try codePoint(from: start)
    default: throw error("no such escape", at: start)
    }
  }

  /// After `\u`: four digits, or a pair of surrogates.
  mutating func codePoint(from start: Int) throws(JSONError) -> Unicode.Scalar {
    let unit = try fourHexDigits()
    if let scalar = Unicode.Scalar(unit) { return scalar }
    guard unit < 0xdc00, take("\\"), take("u") else {
      throw error("half a surrogate pair", at: start)
    }
    let low = try fourHexDigits()
    guard (0xdc00..<0xe000).contains(low),
      let scalar = Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
    else { throw error("half a surrogate pair", at: start) }
    return scalar
  }

  mutating func fourHexDigits() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let c = next, let digit = Character(Unicode.Scalar(c)).hexDigitValue else {
        throw error("expected four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      at += 1
    }
    return value
  }
}
