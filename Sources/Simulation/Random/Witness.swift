// What use of a buffer by a client or a compositor really does on a simulated machine. Uses none of
// primed's rules, and counts nothing as harm done by primed.

package import Placement

/// The result of an import and the use after it, from best to worst.
package enum UseOutcome: Int, Comparable {
  /// Used where it belongs, or in system memory, which it does not leave.
  case fine
  /// Used in system memory, to which it was evicted, and from now on kept from returning home.
  case kept
  /// Moved out of dedicated memory.
  case moved
  /// It can't be used: the import is refused, or the device can't read the layout.
  case failed
  case hung
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension SimulatedKernel {
  /// The result that a use would have; nothing is changed.
  package func outcome(of buffer: Int, on device: Int, _ usage: Usage = .sample) -> UseOutcome {
    let planes = planes(of: buffer)
    guard canRead(buffer, on: device) else { return .failed }
    if usage.contains(.capture), !devices[device].facts.writesImports,
      !exported(buffer, by: device)
    {
      return .failed
    }
    return planes.map { outcome(of: $0, on: device) }.max() ?? .failed
  }

  private func outcome(of plane: SimulatedDMABuf, on device: Int) -> UseOutcome {
    guard devices[device].plugged else { return .failed }
    switch fate(of: plane, on: device) {
    case .own: return .fine
    case .inPlace:
      let isAway = plane.home == .dedicated && plane.residency == .system && isRegistered(plane)
      return isAway ? .kept : .fine
    case .moves: return .moved
    case .hangs: return .hung
    case .fails: return .failed
    }
  }

  /// A compositor imports the buffer and keeps using it. Returns whether the buffer has moved, also
  /// by an import that failed.
  package func use(_ buffer: Int, on device: Int) -> Bool {
    guard devices[device].plugged else { return false }
    var moved = false
    for plane in planes(of: buffer) {
      let fate = fate(of: plane, on: device)
      if moves(plane, on: device) {
        plane.residency = .system
        moved = true
      }
      if fate != .own && fate != .fails { plane.pinned = true }
    }
    return moved
  }

  /// Whether `use` would move it; nothing is changed.
  func wouldMove(_ buffer: Int, on device: Int) -> Bool {
    devices[device].plugged && planes(of: buffer).contains { moves($0, on: device) }
  }

  private func moves(_ plane: SimulatedDMABuf, on device: Int) -> Bool {
    let fate = fate(of: plane, on: device)
    return fate == .moves || fate == .fails && movesAtAttach(plane)
  }

  /// Without primed: the compositor's own device first, then all others until one imports it.
  package func useNaively(_ buffer: Int, primary: Int) -> Bool {
    let others = devices.indices.filter { $0 != primary }
      .sorted { scenario.devices[$0].card ?? 0 < scenario.devices[$1].card ?? 0 }
    var moved = false
    for device in [primary] + others where devices[device].plugged {
      let isTaken = outcome(of: buffer, on: device) != .failed
      moved = use(buffer, on: device) || moved
      if isTaken { break }
    }
    return moved
  }

  private func planes(of buffer: Int) -> [SimulatedDMABuf] {
    (0..<scenario.buffers[buffer].planes).compactMap { dmabuf(buffer, plane: $0) }
  }

  // MARK: what primed says of it

  /// Whether every plane can be used there without a move: where it lies now, or where it belongs.
  func isReached(_ buffer: Int, on device: Int, atHome: Bool) -> Bool {
    devices[device].plugged
      && planes(of: buffer).allSatisfy { plane in
        let memory = atHome && isRegistered(plane) ? plane.home : plane.residency
        return [.own, .inPlace].contains(fate(of: plane, on: device, in: memory))
      }
  }

  func hangs(_ buffer: Int, on device: Int) -> Bool {
    planes(of: buffer).contains { fate(of: $0, on: device) == .hangs }
  }

  func exported(_ buffer: Int, by device: Int) -> Bool {
    planes(of: buffer).allSatisfy { $0.exporter == .device(device) && isRegistered($0) }
  }

  /// Hardware reads the layouts of its vendor. An implicit layout is read only by the driver that
  /// made it, except for a copy that was made for another device.
  func canRead(_ buffer: Int, on device: Int) -> Bool {
    let model = scenario.buffers[buffer]
    guard let modifier = model.modifier, modifier != 0 else { return true }
    if modifier & 0x00ff_ffff_ffff_ffff != 0x00ff_ffff_ffff_ffff {
      return devices[device].facts.layouts.contains(modifier >> 56)
    }
    guard let exporter = model.exporter else { return true }
    let isCopy = model.home == .system && scenario.devices[exporter].dedicated > 0
    return isCopy || scenario.devices[exporter].driver == scenario.devices[device].driver
  }

  /// Whether the device's displays can show it as it lies.
  func canScanOut(_ buffer: Int, on device: Int) -> Bool {
    let (model, facts) = (scenario.devices[device], devices[device].facts)
    if exported(buffer, by: device) { return facts.scanout != .none }
    guard isReached(buffer, on: device, atHome: true) else { return false }
    switch facts.scanout {
    case .none, .own: return false
    case .integrated: return model.integrated
    case .anything: return true
    }
  }

  /// A device on which a compositor could draw.
  func isUsable(_ device: Int) -> Bool {
    devices[device].plugged && scenario.devices[device].card != nil
      && (devices[device].facts.renders || !devices.contains { $0.facts.renders && $0.plugged })
  }
}
