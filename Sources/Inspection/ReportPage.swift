// A bug report as one HTML page, without scripts and external files, so that it can be read
// anywhere.

internal import Placement

package struct ReportPage {
  package var machine: Machine
  package var findings: [Finding]
  /// primed's properties: name and value.
  package var primed: [(String, String)]
  /// Lines of primed's log.
  package var log: [String]
  package var scenario: String

  package init(
    _ machine: Machine, findings: [Finding], primed: [(String, String)], log: [String],
    scenario: String
  ) {
    (self.machine, self.findings, self.primed) = (machine, findings, primed)
    (self.log, self.scenario) = (log, scenario)
  }

  package var html: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>primed: \(escaped(machine.title))</title>
    <style>\(Self.style)</style>
    </head>
    <body>
    <h1>primed: \(escaped(machine.title))</h1>
    <nav><a href="#findings">Findings</a> <a href="#matrix">Matrix</a> <a href="#topology">Topology</a>
    <a href="#devices">Devices</a> <a href="#answers">Answers</a> <a href="#primed">primed</a>
    <a href="#log">Log</a> <a href="#scenario">Scenario</a></nav>
    \(section("findings", "What is wrong", findingList))
    \(section("matrix", "Who can use whose buffers", picture(machine.matrixPicture) + reasons))
    \(section("topology", "Devices and memories", picture(machine.topologyPicture)))
    \(section("devices", "Devices", devices))
    \(section("answers", "The last answers", answers))
    \(section("primed", "What primed says", table(["", ""], primed.map { [$0.0, $0.1] })))
    \(section("log", "Log", log.isEmpty ? "<p>No line could be read.</p>" : pre(log.joined(separator: "\n"))))
    \(section("scenario", "This machine as a scenario", scenarioText))
    </body>
    </html>

    """
  }

  private static let style = """
    body{font:16px/1.5 "DejaVu Sans",Verdana,sans-serif;color:#1a1a1a;background:#fff;max-width:1200px;\
    margin:0 auto;padding:16px}h1{font-size:1.6em}h2{font-size:1.25em;border-bottom:2px solid #0072b2;\
    margin-top:2em}nav a{margin-right:1em}a{color:#0072b2}table{border-collapse:collapse;font-size:.9em}\
    td,th{border:1px solid #bbb;padding:4px 8px;text-align:left;vertical-align:top}\
    .wide{overflow-x:auto}pre{background:#f4f4f4;padding:12px;overflow-x:auto;font-size:.8em}\
    dt{font-weight:bold}dd{margin:0 0 .8em 1.5em}svg{max-width:none}
    """

  private func section(_ id: String, _ title: String, _ content: String) -> String {
    "<section id=\"\(id)\"><h2>\(escaped(title))</h2>\n\(content)</section>"
  }
  private func picture(_ svg: SVG) -> String { "<div class=\"wide\">\(svg.text)</div>" }
  private func pre(_ text: String) -> String { "<pre>\(escaped(text))</pre>" }

  private func table(_ head: [String], _ rows: [[String]]) -> String {
    let titles =
      head.allSatisfy(\.isEmpty)
      ? "" : "<tr>" + head.map { "<th>\(escaped($0))</th>" }.joined() + "</tr>\n"
    let lines = rows.map { "<tr>" + $0.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>" }
    return "<div class=\"wide\"><table>\(titles)\(lines.joined(separator: "\n"))</table></div>"
  }

  private var findingList: String {
    let wrong = findings.filter { $0.level > .ok }
    if wrong.isEmpty { return "<p>Nothing.</p>" }
    let items = wrong.map { one in
      "<dt>\(one.level.word)</dt><dd>\(escaped(one.what))"
        + (one.mend.isEmpty ? "" : "<br>Mend: \(escaped(one.mend))") + "</dd>"
    }
    return "<dl>\(items.joined(separator: "\n"))</dl>"
  }

  private var reasons: String {
    let lines = machine.matrix.rows.flatMap { row in
      machine.matrix.devices.indices.map { column -> [String] in
        let cell = row.cells[column]
        return [
          machine.label(row.exporter), row.memory.word,
          machine.label(machine.matrix.devices[column]),
          cell.outcome.word, cell.origin.word, cell.why,
        ]
      }
    }
    return "<details><summary>Each pair, with its reason</summary>"
      + table(["of", "memory", "used by", "what", "by", "why"], lines) + "</details>"
  }

  private var devices: String {
    let table = machine.table
    return self.table(
      ["", "node", "driver", "name", "memory", "power", "state", "role", "connected"],
      machine.shown.map { slot in
        let entry = table[slot]!
        let device = entry.description
        return [
          table.primary == slot ? "primary" : "", machine.label(slot),
          [device.driver, device.driverVersion].filter { !$0.isEmpty }.joined(separator: " "),
          machine.name(slot), bytes(device.dedicatedMemory), device.power.word, entry.state.word,
          device.role.word, device.connected.joined(separator: " "),
        ]
      })
  }

  /// The newest first; and what happened to devices in between.
  private var answers: String {
    if machine.told.isEmpty { return "<p>It was asked nothing, or that could not be read.</p>" }
    return table(
      [
        "ago", "buffer", "exporter", "belongs in", "lay in", "asked with", "device", "access",
        "confidence",
      ], machine.told.reversed().map(row))
  }

  private func row(_ told: Told) -> [String] {
    let age = told.age < 10_000 ? "\(told.age) ms" : "\(told.age / 1000) s"
    switch told {
    case .event(let one):
      let device = one.event.device
      let node = device.node.map { label($0.number) } ?? device.driver
      return [age, "", "", "", "", "", node, one.event.kind.rawValue, ""]
    case .answer(let one):
      let answer = one.answer
      let planes = (0..<answer.planes.count).map { "b\(answer.planes[$0].inode)" }
      return [
        age, planes.joined(separator: " "), words(answer.exporter), answer.home.word,
        answer.residency.word, hints(answer), label(answer.device), answer.access.word,
        answer.confidence.word,
      ]
    }
  }

  private func words(_ exporter: KnownExporter) -> String {
    switch exporter {
    case .device(let number): label(number)
    case .noDevice: "no device"
    case .possibly(.none): "unknown"
    case .possibly(let number): "unknown, may be \(label(number))"
    }
  }

  private func hints(_ answer: RecentAnswer) -> String {
    var words = [
      ("sampling", answer.samplingDevice), ("target", answer.targetDevice),
      ("primary", answer.primaryDevice),
    ].filter { $0.1 != .none }.map { "\($0.0) \(label($0.1))" }
    if let usage = answer.usage {
      words += Usage.words.filter { usage.contains($0.value) }.map { "\($0.key)" }
    }
    if let list = answer.candidates {
      words.append("of " + (0..<list.count).map { label(list[$0]) }.joined(separator: ", "))
    }
    return words.joined(separator: "; ")
  }

  /// Also of a device that has gone.
  private func label(_ number: DeviceNumber) -> String {
    if number == .none { return "none" }
    if let slot = machine.table.slot(of: number) { return machine.label(slot) }
    return number.minor < 128 ? "card\(number.minor)" : "renderD\(number.minor)"
  }

  private var scenarioText: String {
    "<p>Save it as a file; <code>primectl scenario run --verbose FILE</code> plays it.</p>"
      + pre(scenario)
  }
}
