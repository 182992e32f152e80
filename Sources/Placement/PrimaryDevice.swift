// Which device is the machine's primary one, and the stable order that breaks all ties.

/// Every device's place in the stable order, and the one that leads it.
struct Ranking {
  private(set) var primary: DeviceSlot?
  /// By slot; the primary device's is 0.
  private(set) var ranks: [UInt8]

  init(_ entries: [DeviceEntry?]) {
    var order: [(slot: DeviceSlot, entry: DeviceEntry)] = []
    for (i, entry) in entries.enumerated() {
      if let entry { order.append((DeviceSlot(UInt8(i)), entry)) }
    }
    order.sort { stableOrder($0.entry.description, $1.entry.description) }

    ranks = Array(repeating: UInt8.max, count: entries.count)
    var best = Int.min
    for device in order
    where device.entry.state == .ready && device.entry.description.mayBePrimary
      && device.entry.description.merit > best
    {
      best = device.entry.description.merit
      primary = device.slot
    }
    for (rank, device) in order.enumerated() {
      ranks[Int(device.slot.index)] = device.slot == primary ? 0 : UInt8(rank + 1)
    }
  }
}

private func stableOrder(_ a: DeviceDescription, _ b: DeviceDescription) -> Bool {
  (a.stableID, a.sysfsPath) < (b.stableID, b.sysfsPath)
}

extension DeviceDescription {
  fileprivate var mayBePrimary: Bool { !ignored && node != nil }

  /// More is better: what it can do first, then who says that it is the primary one.
  fileprivate var merit: Int {
    var merit = 0
    if renders { merit += 64 } else if role == .display || role == .split { merit += 32 }
    if role == .sink { merit += 16 }
    if preferredPrimary { merit += 8 + (role == .software ? 0 : 128) }
    if bootVGA { merit += 4 }
    if hasPanel { merit += 2 }
    return merit
  }

  /// A built-in panel.
  var hasPanel: Bool {
    connectors.contains { name in
      ["eDP", "LVDS", "DSI"].contains { name.hasPrefix($0) }
    }
  }
}
