// The matrix of which device can use whose buffers, as text, picture and JSON, with the same words.

package import JSON
package import Placement

extension ReachMatrix.Outcome {
  package var word: String {
    switch self {
    case .own: "own"
    case .inPlace: "in place"
    case .unknown: "unknown"
    case .mayMove: "may move"
    case .moves: "moves"
    case .fails: "fails"
    case .hangs: "hangs"
    }
  }
  /// For narrow terminals.
  fileprivate var letter: String {
    switch self {
    case .own: "O"
    case .inPlace: "="
    case .unknown: "?"
    case .mayMove: "~"
    case .moves: "M"
    case .fails: "x"
    case .hangs: "H"
    }
  }
  var meaning: String {
    switch self {
    case .own: "exported it"
    case .inPlace: "uses it where it lies"
    case .unknown: "nobody knows without trying"
    case .mayMove: "an import could move it"
    case .moves: "an import would move it"
    case .fails: "can't use it"
    case .hangs: "use would hang the device: never named"
    }
  }
  package var colour: SVG.Colour {
    switch self {
    case .own: .green
    case .inPlace: .sky
    case .unknown: .grey
    case .mayMove: .yellow
    case .moves: .orange
    case .fails: .purple
    case .hangs: .vermillion
    }
  }
}

extension ReachMatrix.Origin {
  package var word: String {
    switch self {
    case .itself: "its own"
    case .row(.own): "own row"
    case .row(.measured): "measured here"
    case .row(.table): "table"
    case .seen: "seen"
    case .none: "no row"
    }
  }
  /// Shown beside an outcome in the terminal; outcomes of the table have none.
  fileprivate var mark: String {
    switch self {
    case .row(.own): "!"
    case .row(.measured): "*"
    case .seen: "+"
    case .itself, .row(.table), .none: ""
    }
  }
}

extension Machine {
  /// "amdgpu (/dev/dri/renderD129), dedicated memory -> i915 (...): moves, by the table: why".
  func sentence(_ row: ReachMatrix.Row, _ column: Int) -> String {
    let (cell, importer) = (row.cells[column], matrix.devices[column])
    let can = names(cell.abilities)
    return "\(table.title(of: importer)) and buffers of \(table.title(of: row.exporter)) in "
      + "\(row.memory.word) memory: \(cell.outcome.word)\(can.isEmpty ? "" : " (\(can))"); "
      + "\(cell.origin.word): \(cell.why)"
  }

  private func names(_ usage: Usage) -> String {
    Usage.words.filter { usage.contains($0.value) }.map { "\($0.key)" }.joined(separator: ", ")
  }

  // MARK: Text

  package func matrixText(_ terminal: Terminal, why: Bool = false) -> [String] {
    guard !matrix.devices.isEmpty else { return ["No DRM device, so nothing to use buffers on."] }
    if why {
      return matrix.rows.flatMap { row in
        matrix.devices.indices.flatMap { terminal.fold(sentence(row, $0)) }
      }
    }
    let wide = terminal.table(wideRows)
    let fits = wide.allSatisfy { line in
      terminal.width.map { plain(line).count <= $0 } ?? true
    }
    return (fits ? wide : terminal.table(deviceRows) + [""] + terminal.table(narrowRows))
      + [""] + legend(terminal, letters: !fits)
  }

  private func plain(_ line: String) -> String {
    var (text, isCode) = ("", false)
    for character in line {
      if character == "\u{1b}" { isCode = true }
      if !isCode { text.append(character) }
      if isCode && character == "m" { isCode = false }
    }
    return text
  }

  private var wideRows: [[Cell]] {
    let head = [Cell("BUFFERS OF", .strong), Cell("", nil), Cell("IN MEMORY", .strong)]
    let drivers = matrix.devices.map { Cell(driver($0), .strong) }
    let standings = matrix.devices.map { Cell(word: standing($0)) }
    let isAbsent = standings.contains { $0.text != "" }
    return [head + matrix.devices.map { Cell(label($0), .strong) }, [Cell(""), "", ""] + drivers]
      + (isAbsent ? [[Cell(""), "", ""] + standings] : [])
      + matrix.rows.map { row in
        [Cell(marked(row.exporter)), Cell(driver(row.exporter)), Cell(row.memory.word)]
          + row.cells.map { cell in
            let scanout = cell.abilities.contains(.scanout) ? " S" : ""
            return Cell(
              cell.outcome.word + scanout + cell.origin.mark, Style(of: cell.outcome.word))
          }
      }
  }

  /// "renderD129 (asleep)"
  func marked(_ slot: DeviceSlot) -> String {
    standing(slot) == "" ? label(slot) : "\(label(slot)) (\(standing(slot)))"
  }

  private var deviceRows: [[Cell]] {
    matrix.devices.enumerated().map { i, slot in
      [Cell("\(i + 1)"), Cell(marked(slot)), Cell(driver(slot)), Cell(name(slot))]
    }
  }

  private var narrowRows: [[Cell]] {
    let numbers = matrix.devices.indices.map { Cell("\($0 + 1)", .strong) }
    return [[Cell("OF", .strong), Cell("IN MEMORY", .strong)] + numbers]
      + matrix.rows.map { row in
        [
          Cell("\(matrix.devices.firstIndex(of: row.exporter)! + 1)"), Cell(row.memory.word),
        ]
          + row.cells.map { cell in
            let scanout = cell.abilities.contains(.scanout) ? "S" : ""
            return Cell(
              cell.outcome.letter + scanout + cell.origin.mark, Style(of: cell.outcome.word))
          }
      }
  }

  /// Explains only what occurs.
  private func legend(_ terminal: Terminal, letters: Bool) -> [String] {
    let cells = matrix.rows.flatMap(\.cells)
    let outcomes = ReachMatrix.Outcome.allCases.filter { one in
      cells.contains { $0.outcome == one }
    }
    var rows = outcomes.map {
      [Cell(letters ? $0.letter : $0.word, Style(of: $0.word)), Cell($0.meaning)]
    }
    let marks: [(String, String, (ReachMatrix.Cell) -> Bool)] = [
      ("S", "and its displays can show it", { $0.abilities.contains(.scanout) }),
      ("*", "measured on this machine", { $0.origin == .row(.measured) }),
      ("!", "a row of /etc/primed/pairs says so", { $0.origin == .row(.own) }),
      ("+", "an answer about such a buffer told so", { $0.origin == .seen }),
    ]
    for (mark, meaning, isThere) in marks where cells.contains(where: isThere) {
      rows.append([Cell(mark), Cell(meaning)])
    }
    return terminal.table(rows, indent: 2)
      + terminal.fold("  All else is by the pair table; --why says by which row.")
  }

  // MARK: JSON

  private func state(_ slot: DeviceSlot) -> String {
    standing(slot) == "" ? DeviceState.ready.word : standing(slot)
  }

  package var matrixJSON: JSON {
    .array(
      matrix.rows.flatMap { row in
        matrix.devices.enumerated().map { column, importer in
          let cell = row.cells[column]
          return .object([
            ("exporter", .number("\(table.number(of: row.exporter).rawValue)")),
            ("importer", .number("\(table.number(of: importer).rawValue)")),
            ("exporter-node", .string(label(row.exporter))),
            ("importer-node", .string(label(importer))),
            ("exporter-state", .string(state(row.exporter))),
            ("importer-state", .string(state(importer))),
            ("memory", .string(row.memory.word)), ("outcome", .string(cell.outcome.word)),
            ("scanout", .bool(cell.abilities.contains(.scanout))),
            ("capture", .bool(cell.abilities.contains(.capture))),
            ("by", .string(cell.origin.word)), ("why", .string(cell.why)),
          ])
        }
      })
  }
}
