// Which devices to ask about a buffer, and how, so that no step can move it or wake anything.
//
// A plan is made again after each round of outcomes, since what one device said may make it safe to ask
// another: it is empty once there is nothing left that may be asked.

/// What a question lets its look touch beyond render nodes of devices that are awake.
package struct ProbeScope: Sendable, Equatable {
  /// Sleeping devices may be woken.
  package var wake: Bool
  /// Devices that have a card node alone, and may be opened all the same. Opening it makes primed DRM
  /// master until it gives that back, if nobody is; a compositor that starts just then does not get its
  /// card. Whoever drives a card is its master already and names it; nobody else needs to know.
  package var cards: DeviceSet

  package init(wake: Bool = false, cards: DeviceSet = DeviceSet()) {
    self.wake = wake
    self.cards = cards
  }

  /// The devices that the asker names, and the one that it falls back on.
  package init(_ asker: Asker, among devices: DeviceTable) {
    wake = asker.hints.wake
    cards = asker.named
    if asker.primary == nil, let primary = devices.primary { cards.insert(primary) }
    cards = cards.intersection(devices.cardOnly)
  }

  package func permitted(_ devices: DeviceTable) -> DeviceSet {
    let set = devices.ready.subtracting(devices.cardOnly.subtracting(cards))
    return wake ? set : set.intersection(devices.awake)
  }
}

package struct ProbePlan: Sendable, Equatable {
  /// To be asked with NO_MOVE, by ProbeMethod.noMoveImport.
  package var noMove = DeviceSet()
  /// To be asked with a plain import by ProbeMethod.safeImport: whoever exported the buffer, neither that nor
  /// its use by this device can move it.
  package var safe = DeviceSet()
  /// The same, but its use by this device might move it: for the exporter's own record only. A success
  /// says nothing of who reaches the buffer.
  package var records = DeviceSet()
  package init() {}

  package var all: DeviceSet { noMove.union(safe).union(records) }
  package var isEmpty: Bool { all.isEmpty }

  /// Devices that a new look could ask and that the looks before did not: they came, or woke, since.
  package static func unasked(
    _ facts: BufferFacts, among devices: DeviceTable, _ scope: ProbeScope
  ) -> DeviceSet {
    let plan = ProbePlan(
      exporters: devices.exporters(forImportsBy: facts.exporters), among: devices,
      asked: facts.asked, intentionKnown: facts.confidence == .intent, scope)
    let new = devices.toAssess(scope).subtracting(facts.asked)
    return plan.all.union(new)
  }

  /// - Parameters:
  ///   - exporters: who may have exported the buffer, by evidence of the kernel's own.
  ///   - asked: devices asked in this look already.
  ///   - intentionKnown: the exporter's record would tell nothing new.
  package init(
    exporters: ExporterSet, among devices: DeviceTable, asked: DeviceSet, intentionKnown: Bool,
    _ scope: ProbeScope
  ) {
    // Who imports its own buffers only tells by that which are its own.
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
    where tells(slot, exporters, devices, intentionKnown: intentionKnown) {
      var others = exporters
      others.devices.remove(slot)
      if others.isEmpty || devices.staysPut(others, where: devices.unmoved(by: slot)) {
        safe.insert(slot)
      } else if exporters.devices.contains(slot),
        devices.staysPut(others, where: devices.staying(in: slot))
      {
        records.insert(slot)
      }
    }
  }
}

/// A plain import is worth its while only for the exporter's record, or to learn who else can use a buffer
/// where it lies; that one of those that may have exported it imports it says nothing else.
private func tells(
  _ slot: DeviceSlot, _ exporters: ExporterSet, _ devices: DeviceTable, intentionKnown: Bool
) -> Bool {
  if devices.onlySystem(exporters) { return exporters.certain != slot }
  return !exporters.devices.contains(slot)
    || devices.keepsRecord.contains(slot) && !intentionKnown
}

extension DeviceTable {
  /// Must say what they can do before they are asked about a buffer.
  package func toAssess(_ scope: ProbeScope) -> DeviceSet {
    scope.permitted(self).intersection(importing).intersection(unassessed)
  }

  /// An attachment would wake a sleeping device that may be the exporter.
  func mayNotAttach(_ exporters: ExporterSet, _ scope: ProbeScope) -> Bool {
    let asleep = exporters.devices.subtracting(awake)
    return !scope.wake && !asleep.intersection(wakesAtAttach).isEmpty
  }
}
