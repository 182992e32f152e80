// Rejects what RFC 8259 forbids and json-c 0.16 accepts: duplicate keys, control characters and
// unpaired surrogates in strings, numbers like 1. and 01, NaN, and whole numbers beyond 64 bits,
// which json-c would clamp. Checks single tokens; json-c checks their order.

/// Leaves text beyond this depth to json-c, which reports it.
func refuseWhatJSONCLetsPass(_ text: [UInt8], depthLimit: Int) throws(JSONError) {
  var tokens = Tokens(text: text)
  try tokens.check(depthLimit)
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

  mutating func check(_ depthLimit: Int) throws(JSONError) {
    while let c = next, keys.count <= depthLimit {
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
    var value: [UInt8] = []
    at += 1
    while next != UInt8(ascii: "\"") {
      guard let c = next else { throw error("a string that never ends", at: start) }
      guard c >= 0x20 else { throw error("a control character in a string", at: at) }
      at += 1
      if c == UInt8(ascii: "\\") {
        value += Unicode.UTF8.encode(try escape(from: at - 1, of: start))!
      } else {
        value.append(c)
      }
    }
    at += 1
    try noteKey(String(decoding: value, as: UTF8.self), start)
  }

  /// Returns what the escape stands for.
  private mutating func escape(
    from start: Int, of string: Int
  ) throws(JSONError) -> Unicode.Scalar {
    guard let c = next else { throw error("a string that never ends", at: string) }
    at += 1
    if c == UInt8(ascii: "u") { return try scalar(from: start) }
    guard let meant = Self.escapes[c] else { throw error("no such escape", at: start) }
    return meant
  }

  private static let escapes: [UInt8: Unicode.Scalar] = [
    UInt8(ascii: "\""): "\"", UInt8(ascii: "\\"): "\\", UInt8(ascii: "/"): "/",
    UInt8(ascii: "b"): "\u{8}", UInt8(ascii: "f"): "\u{c}", UInt8(ascii: "n"): "\n",
    UInt8(ascii: "r"): "\r", UInt8(ascii: "t"): "\t",
  ]

  /// One UTF-16 unit, or two: the second is an escape, too.
  private mutating func scalar(from start: Int) throws(JSONError) -> Unicode.Scalar {
    let unit = try fourHexDigits()
    if let scalar = Unicode.Scalar(unit) { return scalar }
    guard unit < 0xdc00, take("\\"), take("u"),
      case let low = try fourHexDigits(), (0xdc00..<0xe000).contains(low)
    else { throw error("half a surrogate pair", at: start) }
    return Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))!
  }

  private mutating func fourHexDigits() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let c = next, let digit = Character(Unicode.Scalar(c)).hexDigitValue else {
        throw error("expected four hexadecimal digits", at: at)
      }
      value = value << 4 | UInt32(digit)
      at += 1
    }
    return value
  }

  /// A string before a colon is a key of the enclosing object.
  private mutating func noteKey(_ key: String, _ start: Int) throws(JSONError) {
    let rest = text[at...].drop { " \t\r\n".utf8.contains($0) }
    guard rest.first == UInt8(ascii: ":"), keys.last != nil, var known = keys.last! else { return }
    // json-c would take a NUL for the end of the key.
    guard !key.utf8.contains(0) else { throw error("a NUL in a key", at: start) }
    guard known.insert(key).inserted else { throw error("key \"\(key)\" again", at: start) }
    keys[keys.count - 1] = known
  }
}
