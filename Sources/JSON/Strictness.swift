// Rejects what RFC 8259 forbids and json-c 0.16 accepts: duplicate keys, control characters and
// unpaired surrogates in strings, numbers like 1. and 01, NaN, and whole numbers beyond 64 bits,
// which json-c would clamp. Checks single tokens; json-c checks their order.

func refuseWhatJSONCLetsPass(_ text: [UInt8]) throws(JSONError) {
  var tokens = Tokens(text: text)
  try tokens.check()
}

private struct Tokens {
  let text: [UInt8]
  private var at = 0
  /// The keys so far, by nesting level; nil: an array.
  private var keys: [Set<String>?] = []

  init(text: [UInt8]) { self.text = text }

  private var next: UInt8? { at < text.count ? text[at] : nil }

  private func error(_ problem: String, at offset: Int) -> JSONError {
    JSONError(problem, at: offset, of: text)
  }

  mutating func check() throws(JSONError) {
    // json-c reports deeper nesting.
    while let c = next, keys.count <= JSON.depthLimit {
      switch c {
      case UInt8(ascii: "{"): keys.append([])
      case UInt8(ascii: "["): keys.append(nil)
      case UInt8(ascii: "}"), UInt8(ascii: "]"): _ = keys.popLast()
      case UInt8(ascii: "\""):
        try string()
        continue
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
        try number()
        continue
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
        try word()
        continue
      case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0a, 0x0d, 0x09: break
      // json-c reports it.
      default: return
      }
      at += 1
    }
  }

  private mutating func word() throws(JSONError) {
    let start = at
    while let c = next, Unicode.Scalar(c).properties.isAlphabetic { at += 1 }
    let word = String(decoding: text[start..<at], as: UTF8.self)
    guard ["true", "false", "null"].contains(word) else {
      throw error("no JSON value starts like this", at: start)
    }
  }

  // MARK: numbers

  private mutating func number() throws(JSONError) {
    let start = at
    _ = take("-")
    if !take("0") {
      try digits()
    } else if let c = next, isDigit(c) {
      throw error("text after the end of a number", at: at)
    }
    let isWhole =
      next != UInt8(ascii: ".") && next != UInt8(ascii: "e") && next != UInt8(ascii: "E")
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    let number = String(decoding: text[start..<at], as: UTF8.self)
    if isWhole, Int64(number) == nil, UInt64(number) == nil {
      throw error("a whole number of more than 64 bits", at: start)
    }
  }

  private mutating func digits() throws(JSONError) {
    let start = at
    while let c = next, isDigit(c) { at += 1 }
    guard at > start else { throw error("expected a digit", at: at) }
  }

  private func isDigit(_ c: UInt8) -> Bool { c >= UInt8(ascii: "0") && c <= UInt8(ascii: "9") }

  private mutating func take(_ c: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: c) else { return false }
    at += 1
    return true
  }

  // MARK: strings

  private mutating func string() throws(JSONError) {
    let start = at
    at += 1
    while next != UInt8(ascii: "\"") {
      guard let c = next else { throw error("a string that never ends", at: start) }
      guard c >= 0x20 else { throw error("a control character in a string", at: at) }
      at += 1
      if c == UInt8(ascii: "\\") { try escape(from: at - 1, of: start) }
    }
    at += 1
    try noteKey(start)
  }

  private mutating func escape(from start: Int, of string: Int) throws(JSONError) {
    guard let c = next else { throw error("a string that never ends", at: string) }
    at += 1
    guard c == UInt8(ascii: "u") else {
      guard #""\/bfnrt"#.utf8.contains(c) else { throw error("no such escape", at: start) }
      return
    }
    let unit = try fourHexDigits()
    guard (0xd800..<0xe000).contains(unit) else { return }
    guard unit < 0xdc00, take("\\"), take("u"), (0xdc00..<0xe000).contains(try fourHexDigits())
    else { throw error("half a surrogate pair", at: start) }
  }

  private mutating func fourHexDigits() throws(JSONError) -> Int {
    var value = 0
    for _ in 0..<4 {
      guard let c = next, let digit = Character(Unicode.Scalar(c)).hexDigitValue else {
        throw error("expected four hexadecimal digits", at: at)
      }
      value = value << 4 | digit
      at += 1
    }
    return value
  }

  /// A string before a colon is a key of the enclosing object.
  private mutating func noteKey(_ start: Int) throws(JSONError) {
    let rest = text[at...].drop { " \t\r\n".utf8.contains($0) }
    guard rest.first == UInt8(ascii: ":"), keys.last != nil, var known = keys.last! else { return }
    var key = String(decoding: text[start + 1..<at - 1], as: UTF8.self)
    if key.contains("\\"), case .string(let meant) = try JSON(text[start..<at]) { key = meant }
    // json-c would take a NUL for the end of the key.
    guard !key.utf8.contains(0) else { throw error("a NUL in a key", at: start) }
    guard known.insert(key).inserted else { throw error("key \"\(key)\" again", at: start) }
    keys[keys.count - 1] = known
  }
}
