// Where a JSON text is wrong.

package struct JSONError: Error, Equatable, CustomStringConvertible {
  package var line: Int
  /// In bytes, from 1.
  package var column: Int
  package var problem: String
  package var description: String { "line \(line), column \(column): \(problem)" }

  /// - Parameter offset: in bytes, from 0.
  init(_ problem: String, at offset: Int, of text: [UInt8]) {
    let before = text.prefix(offset)
    let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    line = before.count { $0 == UInt8(ascii: "\n") } + 1
    column = before.count - lineStart + 1
    self.problem = problem
  }
}
