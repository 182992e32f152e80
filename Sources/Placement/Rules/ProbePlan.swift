// Which devices to ask about a buffer, and by which method, so that no step can move the buffer or
// wake a device.
//
// A plan is made again after each round of outcomes, since one outcome may make it safe to ask
// another device. It is empty when no more devices may be asked.

/// What an observation may touch beyond the render nodes of devices that are awake.
package struct ProbeScope: Sendable, Equatable {
  /// Sleeping devices may be woken: those of `touchable`.
  package var wake: Bool
  private var touchable: DeviceSet
  /// Devices with only a card node that may be opened all the same. Opening a card makes primed DRM
  /// master until it drops that, if there is no master; a compositor that starts at that moment
  /// does not get its card. A compositor that already drives the card is master and names the card
  /// in its hints; other askers don't need to know.
  package var cards: DeviceSet

  package init(wake: Bool = false, cards: DeviceSet = DeviceSet()) {
    self.wake = wake
    touchable = .all
    self.cards = cards
  }

  /// The devices that the asker names, and the primary device.
  package init(_ asker: QueryContext, among devices: borrowing DeviceTable) {
    wake = asker.wake
    touchable = asker.touchable
    cards = asker.named
    if asker.primary == nil, let primary = devices.primary { cards.insert(primary) }
    cards = cards.intersection(devices.cardOnly).intersection(asker.touchable)
  }

  /// Devices that may be woken.
  package var wakeable: DeviceSet { wake ? touchable : [] }

  /// Whether it may touch whatever `other` may.
  package func covers(_ other: Self) -> Bool {
    other.wakeable.subtracting(wakeable).isEmpty && other.cards.subtracting(cards).isEmpty
  }

  /// The slot now belongs to another device, or to none.
  package mutating func scrub(_ slot: DeviceSlot) {
    touchable.remove(slot)
    cards.remove(slot)
  }

  package func permitted(_ devices: DeviceTable) -> DeviceSet {
    let set = devices.ready.subtracting(devices.unopenable)
      .subtracting(devices.cardOnly.subtracting(cards))
    return set.intersection(devices.awake.union(devices.undisturbed).union(wakeable))
  }
}

package struct ProbePlan: Sendable, Equatable {
  /// To be asked with NO_MOVE, by ProbeMethod.noMoveImport.
  package var noMove = DeviceSet()
  /// To be asked with a plain import, by ProbeMethod.safeImport: neither that nor use by this
  /// device can move the buffer, whichever of the possible exporters exported it.
  package var safe = DeviceSet()
  /// To be asked with a plain import for the exporter's record only, since use by this device might
  /// move the buffer. A success says nothing about which devices reach the buffer.
  package var records = DeviceSet()
  package init() {}

  package var all: DeviceSet { noMove.union(safe).union(records) }
  package var isEmpty: Bool { all.isEmpty }

  /// Devices that a new observation could ask and that earlier ones did not, since they appeared or
  /// woke later.
  package static func unasked(
    _ facts: BufferFacts, among devices: DeviceTable, _ scope: ProbeScope
  ) -> DeviceSet {
    let plan = ProbePlan(
      exporters: devices.exporters(forImportsBy: facts.exporters), among: devices,
      inSystemMemory: facts.home == .system && facts.homeIsCertain ? devices.present : DeviceSet(),
      asked: facts.asked, intentionKnown: facts.confidence == .intent, scope)
    let new = devices.toAssess(scope).subtracting(facts.asked)
    return plan.all.union(new)
  }

  /// - Parameters:
  ///   - exporters: devices that may have exported the buffer, by the kernel's evidence.
  ///   - inSystemMemory: possible exporters whose buffer would lie in system memory, by what the
  ///   kernel or the driver's record says: no import moves it then.
  ///   - asked: devices asked in this observation already.
  ///   - intentionKnown: whether the home is known, so that the exporter's record would tell
  ///   nothing new.
  package init(
    exporters: ExporterSet, among devices: DeviceTable, inSystemMemory: DeviceSet,
    asked: DeviceSet, intentionKnown: Bool, _ scope: ProbeScope
  ) {
    // For a device that imports only its own buffers, a success shows that the buffer is its own.
    let importers = devices.importing.union(
      devices.importingOwnOnly.intersection(exporters.devices))
    var open = scope.permitted(devices).intersection(importers).subtracting(asked)
      .subtracting(devices.unassessed)
    if let exporter = exporters.certain, devices.mayNotAttach(exporters, scope) {
      open = open.intersection(DeviceSet(exporter))
    } else if devices.mayNotAttach(exporters, scope) {
      return
    }

    noMove = open.intersection(devices.honoured).intersection(devices.importing)
    for slot in open.subtracting(devices.honoured)
    where tells(slot, exporters, inSystemMemory, devices, intentionKnown: intentionKnown) {
      if devices.leavesAlone(exporters, slot, orIn: inSystemMemory) {
        safe.insert(slot)
      } else if exporters.devices.contains(slot),
        devices.staysPut(exporters.without(slot), where: devices.staying(in: slot))
      {
        records.insert(slot)
      }
    }
  }
}

/// A plain import is useful for the exporter's record, or to learn which other devices can use the
/// buffer where it lies. A success on one of several possible exporters proves nothing else.
private func tells(
  _ slot: DeviceSlot, _ exporters: ExporterSet, _ inSystemMemory: DeviceSet,
  _ devices: DeviceTable, intentionKnown: Bool
) -> Bool {
  if let exporter = exporters.certain {
    let memory: Memory = inSystemMemory.contains(exporter) ? .system : .unknown
    let importers = devices.importers(of: exporter, in: memory)
    // This device is known to be unable to use the buffer.
    if importers.hanging.union(importers.failing).contains(slot) { return false }
  }
  if devices.staysPut(exporters, where: devices.systemOnly.union(inSystemMemory)) {
    return exporters.certain != slot
  }
  return !exporters.devices.contains(slot)
    || devices.keepsRecord.contains(slot) && !intentionKnown
    || devices.tellsItsOwn(slot, from: exporters.devices)
}

extension DeviceTable {
  /// Whether a success shows that none of some other exporters exported the buffer: this device
  /// imports its own buffers only, or an import of theirs is refused.
  fileprivate func tellsItsOwn(_ slot: DeviceSlot, from exporters: DeviceSet) -> Bool {
    importingOwnOnly.contains(slot)
      || exporters.contains { importers(of: $0, in: .unknown).refused.contains(slot) }
  }

  /// Whether neither an import into this device nor its use can move the buffer, whichever of these
  /// exported it. `inSystemMemory`: exporters whose buffer would lie in system memory for certain.
  func leavesAlone(
    _ exporters: ExporterSet, _ slot: DeviceSlot, orIn inSystemMemory: DeviceSet = []
  ) -> Bool {
    let others = exporters.without(slot)
    return others.isEmpty
      || staysPut(others, where: unmoved(by: slot).union(inSystemMemory))
  }

  /// Devices that must be assessed before they are asked about a buffer.
  package func toAssess(_ scope: ProbeScope) -> DeviceSet {
    scope.permitted(self).intersection(unassessed)
  }

  /// Whether an attachment would wake a sleeping device that may be the exporter, or hold a
  /// released one.
  func mayNotAttach(_ exporters: ExporterSet, _ scope: ProbeScope) -> Bool {
    if !exporters.devices.intersection(released).isEmpty { return true }
    return !wokenByAttachment(exporters).subtracting(awake).subtracting(scope.wakeable).isEmpty
  }

  /// Those of the possible exporters that an attachment by another device wakes.
  package func wokenByAttachment(_ exporters: ExporterSet) -> DeviceSet {
    exporters.devices.intersection(wakesAtAttach)
  }
}
