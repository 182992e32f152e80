// What the naive order moved and what moved with primed, step by step: as text, plot and JSON.

package import JSON

package struct Story: Sendable {
  package struct Step: Sendable, Equatable {
    package var name: String
    /// Bytes that an import moved out of video memory, or keeps from returning there.
    package var naive: UInt64
    package var primed: UInt64
    package init(_ name: String, naive: UInt64, primed: UInt64) {
      (self.name, self.naive, self.primed) = (name, naive, primed)
    }
  }
  package var steps: [Step] = []
  package init() {}

  package var naive: UInt64 { steps.reduce(0) { $0 + $1.naive } }
  package var primed: UInt64 { steps.reduce(0) { $0 + $1.primed } }

  private static let title = "Moved out of video memory, or kept out of it"
  private func words(_ count: UInt64) -> String { count == 0 ? "nothing" : bytes(count) }

  // MARK: Text

  package func bars(_ terminal: Terminal) -> [String] {
    let width = min(terminal.width ?? 80, 80) - 24
    let most = max(naive, primed, 1)
    let rows: [(String, UInt64, Style)] = [("naive", naive, .bad), ("primed", primed, .good)]
    return [terminal.paint(Self.title, .strong)]
      + rows.map { name, count, style in
        let length = Int(count * UInt64(width) / most)
        let bar = String(repeating: terminal.unicode ? "\u{2588}" : "#", count: length)
        let before = "  \(name)\(spaces(8 - name.count))"
        return before + (bar.isEmpty ? "" : terminal.paint(bar, style) + " ") + words(count)
      }
  }

  // MARK: Picture

  package var picture: SVG {
    let (left, top, row, width) = (300, 90, 58, 480)
    let height = top + steps.count * row
    var svg = SVG(width: left + width + 160, height: height + 70, title: Self.title)
    svg.write(Self.title, 20, 30, size: 18, bold: true)
    svg.write(
      "by a compositor that tries its own device first, and by one that asks primed", 20, 52)
    let most = max(steps.map { max($0.naive, $0.primed) }.max() ?? 0, 1)
    for (i, step) in steps.enumerated() {
      let y = top + i * row
      svg.write(step.name, left - 12, y + 25, .end)
      for (offset, name, count, colour) in [
        (2, "naive", step.naive, SVG.Colour.vermillion), (23, "primed", step.primed, .green),
      ] {
        let length = Int(count * UInt64(width) / most)
        svg.rectangle(
          left, y + offset, max(length, 2), 18, colour,
          hover: "\(step.name), \(name): \(words(count))")
        svg.write("\(name): \(words(count))", left + max(length, 2) + 8, y + offset + 14, size: 12)
      }
    }
    svg.write(
      "In all: naive \(words(naive)), primed \(words(primed))", left, height + 30, bold: true)
    return svg
  }

  // MARK: JSON

  package var json: JSON {
    func number(_ count: UInt64) -> JSON { .number("\(count)") }
    return .object([
      (
        "steps",
        .array(
          steps.map {
            .object([
              ("step", .string($0.name)), ("naive", number($0.naive)),
              ("primed", number($0.primed)),
            ])
          })
      ), ("naive", number(naive)), ("primed", number(primed)),
    ])
  }
}
