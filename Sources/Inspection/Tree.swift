// The devices as a tree: each with its nodes, driver, memory, power and connectors.

package import JSON
internal import Placement

extension Machine {
  /// - Parameter links: also whose buffers each device reaches, and where recent buffers lie.
  package func tree(_ terminal: Terminal, links: Bool = false) -> [String] {
    let devices = shown
    if devices.isEmpty {
      return ["No DRM device. primed shows one as soon as its driver is there."]
    }
    let lines = devices.flatMap { slot in
      [head(slot, terminal)]
        + branches(facts(slot) + (links ? self.links(slot, terminal) : []), terminal)
    }
    let others = recent.filter { $0.exporter == nil }
    guard links, !others.isEmpty else { return lines }
    let title = "  " + terminal.paint("of no device here", .strong)
    return lines + [title] + branches([("buffers", Cell(words(others, terminal)))], terminal)
  }

  // MARK: Links

  private func links(_ slot: DeviceSlot, _ terminal: Terminal) -> [(String, Cell)] {
    var links = [("reaches", Cell(reached(by: slot)))]
    let hanging = rows(for: slot) { $0.outcome == .hangs }
    if !hanging.isEmpty { links.append(("hangs on", Cell(memories(hanging), .worst))) }
    if !recent.isEmpty {
      let own = recent.filter { $0.exporter == slot }
      links.append(("buffers", Cell(own.isEmpty ? "-" : words(own, terminal))))
    }
    return links
  }

  /// Others' memories that it uses in place.
  private func reached(by slot: DeviceSlot) -> String {
    let rows = rows(for: slot) { $0.outcome == .inPlace }
    return rows.isEmpty ? "no other device's buffers" : memories(rows)
  }

  private func rows(
    for importer: DeviceSlot, where holds: (ReachMatrix.Cell) -> Bool
  ) -> [ReachMatrix.Row] {
    guard let column = matrix.devices.firstIndex(of: importer) else { return [] }
    return matrix.rows.filter { holds($0.cells[column]) }
  }

  /// "renderD129 (dedicated, system), card2 (system)"
  private func memories(_ rows: [ReachMatrix.Row]) -> String {
    let exporters = matrix.devices.filter { slot in rows.contains { $0.exporter == slot } }
    return exporters.map { slot in
      let words = rows.filter { $0.exporter == slot }.map(\.memory.word)
      return "\(label(slot)) (\(words.joined(separator: ", ")))"
    }.joined(separator: ", ")
  }

  /// "game in dedicated memory -> renderD128, moves; ..."
  private func words(_ buffers: [RecentBuffer], _ terminal: Terminal) -> String {
    let arrow = terminal.unicode ? "\u{2192}" : "->"
    return buffers.map { buffer in
      let user = buffer.user.map(label) ?? "no device"
      return
        "\(buffer.name) in \(buffer.memory.word) memory \(arrow) \(user), \(buffer.access.word)"
    }.joined(separator: "; ")
  }

  // MARK: A device

  private func head(_ slot: DeviceSlot, _ terminal: Terminal) -> String {
    let entry = table[slot]!
    let star = table.primary == slot ? "* " : "  "
    let state = entry.state == .ready ? "" : "  " + terminal.paint(Cell(word: entry.state.word))
    return star + terminal.paint(label(slot), .strong) + "  \(name(slot))\(state)"
  }

  private func branches(_ facts: [(String, Cell)], _ terminal: Terminal) -> [String] {
    let (middle, end) =
      terminal.unicode ? ("\u{251c}\u{2500} ", "\u{2514}\u{2500} ") : ("|- ", "`- ")
    let width = facts.map(\.0.count).max() ?? 0
    return facts.enumerated().flatMap { i, fact in
      let isLast = i == facts.count - 1
      let before = 2 + 3 + width + 2
      return terminal.fold(fact.1.text, from: before).enumerated().map { line, text in
        let cell = terminal.paint(Cell(text, fact.1.style))
        if line > 0 {
          let bar = isLast ? "   " : terminal.unicode ? "\u{2502}  " : "|  "
          return "  \(bar)\(spaces(width + 2))\(cell)"
        }
        return "  \(terminal.paint(isLast ? end : middle, .faint))"
          + "\(terminal.paint(fact.0, .faint))\(spaces(width - fact.0.count + 2))\(cell)"
      }
    }
  }

  private func facts(_ slot: DeviceSlot) -> [(String, Cell)] {
    let entry = table[slot]!
    let device = entry.description
    let nodes = [device.render?.path, device.primary?.path].compactMap { $0 }
    let memory =
      device.dedicatedMemory > 0
      ? (device.dedicatedMemoryIsEstimate ? ">=" : "") + bytes(device.dedicatedMemory)
        + " of its own"
      : "system memory"
    let connectors = device.connectors.map { connector in
      device.connected.contains(connector) ? "\(connector) (connected)" : connector
    }
    return [
      ("nodes", Cell(nodes.joined(separator: " "))),
      (
        "driver",
        Cell([device.driver, device.driverVersion].filter { !$0.isEmpty }.joined(separator: " "))
      ),
      ("role", Cell(device.role.word)),
      ("memory", Cell(memory)), ("power", Cell(word: device.power.word)),
      ("connectors", Cell(connectors.isEmpty ? "-" : connectors.joined(separator: ", "))),
    ]
  }

  package var topologyJSON: JSON {
    .object([
      ("devices", .array(shown.map(json))),
      ("links", matrixJSON),
      ("buffers", .array(recent.map(json))),
    ])
  }

  private func json(_ slot: DeviceSlot) -> JSON {
    let device = table[slot]!.description
    return .object([
      ("device", .number("\(table.number(of: slot).rawValue)")), ("node", .string(label(slot))),
      ("driver", .string(device.driver)), ("name", .string(name(slot))),
      ("memory", .number("\(device.dedicatedMemory)")), ("power", .string(device.power.word)),
      ("state", .string(table[slot]!.state.word)), ("primary", .bool(table.primary == slot)),
      ("connectors", .array(device.connectors.map { .string($0) })),
      ("connected", .array(device.connected.map { .string($0) })),
    ])
  }

  private func json(_ buffer: RecentBuffer) -> JSON {
    .object([
      ("buffer", .string(buffer.name)),
      ("exporter", buffer.exporter.map { .string(label($0)) } ?? .null),
      ("memory", .string(buffer.memory.word)),
      ("user", buffer.user.map { .string(label($0)) } ?? .null),
      ("access", .string(buffer.access.word)), ("why", .string(buffer.why)),
    ])
  }
}
