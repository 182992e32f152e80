// The matrix as a picture: a row for each memory of an exporter, a column for each importer.

internal import Placement

extension Machine {
  package var matrixPicture: SVG {
    let (left, top, width, height) = (290, 118, 128, 46)
    let bottom = top + matrix.rows.count * height
    let legendHeight = 30 + 24 * ReachMatrix.Outcome.allCases.count
    let whole = max(left + matrix.devices.count * width + 20, 720)
    var svg = SVG(
      width: whole, height: bottom + legendHeight + 16,
      title: "Which device uses whose buffers where they lie: \(title)")
    svg.write("Who can use whose buffers where they lie", 20, 30, size: 18, bold: true)
    svg.write(title, 20, 52)
    svg.write("used by:", left, 72, size: 12)
    svg.write("buffers of, in memory:", 20, 104, size: 12)
    for (column, slot) in matrix.devices.enumerated() {
      let x = left + column * width + width / 2
      svg.write(label(slot), x, 94, bold: true, .middle)
      svg.write(words(of: slot), x, 111, size: 12, .middle)
    }
    for (index, row) in matrix.rows.enumerated() {
      let y = top + index * height
      if index == 0 || matrix.rows[index - 1].exporter != row.exporter {
        svg.write(label(row.exporter), 20, y + 20, bold: true)
        svg.write(words(of: row.exporter), 20, y + 37, size: 12)
      }
      svg.write(row.memory.word, left - 160, y + 28)
      draw(row, y, left, width, height, in: &svg)
    }
    drawLegend(bottom + 34, in: &svg)
    return svg
  }

  /// Its driver, and whether it is gone, released or asleep.
  private func words(of slot: DeviceSlot) -> String {
    let driver = shortened(driver(slot), 14)
    return standing(slot) == "" ? driver : "\(shortened(driver, 8)), \(standing(slot))"
  }

  private func draw(
    _ row: ReachMatrix.Row, _ y: Int, _ left: Int, _ width: Int, _ height: Int, in svg: inout SVG
  ) {
    for (column, cell) in row.cells.enumerated() {
      let x = left + column * width
      svg.rectangle(
        x + 2, y + 2, width - 4, height - 4, cell.outcome.colour, hover: sentence(row, column))
      svg.write(cell.outcome.word, x + width / 2, y + 20, bold: true, .middle)
      let scanout = cell.abilities.contains(.scanout) ? "scan-out, " : ""
      svg.write(scanout + cell.origin.word, x + width / 2, y + 37, size: 11, .middle)
    }
  }

  private func drawLegend(_ top: Int, in svg: inout SVG) {
    for (i, outcome) in ReachMatrix.Outcome.allCases.enumerated() {
      svg.rectangle(20, top + i * 24, 18, 18, outcome.colour)
      svg.write("\(outcome.word): \(outcome.meaning)", 48, top + i * 24 + 14)
    }
    let notes = [
      "scan-out: its displays can show it, too", "table: the pair table of primed says so",
      "measured here: an import was seen to do it", "own row: /etc/primed/pairs says so",
      "seen: an answer about such a buffer said so", "no row: the table says nothing",
    ]
    for (i, note) in notes.enumerated() { svg.write(note, 390, top + i * 24 + 14) }
  }
}

/// Cut to at most `length` characters.
func shortened(_ text: String, _ length: Int) -> String {
  text.count <= length ? text : text.prefix(length - 1) + "\u{2026}"
}
