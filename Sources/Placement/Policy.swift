// The rules of choice: a pure function of facts, devices and hints. One function
// a rule; the first that names a device decides. Nothing here allocates.

package enum Rule: UInt8, Sendable, CaseIterable {
  case declared, scanoutTarget, homeDedicated, homeSystem, homeUnknown, fallback
  case lastResort, noDevice

  /// As `details` name it.
  package var name: StaticString {
    switch self {
    case .declared: "declared"
    case .scanoutTarget: "scanout-target"
    case .homeDedicated: "home-dedicated"
    case .homeSystem: "home-system"
    case .homeUnknown: "home-unknown"
    case .fallback: "fallback"
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

/// All that the rules look at: what is known of a buffer's planes together, and who asks.
package struct Situation: Sendable {
  /// Devices that no rule but the last may choose from (rule 1).
  package private(set) var usable: DeviceSet
  /// Of those, the ones that reach every plane at its home without a move.
  package private(set) var home: DeviceSet
  /// The exporter, where it is certain and the same for every plane.
  package private(set) var exporter: DeviceSlot?
  /// The exporter by weaker evidence: a modifier's vendor, or the only one left of those here.
  package private(set) var likelyExporter: DeviceSlot?
  package private(set) var homeMemory: Memory
  package private(set) var confidence: Confidence
  package let usage: Usage
  package let declared: DeviceSlot?
  package let target: DeviceSlot?
  /// The compositor's primary device, else primed's.
  package let primary: DeviceSlot?
  package private(set) var refused: DeviceSet
  package private(set) var failing: DeviceSet
  private var access: PlaneAccess

  /// What an import by each device would do, the weakest plane's word for each.
  private struct PlaneAccess: Sendable {
    var native: DeviceSet
    var inPlace: DeviceSet
    /// No import can move any plane.
    var staysPut: Bool
  }

  package init(_ first: BufferFacts, _ asker: Asker, among devices: DeviceTable) {
    declared = asker.declared
    target = asker.target
    primary = asker.primary ?? devices.primary
    usage = asker.hints.usage ?? .sample
    let plane = PlaneView(first, modifier: asker.hints.modifier, among: devices)
    (exporter, likelyExporter) = (plane.exporter, plane.likely)
    (homeMemory, confidence) = (first.home, plane.confidence)
    (refused, failing) = (first.refused, plane.failing)
    access = PlaneAccess(native: plane.native, inPlace: plane.inPlace, staysPut: plane.staysPut)
    usable = devices.ready.intersection(plane.importers(among: devices))
      .subtracting(devices.software).subtracting(plane.failing)
    home = plane.native.union(plane.inPlace).intersection(usable)
  }

  /// Adds another plane of the same buffer: all planes must be usable by the device that is chosen.
  package mutating func add(_ facts: BufferFacts, _ asker: Asker, among devices: DeviceTable) {
    let plane = PlaneView(facts, modifier: asker.hints.modifier, among: devices)
    if plane.exporter != exporter { exporter = nil }
    if plane.likely != likelyExporter { likelyExporter = nil }
    homeMemory = weaker(homeMemory, facts.home)
    confidence = min(confidence, plane.confidence)
    refused = refused.union(facts.refused)
    failing = failing.union(plane.failing)
    let reached = access.native.union(access.inPlace)
      .intersection(plane.native.union(plane.inPlace))
    access.native = access.native.intersection(plane.native)
    access.inPlace = reached.subtracting(access.native)
    access.staysPut = access.staysPut && plane.staysPut
    usable = usable.intersection(plane.importers(among: devices)).subtracting(plane.failing)
    home = reached.intersection(usable)
  }

  /// What an import into this device would do; `known` is false for what is merely assumed.
  package func access(of slot: DeviceSlot) -> Access {
    if failing.contains(slot) { return .unreachable }
    if access.native.contains(slot) { return .native }
    if access.inPlace.contains(slot) { return .inPlace }
    if refused.contains(slot) { return .moves }
    return access.staysPut ? .unknown : .mayMove
  }
}

/// One plane's facts as the policy sees them. The modifier is the asker's word: it may choose between
/// the exporters that the kernel's own evidence leaves, but no import rests on it.
private struct PlaneView {
  var exporter: DeviceSlot?
  var likely: DeviceSlot?
  var native: DeviceSet
  var inPlace: DeviceSet
  var failing: DeviceSet
  var staysPut: Bool
  var confidence: Confidence

  init(_ facts: BufferFacts, modifier: UInt64?, among devices: DeviceTable) {
    var exporters = facts.exporters.candidates
    confidence = facts.confidence
    // A device never fails to import what it exported. No import rests on this: it may have gone.
    let sound = exporters.devices.subtracting(facts.failing)
    if !sound.isEmpty { exporters.devices = sound }
    if exporters.certain == nil, let modifier, let tiling = devices.devices(tilingWith: modifier) {
      let narrowed = exporters.devices.intersection(tiling)
      if !narrowed.isEmpty { exporters.devices = narrowed }
      if exporters.certain != nil { confidence = max(confidence, .state) }
    }
    exporter = exporters.certain
    likely = exporters.likely
    failing = facts.failing
    if let exporter { failing = failing.union(devices.unfit(for: exporter)) }
    native = exporter.map { DeviceSet($0) } ?? DeviceSet()
    inPlace = facts.reachedAtHome
    staysPut = devices.onlySystem(facts.exporters.candidates)
    inPlace = inPlace.union(sharing(facts, devices)).subtracting(native)
    dropWhatMayHang(exporters, devices)
  }

  /// Devices that an import of this plane can succeed on.
  func importers(among devices: DeviceTable) -> DeviceSet {
    devices.importing.union(devices.importingOwnOnly.intersection(native))
  }

  /// Devices that could not be asked, but are known to use the exporter's system memory as it lies,
  /// where the exporter itself says that the buffer belongs there.
  private func sharing(_ facts: BufferFacts, _ devices: DeviceTable) -> DeviceSet {
    let exporters = facts.exporters.candidates
    guard facts.home == .system, facts.homeIsCertain, !exporters.devices.isEmpty,
      exporters.beyond.isEmpty,
      exporters.devices.subtracting(devices.sharesSystemMemory).isEmpty
    else { return DeviceSet() }
    return devices.sharesSystemMemory.subtracting(facts.asked)
  }

  /// A device that hangs if one of the possible exporters is the true one isn't "as good" as a device
  /// that can't.
  private mutating func dropWhatMayHang(_ exporters: ExporterSet, _ devices: DeviceTable) {
    guard exporter == nil else { return }
    var risky = DeviceSet()
    for slot in exporters.devices { risky = risky.union(devices.unfit(for: slot)) }
    let sound = inPlace.subtracting(risky)
    if !sound.isEmpty { inPlace = sound }
  }
}

private func weaker(_ a: Memory, _ b: Memory) -> Memory {
  if a == .dedicated || b == .dedicated { return .dedicated }
  return a == b ? a : .unknown
}

package enum Policy {
  package static func decide(_ s: Situation, among devices: DeviceTable) -> Decision {
    if let slot = declared(s) { return chosen(slot, .declared, s) }
    if let slot = scanoutTarget(s) { return chosen(slot, .scanoutTarget, s) }
    if let slot = homeDedicated(s, devices) { return chosen(slot, .homeDedicated, s) }
    if let slot = homeSystem(s, devices) { return chosen(slot, .homeSystem, s) }
    if let slot = homeUnknown(s, devices) { return chosen(slot, .homeUnknown, s) }
    if let slot = fallback(s, devices) { return chosen(slot, .fallback, s) }
    if let slot = lastResort(s, devices) { return chosen(slot, .lastResort, s) }
    return Decision(device: nil, rule: .noDevice, access: .unreachable, confidence: .guess)
  }

  // Rule 1 made `usable`.

  /// Rule 2: the client's own word.
  private static func declared(_ s: Situation) -> DeviceSlot? {
    s.declared.flatMap { s.usable.contains($0) ? $0 : nil }
  }

  /// Rule 3: to be scanned out as it lies.
  private static func scanoutTarget(_ s: Situation) -> DeviceSlot? {
    guard s.usage.contains(.scanout), let target = s.target, s.home.contains(target) else {
      return nil
    }
    return target
  }

  /// Rule 4: in dedicated memory the exporter is the fastest.
  private static func homeDedicated(_ s: Situation, _ devices: DeviceTable) -> DeviceSlot? {
    guard s.homeMemory == .dedicated else { return nil }
    let set = best(of: s.home, s, devices)
    return member(s.exporter, of: set) ?? member(s.likelyExporter, of: set)
      ?? devices.first(of: set)
  }

  /// Rule 5: a linear copy in system memory was made *for* the other device.
  private static func homeSystem(_ s: Situation, _ devices: DeviceTable) -> DeviceSlot? {
    guard s.homeMemory == .system else { return nil }
    let set = best(of: s.home, s, devices)
    return member(s.target, of: set) ?? member(s.primary, of: set) ?? member(s.exporter, of: set)
      ?? devices.first(of: set)
  }

  /// Rule 6: by the exporter, as far as it is known.
  private static func homeUnknown(_ s: Situation, _ devices: DeviceTable) -> DeviceSlot? {
    guard s.homeMemory == .unknown || s.home.isEmpty else { return nil }
    let set = best(of: s.home, s, devices)
    if let slot = member(s.exporter, of: set) ?? member(s.likelyExporter, of: set) { return slot }
    if set.isEmpty { return s.likelyExporter.flatMap { s.usable.contains($0) ? $0 : nil } }
    return member(s.primary, of: set) ?? devices.first(of: set.intersection(devices.dedicated))
      ?? devices.first(of: set)
  }

  /// Rule 7: nothing reaches it without a move.
  private static func fallback(_ s: Situation, _ devices: DeviceTable) -> DeviceSlot? {
    let set = best(of: s.usable, s, devices)
    return member(s.primary, of: s.usable) ?? devices.first(of: set)
  }

  /// There is a device, but none that is fit. Never one that is gone or released; one that does not
  /// answer only where all others are, since "no device" would not be true.
  private static func lastResort(_ s: Situation, _ devices: DeviceTable) -> DeviceSlot? {
    let ready = devices.ready
    let sound = ready.subtracting(s.failing)
    return devices.first(of: sound.subtracting(devices.software).intersection(devices.importing))
      ?? devices.first(of: sound.intersection(devices.importing))
      ?? devices.first(of: sound.subtracting(devices.software))
      ?? devices.first(of: ready) ?? devices.first(of: devices.silent)
  }

  /// Of devices that are as good, those that are awake, and that can draw where that is asked.
  private static func best(
    of set: DeviceSet, _ s: Situation, _ devices: DeviceTable
  ) -> DeviceSet {
    var set = set
    if s.usage != .scanout { set = narrowed(set, devices.rendering) }
    return narrowed(set, devices.awake)
  }

  private static func narrowed(_ set: DeviceSet, _ wanted: DeviceSet) -> DeviceSet {
    let both = set.intersection(wanted)
    return both.isEmpty ? set : both
  }

  private static func member(_ slot: DeviceSlot?, of set: DeviceSet) -> DeviceSlot? {
    slot.flatMap { set.contains($0) ? $0 : nil }
  }

  private static func chosen(_ slot: DeviceSlot, _ rule: Rule, _ s: Situation) -> Decision {
    let access = s.access(of: slot)
    let confidence: Confidence =
      switch rule {
      case .declared: .intent
      case .fallback, .lastResort, .noDevice: .guess
      case .homeUnknown where access == .mayMove: .guess
      default: s.confidence
      }
    return Decision(device: slot, rule: rule, access: access, confidence: confidence)
  }
}
