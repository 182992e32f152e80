// The machine as a picture: memories with their buffers on the left, devices, connectors on the
// right, and lines between memories and the devices that reach them.

internal import Placement

/// A device, and where it is drawn.
private struct Place {
  var slot: DeviceSlot
  var y: Int
  var height: Int
  var buffers: [RecentBuffer]
  var middle: Int { y + height / 2 }
  /// Its own memory is drawn below the line to system memory.
  var memoryTop: Int { y + 30 }
}

extension Machine {
  /// The x position of each column.
  private static let columns = (system: 20, own: 290, device: 640, connector: 950)
  private static let box = 210
  /// With more devices than these, links that are known to move buffers are left out, to keep it
  /// readable.
  private static let fewDevices = 5

  package var topologyPicture: SVG {
    let places = self.places
    let unknown = inUnknownMemory
    let unknownHeight = unknown.isEmpty ? 0 : Self.boxHeight(unknown.count) + 24
    let bottom = max(
      places.last.map { $0.y + $0.height } ?? 120,
      76 + Self.boxHeight(inSystemMemory.count) + 24 + unknownHeight)
    var svg = SVG(width: 1150, height: bottom + 200, title: "Devices and memories: \(title)")
    svg.write("Devices, memories and links", 20, 30, size: 18, bold: true)
    svg.write(title, 20, 52)
    drawMemory("System memory", inSystemMemory, from: 76, to: bottom - unknownHeight, in: &svg)
    if !unknown.isEmpty {
      let top = bottom - unknownHeight + 24
      drawMemory("Exporter gone or unknown", unknown, from: top, to: bottom, in: &svg)
    }
    for place in places { drawLinks(place, places, in: &svg) }
    for place in places {
      drawMemory(place, in: &svg)
      drawDevice(place, in: &svg)
      drawConnectors(place, in: &svg)
    }
    drawTopologyLegend(bottom + 30, in: &svg)
    let hidden = places.count > Self.fewDevices ? movingLinks : 0
    if hidden > 0 {
      svg.write(
        "\(counted(hidden, "link")) that would or could move buffers \(hidden == 1 ? "is" : "are") "
          + "left out, for there are many devices: primectl matrix shows them", 20, 70, size: 12)
    }
    return svg
  }

  private var inSystemMemory: [RecentBuffer] { recent.filter { $0.memory == .system } }
  /// In the memory of a device that is not there, or in a memory that is not known.
  private var inUnknownMemory: [RecentBuffer] {
    recent.filter { buffer in
      buffer.memory == .unknown
        || buffer.memory == .dedicated && !(buffer.exporter.map(shown.contains) ?? false)
    }
  }

  private var movingLinks: Int {
    let rows = matrix.rows.filter { $0.memory == .dedicated }
    return rows.flatMap(\.cells).count { [.moves, .mayMove].contains($0.outcome) }
  }

  private var places: [Place] {
    var y = 76
    return shown.map { slot in
      let own = recent.filter { $0.memory == .dedicated && $0.exporter == slot }
      let connectors = table[slot]!.description.connectors.count
      let height = max(96, 24 * connectors + 12, 30 + 34 + 24 * own.count + 8)
      defer { y += height + 24 }
      return Place(slot: slot, y: y, height: height, buffers: own)
    }
  }

  private func hasOwnMemory(_ slot: DeviceSlot) -> Bool {
    table.memories(of: slot).contains(.dedicated)
  }

  // MARK: Memories

  /// That this number of buffers takes.
  private static func boxHeight(_ buffers: Int) -> Int { 34 + 24 * buffers + 8 }

  /// A memory of no device in particular.
  private func drawMemory(
    _ title: String, _ buffers: [RecentBuffer], from top: Int, to bottom: Int, in svg: inout SVG
  ) {
    svg.rectangle(Self.columns.system, top, Self.box, bottom - top, .pale, stroke: .line)
    svg.write(title, Self.columns.system + 12, top + 22, bold: true)
    draw(buffers, Self.columns.system + 8, top + 34, in: &svg)
  }

  private func drawMemory(_ place: Place, in svg: inout SVG) {
    guard hasOwnMemory(place.slot) else { return }
    let size = table[place.slot]!.description.dedicatedMemory
    svg.rectangle(
      Self.columns.own, place.memoryTop, Self.box, place.height - 30, .pale, stroke: .line)
    svg.write(
      "\(label(place.slot)): \(size > 0 ? bytes(size) : "its own")", Self.columns.own + 12,
      place.memoryTop + 20, bold: true)
    draw(place.buffers, Self.columns.own + 8, place.memoryTop + 30, in: &svg)
  }

  private func draw(_ buffers: [RecentBuffer], _ x: Int, _ y: Int, in svg: inout SVG) {
    for (i, buffer) in buffers.enumerated() {
      let user = buffer.user.map(label) ?? "no device"
      svg.rectangle(
        x, y + 24 * i, Self.box - 16, 20, colour(of: buffer),
        hover:
          "buffer \(buffer.name) of \(exporter(of: buffer)), in \(buffer.memory.word) memory"
          + ", used on \(user): \(buffer.access.word). \(buffer.why)")
      svg.write(
        "\(shortened(buffer.name, 13)) \u{2192} \(user)", x + 6, y + 24 * i + 14, size: 12)
    }
  }

  private func exporter(of buffer: RecentBuffer) -> String {
    if let slot = buffer.exporter { return table.title(of: slot) }
    return buffer.exporterIsUnknown ? "a device that is gone or not known" : "no device"
  }

  private func colour(of buffer: RecentBuffer) -> SVG.Colour {
    // Also where primed did not know, when it answered, that the device is the exporter.
    if buffer.stays, buffer.exporter != nil, buffer.exporter == buffer.user {
      return ReachMatrix.Outcome.own.colour
    }
    return switch buffer.access {
    case .native: ReachMatrix.Outcome.own.colour
    case .inPlace: ReachMatrix.Outcome.inPlace.colour
    case .unknown: ReachMatrix.Outcome.unknown.colour
    case .mayMove: ReachMatrix.Outcome.mayMove.colour
    case .moves: ReachMatrix.Outcome.moves.colour
    case .unreachable: ReachMatrix.Outcome.fails.colour
    }
  }

  // MARK: Devices

  private func drawDevice(_ place: Place, in svg: inout SVG) {
    let (entry, x) = (table[place.slot]!, Self.columns.device)
    let device = entry.description
    let isGone = entry.state == .gone
    let isAsleep = device.power == .suspended || isGone
    svg.rectangle(
      x, place.y, Self.box, place.height, isAsleep ? .grey : .white, stroke: .text,
      dashed: isAsleep,
      hover: "\(table.title(of: place.slot)): \(name(place.slot)), \(device.stableID)")
    let star = table.primary == place.slot ? " (primary)" : ""
    svg.write(label(place.slot) + star, x + 12, place.y + 22, bold: true)
    svg.write(shortened(device.driver, 24), x + 12, place.y + 42)
    svg.write(shortened(name(place.slot), 28), x + 12, place.y + 60, size: 12)
    let state = entry.state == .ready ? "" : ", \(entry.state.word)"
    let power = isAsleep ? "sleeps" : device.power == .active ? "awake" : "power unknown"
    svg.write(isGone ? "gone" : power + state, x + 12, place.y + 78, size: 12)
  }

  private func drawConnectors(_ place: Place, in svg: inout SVG) {
    let device = table[place.slot]!.description
    let x = Self.columns.connector
    for (i, connector) in device.connectors.enumerated() {
      let (y, isConnected) = (place.y + 6 + 24 * i, device.connected.contains(connector))
      svg.arrow(
        from: (Self.columns.device + Self.box, place.middle), to: (x, y + 10),
        isConnected ? .text : .grey, width: 1)
      svg.rectangle(
        x, y, 170, 20, isConnected ? .pale : .white, stroke: isConnected ? .text : .line,
        dashed: !isConnected,
        hover: "\(connector): \(isConnected ? "a display is connected" : "nothing connected")")
      svg.write(connector + (isConnected ? "" : " (empty)"), x + 8, y + 14, size: 12)
    }
  }

  // MARK: Links

  private func drawLinks(_ place: Place, _ places: [Place], in svg: inout SVG) {
    let left = Self.columns.device
    if usesSystemMemory(place.slot) {
      svg.arrow(
        from: (left, place.y + 15), to: (Self.columns.system + Self.box, place.y + 15), .line,
        hover: "\(table.title(of: place.slot)) uses buffers in system memory where they lie")
    }
    if hasOwnMemory(place.slot) {
      svg.arrow(
        from: (left, place.middle + 12), to: (Self.columns.own + Self.box, place.middle + 12),
        .green, width: 3, hover: "its own memory")
    }
    guard let column = matrix.devices.firstIndex(of: place.slot) else { return }
    for row in matrix.rows where row.memory == .dedicated && row.exporter != place.slot {
      guard let other = places.first(where: { $0.slot == row.exporter }) else { continue }
      let outcome = row.cells[column].outcome
      let isTold = [.inPlace, .hangs].contains(outcome)
      let mayMove = [.moves, .mayMove].contains(outcome) && places.count <= Self.fewDevices
      guard isTold || mayMove else { continue }
      // Drawn beside the lines of the devices' own memories.
      let goesDown = other.y > place.y
      svg.arrow(
        from: (left, place.middle + (goesDown ? 30 : -6)),
        to: (Self.columns.own + Self.box, other.middle + (goesDown ? -6 : 30)),
        outcome == .mayMove ? .orange : outcome.colour, dashed: outcome != .inPlace,
        hover: sentence(row, column))
    }
  }

  /// Its own there, or another device's.
  private func usesSystemMemory(_ slot: DeviceSlot) -> Bool {
    guard let column = matrix.devices.firstIndex(of: slot) else { return false }
    return matrix.rows.contains {
      $0.memory == .system && [.own, .inPlace].contains($0.cells[column].outcome)
    }
  }

  private func drawTopologyLegend(_ top: Int, in svg: inout SVG) {
    let links: [(SVG.Colour, Bool, String)] = [
      (.green, false, "a device and its own memory"),
      (.sky, false, "another's memory, used where it lies"),
      (.orange, true, "another's memory: an import moves the buffer out of it, or could"),
      (.vermillion, true, "another's memory: use hangs, primed never names it"),
      (.line, false, "system memory, used where it lies: its own buffers or another's"),
    ]
    for (i, link) in links.enumerated() {
      svg.arrow(from: (20, top + 24 * i), to: (70, top + 24 * i), link.0, dashed: link.1)
      svg.write(link.2, 84, top + 24 * i + 5)
    }
    svg.rectangle(20, top + 24 * links.count - 9, 50, 18, .grey, stroke: .text, dashed: true)
    svg.write("a device that sleeps or is gone", 84, top + 24 * links.count + 5)
    let chips: [(SVG.Colour, String)] = [
      (.green, "a buffer where it lies \u{2192} the device named for it: its exporter"),
      (.sky, "another device, which uses it there"), (.yellow, "one that could move it"),
      (.orange, "one that would move it"), (.purple, "one that can't use it"),
      (.grey, "one of which nobody knows without trying"),
    ]
    for (i, chip) in chips.enumerated() {
      svg.rectangle(640, top + 24 * i - 9, 18, 18, chip.0)
      svg.write(chip.1, 668, top + 24 * i + 5)
    }
  }
}
