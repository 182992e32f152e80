// JSON by json-c, as strict as RFC 8259: returns the whole text, or an error with line and column.
// Numbers stay text, so that no precision is lost before the decoder knows which type it needs;
// objects keep their order and may not have a key twice.

internal import CJSON

package indirect enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  /// As written; a whole number fits in 64 bits.
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

extension JSON {
  /// The limits: a scenario of 64 devices takes 40 KB, one of 100,000 buffers 10 MB.
  package static let sizeLimit = 1 << 24
  package static let depthLimit = 16

  package init(_ text: some Collection<UInt8>) throws(JSONError) {
    let bytes = Array(text)
    guard bytes.count <= JSON.sizeLimit else {
      throw JSONError("more than \(JSON.sizeLimit) bytes", at: bytes.count, of: bytes)
    }
    try refuseWhatJSONCLetsPass(bytes, depthLimit: Self.depthLimit)
    let parsed = try Self.parse(EscapedText(bytes))
    defer { json_object_put(parsed) }
    self.init(parsed)
  }

  /// - Returns: an object that the caller owns and gives to `json_object_put`; nil: null.
  private static func parse(_ text: EscapedText) throws(JSONError) -> OpaquePointer? {
    let bytes = text.bytes
    guard let tokener = json_tokener_new_ex(Int32(depthLimit)) else { fatalError("no memory") }
    defer { json_tokener_free(tokener) }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS)
    // Includes the NUL, which marks the end of the text.
    let parsed = (bytes + [0]).withUnsafeBytes {
      json_tokener_parse_ex(
        tokener, $0.bindMemory(to: CChar.self).baseAddress, Int32(bytes.count) + 1)
    }
    let end = json_tokener_get_parse_end(tokener)
    let error = json_tokener_get_error(tokener)
    guard error == json_tokener_success else {
      throw text.error(problem(error, bytes.dropFirst(end).first), atEscaped: end)
    }
    let rest = bytes.dropFirst(end).drop { " \t\r\n".utf8.contains($0) }
    guard rest.isEmpty else {
      json_object_put(parsed)
      throw text.error("text after the end of the value", atEscaped: rest.startIndex)
    }
    return parsed
  }

  /// - Parameter found: the byte at the error.
  private static func problem(_ error: json_tokener_error, _ found: UInt8?) -> String {
    switch error {
    case json_tokener_continue, json_tokener_error_parse_eof:
      "the text ends where a value should be"
    case json_tokener_error_depth: "nested deeper than \(depthLimit)"
    case json_tokener_error_parse_array: "expected , or ] in an array"
    case json_tokener_error_parse_object_key_name: "expected a key in quotes"
    case json_tokener_error_parse_object_key_sep: "expected : after a key"
    case json_tokener_error_parse_object_value_sep: "expected , or } in an object"
    case json_tokener_error_parse_unexpected where found == UInt8(ascii: "}"):
      "expected a key in quotes"
    case json_tokener_error_parse_unexpected: "no JSON value starts like this"
    default: String(cString: json_tokener_error_desc(error))
    }
  }

  /// Borrows `object`.
  private init(_ object: OpaquePointer?) {
    switch json_object_get_type(object) {
    case json_type_boolean: self = .bool(json_object_get_boolean(object) != 0)
    case json_type_int, json_type_double:
      // A double keeps the text that it was parsed from.
      self = .number(String(cString: json_object_to_json_string(object)))
    case json_type_string:
      let length = Int(json_object_get_string_len(object))
      let bytes = UnsafeBufferPointer(start: json_object_get_string(object), count: length)
      self = .string(String(decoding: bytes.map(UInt8.init(bitPattern:)), as: UTF8.self))
    case json_type_array:
      self = .array(
        (0..<json_object_array_length(object)).map { JSON(json_object_array_get_idx(object, $0)) })
    case json_type_object: self = .object(Self.members(of: object))
    default: self = .null
    }
  }

  private static func members(of object: OpaquePointer?) -> [(key: String, value: JSON)] {
    var members: [(key: String, value: JSON)] = []
    var (at, end) = (json_object_iter_begin(object), json_object_iter_end(object))
    while json_object_iter_equal(&at, &end) == 0 {
      members.append(
        (
          String(cString: json_object_iter_peek_name(&at)),
          JSON(json_object_iter_peek_value(&at))
        ))
      json_object_iter_next(&at)
    }
    return members
  }
}

// MARK: writing

extension JSON {
  /// On one line.
  package var text: String {
    let object = made
    defer { json_object_put(object) }
    return String(
      cString: json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE))
  }

  /// Owned by the caller.
  private var made: OpaquePointer? {
    switch self {
    case .null: return nil
    case .bool(let value): return json_object_new_boolean(value ? 1 : 0)
    case .number(let text): return json_object_new_double_s(0, text)
    case .string(let text): return json_object_new_string_len(text, Int32(text.utf8.count))
    case .array(let items):
      let array = json_object_new_array()
      for item in items { json_object_array_add(array, item.made) }
      return array
    case .object(let members):
      let object = json_object_new_object()
      for (key, value) in members { json_object_object_add(object, key, value.made) }
      return object
    }
  }
}
