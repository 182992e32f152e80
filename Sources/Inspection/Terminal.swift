// Text for a terminal or a pipe: colour, Unicode and folding only where the output is a terminal.

package enum Style: Sendable {
  case strong, faint, good, fine, doubtful, bad, worst

  /// The parameters of SGR (ECMA-48).
  fileprivate var code: String {
    switch self {
    case .strong: "1"
    case .faint: "2"
    case .good: "32"
    case .fine: "36"
    case .doubtful: "33"
    case .bad: "31"
    case .worst: "1;31"
    }
  }

  /// The style of a word of the contract.
  package init?(of word: String) {
    switch word {
    case "native", "own", "ok": self = .good
    case "in-place", "in place": self = .fine
    case "unknown", "may-move", "may move", "warning": self = .doubtful
    case "moves", "fails", "unreachable", "released", "unresponsive", "problem": self = .bad
    case "hangs": self = .worst
    case "suspended", "asleep", "gone", "-": self = .faint
    default: return nil
    }
  }
}

/// Text in one style.
package struct Cell: Sendable, Equatable, ExpressibleByStringInterpolation {
  package var text: String
  package var style: Style?
  package init(_ text: String, _ style: Style? = nil) { (self.text, self.style) = (text, style) }
  package init(stringLiteral text: String) { self.init(text) }
  /// In the style that the word always has.
  package init(word: String) { self.init(word, Style(of: word)) }
}

package struct Terminal: Sendable {
  package var colour: Bool
  package var unicode: Bool
  /// The terminal's columns; nil: lines are not folded.
  package var width: Int?

  package init(colour: Bool = false, unicode: Bool = false, width: Int? = nil) {
    (self.colour, self.unicode, self.width) = (colour, unicode, width)
  }

  /// Reads the environment: NO_COLOR (no-color.org), TERM, and the locale's character set.
  /// - Parameter columns: the terminal's; nil: the output is not a terminal.
  package init(columns: Int?, _ environment: (String) -> String?) {
    let term = environment("TERM") ?? ""
    let isAble = columns != nil && term != "dumb" && term != ""
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].compactMap(environment).first { $0 != "" } ?? ""
    let utf8 = locale.lowercased()
    colour = isAble && environment("NO_COLOR") ?? "" == ""
    unicode = isAble && (utf8.hasSuffix("utf-8") || utf8.hasSuffix("utf8"))
    // A terminal that does not know its size reports 0.
    width = columns.map { $0 < 20 ? 80 : $0 }
  }

  package func paint(_ cell: Cell) -> String {
    guard colour, let style = cell.style, cell.text != "" else { return cell.text }
    return "\u{1b}[\(style.code)m\(cell.text)\u{1b}[0m"
  }
  package func paint(_ text: String, _ style: Style) -> String { paint(Cell(text, style)) }

  // MARK: Tables

  /// Columns as wide as their widest cell; the last column is folded at the terminal's edge.
  package func table(_ rows: [[Cell]], indent: Int = 0) -> [String] {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      rows.map { $0.indices.contains(column) ? $0[column].text.count : 0 }.max()!
    }
    let last = indent + widths.dropLast().reduce(0) { $0 + $1 + 2 }
    return rows.flatMap { row -> [String] in
      let before = zip(row.dropLast(row.count == columns ? 1 : 0), widths).map { cell, width in
        paint(cell) + spaces(width - cell.text.count + 2)
      }
      let start = spaces(indent) + before.joined()
      guard row.count == columns, let cell = row.last else { return [trimmed(start)] }
      let folded = fold(cell.text, from: last)
      return folded.enumerated().map { i, text in
        trimmed((i == 0 ? start : spaces(last)) + paint(Cell(text, cell.style)))
      }
    }
  }

  /// Folds between words so that each part fits the terminal if it begins at this column. If too
  /// few columns are left, nothing is folded.
  package func fold(_ text: String, from column: Int = 0) -> [String] {
    guard let width, width - column >= 24, text.count > width - column else { return [text] }
    var lines = [""]
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      let longer = lines.last! == "" ? String(word) : lines.last! + " " + word
      if longer.count <= width - column || lines.last! == "" {
        lines[lines.count - 1] = longer
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }

  private func trimmed(_ line: String) -> String {
    var line = line
    while line.last == " " { line.removeLast() }
    return line
  }
}

package func spaces(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
