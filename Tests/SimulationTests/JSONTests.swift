// RFC 8259, and no more.

import JSON
import Simulation
import Testing

private func parse(_ text: String) throws(JSONError) -> JSON { try JSON(Array(text.utf8)) }

@Suite struct JSONTests {
  @Test func valuesOfEveryKind() throws {
    #expect(
      try parse(#" { "a" : [ 1 , -0.5e+3 , true , false , null , "x" ] , "b" : { } , "c" : [ ] } "#)
        == .object([
          (
            "a",
            .array([
              .number("1"), .number("-0.5e+3"), .bool(true), .bool(false), .null, .string("x"),
            ])
          ),
          ("b", .object([])), ("c", .array([])),
        ]))
  }

  @Test(arguments: [
    (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
    (#""\u0041\u00e9\ud83d\ude00""#, "Aé😀"),
    (#""é😀""#, "é😀"),
    (#""""#, ""),
  ])
  func strings(_ text: String, _ meaning: String) throws {
    #expect(try parse(text) == .string(meaning))
  }

  @Test(arguments: [
    ("", 1, 1, "ends where a value"),
    ("[1,\n  2,,]", 2, 5, "no JSON value"),
    ("[1 2]", 1, 4, "expected , or ]"),
    ("[1,]", 1, 4, "no JSON value"),
    (#"{"a":1,}"#, 1, 8, "key in quotes"),
    (#"{"a" 1}"#, 1, 6, "expected :"),
    (#"{"a":1 "b":2}"#, 1, 8, "expected , or }"),
    ("{\"a\":1,\n\"a\":2}", 2, 1, "key \"a\" again"),
    ("{} {}", 1, 4, "text after the end"),
    (#"["é😀", 1 2]"#, 1, 14, "expected , or ]"),
    ("\n\"é\" é", 2, 6, "text after the end"),
    ("é", 1, 1, "no JSON value"),
    ("01", 1, 2, "text after the end"),
    ("+1", 1, 1, "no JSON value"),
    ("1.", 1, 3, "expected a digit"),
    ("1e", 1, 3, "expected a digit"),
    ("-", 1, 2, "expected a digit"),
    ("nul", 1, 1, "no JSON value"),
    ("NaN", 1, 1, "no JSON value"),
    (#""abc"#, 1, 1, "never ends"),
    ("\"a\nb\"", 1, 3, "control character"),
    (#""\x""#, 1, 2, "no such escape"),
    (#""\u12g4""#, 1, 6, "four hexadecimal"),
    (#""\ud83d""#, 1, 2, "half a surrogate"),
    (#""\ude00""#, 1, 2, "half a surrogate"),
    (#""\ud83dA""#, 1, 2, "half a surrogate"),
    ("[" + String(repeating: "[", count: JSON.depthLimit), 1, JSON.depthLimit + 1, "nested deeper"),
    ("// no\n1", 1, 1, "no JSON value"),
  ])
  func errorsNameTheirPlace(_ text: String, _ line: Int, _ column: Int, _ problem: String) {
    let error = #expect(throws: JSONError.self) { try parse(text) }
    #expect(error?.line == line)
    #expect(error?.column == column)
    #expect(error?.problem.contains(problem) == true, "\(error?.problem ?? "")")
  }

  @Test func brokenUTF8() {
    let error = #expect(throws: JSONError.self) { try JSON([0x22, 0xc3, 0x28, 0x22]) }
    #expect(error?.problem == "not UTF-8")
  }

  @Test func depthAndSizeAreBounded() throws {
    let deep =
      String(repeating: "[", count: JSON.depthLimit)
      + String(repeating: "]", count: JSON.depthLimit)
    _ = try parse(deep)
    #expect(throws: JSONError.self) { try parse("[\(deep)]") }
    let blank = [UInt8](repeating: 0x20, count: JSON.sizeLimit)
    #expect(throws: JSONError.self) { try JSON(blank + [0x31]) }
    #expect(try JSON(blank.dropLast() + [0x31]) == .number("1"))
  }
}
