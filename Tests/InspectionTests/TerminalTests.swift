import Testing

@testable import Inspection

struct TerminalTests {
  private func terminal(_ columns: Int?, _ environment: [String: String]) -> Terminal {
    Terminal(columns: columns) { environment[$0] }
  }

  @Test func colourAndUnicodeAreForATerminalAlone() {
    let usual = ["TERM": "xterm", "LANG": "C.UTF-8"]
    #expect(terminal(80, usual).colour)
    #expect(terminal(80, usual).unicode)
    #expect(terminal(nil, usual).colour == false)
    #expect(terminal(nil, usual).unicode == false)
    #expect(terminal(nil, usual).width == nil)
    for (key, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
      #expect(terminal(80, usual.merging([key: value]) { $1 }).colour == false, "\(key)=\(value)")
    }
    // An empty value has no effect: no-color.org.
    #expect(terminal(80, usual.merging(["NO_COLOR": ""]) { $1 }).colour)
    #expect(terminal(80, usual.merging(["TERM": "dumb"]) { $1 }).unicode == false)
    #expect(terminal(80, ["TERM": "xterm", "LANG": "C"]).unicode == false)
    // The first variable that is set decides.
    #expect(terminal(80, usual.merging(["LC_ALL": "C"]) { $1 }).unicode == false)
    #expect(terminal(0, usual).width == 80)
  }

  @Test func columnsAreAlignedWhateverTheirColour() {
    let rows = [[Cell("A", .strong), "B"], [Cell(word: "native"), "x"]]
    #expect(Terminal().table(rows) == ["A       B", "native  x"])
    let painted = Terminal(colour: true).table(rows)
    #expect(painted == ["\u{1b}[1mA\u{1b}[0m       B", "\u{1b}[32mnative\u{1b}[0m  x"])
    #expect(Terminal().table([["a", ""], ["b"]], indent: 2) == ["  a", "  b"])
  }

  @Test func theLastColumnIsFolded() {
    let narrow = Terminal(width: 40)
    let rows: [[Cell]] = [["key", "one two three four five six seven eight nine"]]
    #expect(narrow.table(rows) == ["key  one two three four five six seven", "     eight nine"])
    // Words are not cut, and a column of a few letters is not used.
    #expect(narrow.fold(String(repeating: "x", count: 60)).count == 1)
    #expect(Terminal(width: 20).table(rows).count == 1)
  }
}
