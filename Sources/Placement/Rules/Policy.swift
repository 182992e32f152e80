// The rules of choice: a pure function of facts, devices and hints. Each rule is a function; the
// first that names a device decides. Nothing here allocates.

package enum Rule: UInt8, Sendable, CaseIterable {
  case declared, scanoutTarget, homeDedicated, homeSystem, homeUnknown, fallback
  case noCandidate, lastResort, noDevice

  /// The word in the answer's details.
  package var name: StaticString {
    switch self {
    case .declared: "declared"
    case .scanoutTarget: "scanout-target"
    case .homeDedicated: "home-dedicated"
    case .homeSystem: "home-system"
    case .homeUnknown: "home-unknown"
    case .fallback: "fallback"
    case .noCandidate: "no-candidate"
    case .lastResort: "last-resort"
    case .noDevice: "no-device"
    }
  }
}

package struct Decision: Sendable, Equatable {
  package var device: DeviceSlot?
  package var rule: Rule
  package var access: Access
  package var confidence: Confidence
}

package enum Policy {
  package static func decide(_ input: PolicyInput, among devices: DeviceTable) -> Decision {
    let choice = Choice(input, devices)
    if let slot = choice.scanoutTarget { return choice.chosen(slot, .scanoutTarget) }
    if let slot = choice.declared { return choice.chosen(slot, .declared) }
    if let slot = choice.homeDedicated { return choice.chosen(slot, .homeDedicated) }
    if let slot = choice.homeSystem { return choice.chosen(slot, .homeSystem) }
    if let slot = choice.homeUnknown { return choice.chosen(slot, .homeUnknown) }
    if let slot = choice.fallback { return choice.chosen(slot, .fallback) }
    if let candidates = input.context.candidates { return choice.noCandidate(candidates) }
    if let slot = choice.lastResort { return choice.chosen(slot, .lastResort) }
    return Decision(device: nil, rule: .noDevice, access: .unreachable, confidence: .guess)
  }
}

/// One question put to the rules. Rule 1 made `input.usable`.
private struct Choice {
  let input: PolicyInput
  let devices: DeviceTable
  /// The requested usage, without scan-out.
  private let usage: Usage
  /// Rule 3's set: devices that reach the buffer at its home without a move and can do what is
  /// asked.
  private let set: DeviceSet

  init(_ input: PolicyInput, _ devices: DeviceTable) {
    self.input = input
    self.devices = devices
    let asked = input.context.usage.subtracting(.scanout)
    usage = asked.isEmpty ? .sample : asked
    var set = input.home
    if usage.contains(.capture) { set = set.subtracting(input.unwritable(among: devices)) }
    self.set = set
  }

  /// Rule 2: the client named its device.
  var declared: DeviceSlot? { input.declaredIsUsable ? input.context.declared : nil }

  /// Rule 3: the buffer can be scanned out as it lies.
  var scanoutTarget: DeviceSlot? {
    guard input.context.usage.contains(.scanout),
      let target = input.context.target,
      input.reachesForScanout(target, among: devices), input.scansOut(target)
    else { return nil }
    return target
  }

  /// Rule 4: for a buffer in dedicated memory the exporter is the fastest.
  var homeDedicated: DeviceSlot? {
    guard input.homeMemory == .dedicated else { return nil }
    let set = best(of: set)
    return member(input.exporter, of: set) ?? member(input.likelyExporter, of: set)
      ?? devices.first(of: set)
  }

  /// Rule 5: a linear copy in system memory was made *for* another device.
  var homeSystem: DeviceSlot? {
    guard input.homeMemory == .system else { return nil }
    let set = best(of: set)
    // If scan-out was asked for, the target can't do it: rule 3 would have named it.
    let scansOut = input.context.usage.contains(.scanout)
    let target = scansOut ? nil : input.context.target
    return member(target, of: set) ?? member(input.primary, of: set)
      ?? member(input.exporter, of: set) ?? devices.first(of: set)
  }

  /// Rule 6: the home is unknown, so the exporter as far as it is known.
  var homeUnknown: DeviceSlot? {
    guard input.homeMemory == .unknown || set.isEmpty else { return nil }
    let set = best(of: set)
    if let slot = member(input.exporter, of: set) ?? member(input.likelyExporter, of: set) {
      return slot
    }
    if set.isEmpty { return likelyExporterToTry }
    return member(input.primary, of: set) ?? devices.first(of: set.intersection(devices.dedicated))
      ?? devices.first(of: set)
  }

  /// No device is known to reach the buffer: the guess that most likely moves nothing.
  private var likelyExporterToTry: DeviceSlot? {
    member(input.likelyExporter, of: best(of: input.usable))
  }

  /// Rule 7: no device is known to reach the buffer without a move. One that can't move it comes
  /// before the primary device; else one that may have it in memory of its own, since all others
  /// would move it out of there.
  var fallback: DeviceSlot? {
    let set = withoutSleepers(writable(input.usable))
    let unmoving = narrowed(set, devices.rendering).filter { isUnmoved(by: $0) }
    let best = best(of: unmoving.isEmpty ? narrowed(set, input.owners) : unmoving)
    if let primary = member(input.primary, of: best) { return primary }
    for access in [Access.native, .inPlace, .unknown, .mayMove, .moves] {
      if let slot = first(of: best, where: access) { return slot }
    }
    return nil
  }

  /// A buffer that is asked about was drawn a moment ago, so its exporter is rather one of those
  /// that are awake. No sleeper comes before the primary device, unless that is known to move it,
  /// or heeds NO_MOVE: then it was not asked only since the sleeper may be the exporter.
  private func withoutSleepers(_ set: DeviceSet) -> DeviceSet {
    let awake = set.intersection(devices.awake)
    guard let primary = member(input.primary, of: narrowed(set, devices.rendering)),
      awake.contains(primary), !devices.honoured.contains(primary),
      input.access(of: primary).weakness <= Access.mayMove.weakness
    else { return set }
    return awake
  }

  /// Where use may hang, `unknown` says nothing of moves.
  private func isUnmoved(by slot: DeviceSlot) -> Bool {
    !input.hanging.contains(slot) && input.access(of: slot).weakness <= Access.unknown.weakness
  }

  /// Rule 8: the asker named candidates, and none of them is fit.
  func noCandidate(_ candidates: DeviceSet) -> Decision {
    Decision(
      device: nil, rule: .noCandidate,
      access: input.areUnreachable(candidates) ? .unreachable : .unknown, confidence: .guess)
  }

  /// There are devices, but none is fit. Never names one that is gone or released; names one that
  /// may hang only if there is no other, and one that does not answer only if none answers: "no
  /// device" would be wrong.
  var lastResort: DeviceSlot? {
    let calm = devices.ready.subtracting(input.hanging)
    // One that may be the exporter hangs only if it is not.
    return sound(of: calm) ?? sound(of: devices.ready.intersection(input.owners))
      ?? sound(of: devices.ready) ?? devices.first(of: devices.silent)
  }

  private func sound(of set: DeviceSet) -> DeviceSlot? {
    let importable = set.filter { input.access(of: $0) != .unreachable }
    let hardware = set.subtracting(devices.software)
    let unmoving = importable.filter { isUnmoved(by: $0) }
    return devices.first(of: unmoving.subtracting(devices.software))
      ?? devices.first(of: unmoving) ?? devices.first(of: importable.subtracting(devices.software))
      ?? devices.first(of: importable)
      ?? devices.first(of: hardware.intersection(devices.importing))
      ?? devices.first(of: hardware) ?? devices.first(of: set)
  }

  // MARK: The best of a set

  /// Of devices that are equally good: those that can draw, are awake, and were asked.
  private func best(of set: DeviceSet) -> DeviceSet {
    let set = narrowed(narrowed(set, devices.rendering), devices.awake)
    // Not an exporter that sleeps: a device that reaches the buffer by a table row comes before it.
    let proven = set.subtracting(input.byRow).intersection(devices.awake)
    return proven.isEmpty ? set : proven
  }

  private func writable(_ set: DeviceSet) -> DeviceSet {
    guard usage.contains(.capture) else { return set }
    let writable = set.subtracting(input.unwritable(among: devices))
    return writable.isEmpty ? set : writable
  }

  private func narrowed(_ set: DeviceSet, _ wanted: DeviceSet) -> DeviceSet {
    let both = set.intersection(wanted)
    return both.isEmpty ? set : both
  }

  private func first(of set: DeviceSet, where access: Access) -> DeviceSlot? {
    devices.first(of: set.filter { input.access(of: $0) == access })
  }

  private func member(_ slot: DeviceSlot?, of set: DeviceSet) -> DeviceSlot? {
    slot.flatMap { set.contains($0) ? $0 : nil }
  }

  // MARK: The decision

  func chosen(_ slot: DeviceSlot, _ rule: Rule) -> Decision {
    let access = input.access(of: slot)
    let confidence: Confidence =
      switch rule {
      case .declared: .intent
      case .fallback, .noCandidate, .lastResort, .noDevice: .guess
      // How sure an importer is: the weaker of how well the home is known and how well the reach is
      // known.
      default:
        access.weakness > Access.inPlace.weakness || input.byRow.contains(slot)
          ? .guess : input.confidence
      }
    return Decision(device: slot, rule: rule, access: access, confidence: confidence)
  }
}
