// Non-ASCII characters as \u escapes. In strict mode json-c 0.18 (Debian 13) compares signed bytes
// and rejects every byte beyond ASCII as a control character.

/// JSON text with the same meaning in ASCII.
struct EscapedText {
  private(set) var bytes: [UInt8] = []
  private let text: [UInt8]
  /// For each non-ASCII character, where its escape ends and where the character ends in the text.
  private var ends: [(escaped: Int, original: Int)] = []

  /// - Throws: the text is not UTF-8.
  init(_ text: [UInt8]) throws(JSONError) {
    self.text = text
    bytes.reserveCapacity(text.count + 1)
    var (parser, rest, at) = (Unicode.UTF8.ForwardParser(), text.makeIterator(), 0)
    while true {
      switch parser.parseScalar(from: &rest) {
      case .valid(let encoded):
        at += encoded.count
        if encoded.count == 1 { bytes.append(encoded.first!) } else { escape(encoded, upTo: at) }
      case .error: throw error("not UTF-8", at: at)
      case .emptyInput: return
      }
    }
  }

  private mutating func escape(_ encoded: Unicode.UTF8.EncodedScalar, upTo end: Int) {
    for unit in UTF16.encode(Unicode.UTF8.decode(encoded))! {
      let digits = String(unit, radix: 16)
      bytes += "\\u\(String(repeating: "0", count: 4 - digits.utf8.count))\(digits)".utf8
    }
    ends.append((bytes.count, end))
  }

  /// The error at this offset of `bytes`, placed in the original text.
  func error(_ problem: String, atEscaped offset: Int) -> JSONError {
    let before = ends.last { $0.escaped <= offset } ?? (0, 0)
    return error(problem, at: before.original + offset - before.escaped)
  }

  private func error(_ problem: String, at offset: Int) -> JSONError {
    JSONError(problem, at: min(offset, text.count), of: text)
  }
}
