// Which device is the machine's primary one, and the stable order that decides between equal
// candidates.

/// Every device's place in the stable order, and the primary device, which is first.
struct Ranking {
  private(set) var primary: DeviceSlot?
  /// By slot; the primary device has rank 0.
  private(set) var ranks: [UInt8]

  /// `importing`: those that import other devices' buffers.
  init(_ entries: [DeviceEntry?], importing: DeviceSet) {
    var order: [(slot: DeviceSlot, entry: DeviceEntry)] = []
    for (i, entry) in entries.enumerated() {
      if let entry { order.append((DeviceSlot(UInt8(i)), entry)) }
    }
    order.sort { stableOrder($0.entry.description, $1.entry.description) }

    ranks = Array(repeating: UInt8.max, count: entries.count)
    let eligible = order.filter { $0.entry.state == .ready && $0.entry.description.mayBePrimary }
    let rendering = eligible.filter { $0.entry.description.renders && importing.contains($0.slot) }
    primary = Self.best(of: rendering) ?? Self.best(of: eligible)
    for (rank, device) in order.enumerated() {
      ranks[Int(device.slot.index)] = device.slot == primary ? 0 : UInt8(rank + 1)
    }
  }

  /// The first of those with the highest merit.
  private static func best(of order: [(slot: DeviceSlot, entry: DeviceEntry)]) -> DeviceSlot? {
    var best: (slot: DeviceSlot, merit: Int)?
    for device in order {
      let merit = device.entry.description.merit
      if merit > best?.merit ?? -1 { best = (device.slot, merit) }
    }
    return best?.slot
  }
}

private func stableOrder(_ a: DeviceDescription, _ b: DeviceDescription) -> Bool {
  (a.stableID, a.sysfsPath) < (b.stableID, b.sysfsPath)
}

extension DeviceDescription {
  fileprivate var mayBePrimary: Bool { !ignored && node != nil }

  /// Higher is better; each reason outweighs those after it (primed(8), "The primary device").
  fileprivate var merit: Int {
    let reasons = [
      preferredPrimary, hasConnectedPanel, bootDisplay, bootVGA, power != .suspended,
    ]
    return reasons.reduce(0) { 2 * $0 + ($1 ? 1 : 0) }
  }

  /// Has a built-in panel with a display: desktop boards often have such connectors with nothing
  /// behind them.
  private var hasConnectedPanel: Bool { connected.contains(where: isPanel) }

  /// Has a connector of a built-in panel.
  var hasPanel: Bool { connectors.contains(where: isPanel) }
}

private func isPanel(_ connector: String) -> Bool {
  ["eDP", "LVDS", "DSI"].contains { connector.hasPrefix($0) }
}
