// The machine's devices at one generation, as the policy and the plan look at them: sets of slots,
// computed once when a device changes so that no query has to. Immutable.

/// A device and how it is doing.
package struct DeviceEntry: Sendable, Equatable {
  package var description: DeviceDescription
  package var state = DeviceState.ready
  package var noMove = NoMove.unknown
  /// Found out with a sacrificial buffer; nil: not asked yet.
  package var importsSeen: Bool?
  package init(_ description: DeviceDescription) { self.description = description }

  package var imports: Bool { description.imports && importsSeen != false }
  /// Refused a buffer of no device, yet imports what it exported itself (virtio_gpu's gem_prime_import:
  /// ENODEV for all but its own).
  package var importsOwnOnly: Bool {
    description.imports && importsSeen == false && description.exports
  }
  package var assessed: Bool { importsSeen != nil }
}

package final class DeviceTable: Sendable {
  /// Everything that is there, released and unresponsive devices too.
  package let present: DeviceSet
  /// May be chosen and asked: in order, not ignored, with a node.
  package let ready: DeviceSet
  /// The same, but for a driver that does not answer.
  package let silent: DeviceSet
  package let awake: DeviceSet
  /// Have a card node alone.
  package let cardOnly: DeviceSet
  /// Import other devices' buffers.
  package let importing: DeviceSet
  package let importingOwnOnly: DeviceSet
  package let software: DeviceSet
  /// Those that can draw with a buffer, rather than only show it.
  package let rendering: DeviceSet
  package let dedicated: DeviceSet
  /// Heed NO_MOVE.
  package let honoured: DeviceSet
  /// Not yet asked what they can do.
  package let unassessed: DeviceSet
  package let exporting: DeviceSet
  /// Exports show `drm`.
  package let drmNamed: DeviceSet
  /// Buffers can only lie in system memory.
  package let systemOnly: DeviceSet
  /// Who imports a buffer of one of these is that one itself.
  let refusingAll: DeviceSet
  package let keepsRecord: DeviceSet
  /// Use each other's system memory where it lies.
  package let sharesSystemMemory: DeviceSet
  /// Attaching to their buffers wakes them.
  package let wakesAtAttach: DeviceSet
  /// primed's own choice of the primary device.
  package let primary: DeviceSlot?
  /// Of the devices that have gone since the start.
  package let goneDrivers: DriverSet
  /// Whether all that have gone could only export system memory.
  package let goneSystemOnly: Bool

  private let entries: [DeviceEntry?]
  private let drivers: [Driver]
  private let nodes: [DeviceNumber]
  private let cards: [DeviceNumber]
  private let ranks: [UInt8]
  private let unfit: [DeviceSet]
  private let unmoved: [DeviceSet]
  private let staying: [DeviceSet]
  private let kin: [DeviceSet]

  package init(
    _ entries: [DeviceEntry?] = [], goneDrivers: DriverSet = DriverSet(),
    pairs: PairTable = PairTable(), kernel: KernelVersion? = nil
  ) {
    precondition(entries.count <= DeviceSlot.limit)
    let ids = entries.map { DriverID($0?.description.driver ?? "") }
    func those(_ holds: (DeviceEntry, DriverID) -> Bool) -> DeviceSet {
      var set = DeviceSet()
      for (i, entry) in entries.enumerated() {
        if let entry, holds(entry, ids[i]) { set.insert(DeviceSlot(UInt8(i))) }
      }
      return set
    }
    self.entries = entries
    self.goneDrivers = goneDrivers
    goneSystemOnly = goneDrivers.allSatisfy { pairs.systemOnly(DriverID($0), kernel: kernel) }
    present = those { _, _ in true }
    let open = those { entry, _ in
      !entry.description.ignored && entry.description.node != nil
    }
    ready = those { entry, _ in entry.state == .ready }.intersection(open)
    silent = those { entry, _ in entry.state == .unresponsive }.intersection(open)
    awake = those { entry, _ in entry.description.power != .suspended }
    cardOnly = those { entry, _ in entry.description.render == nil }
    importing = those { entry, _ in entry.imports }
    importingOwnOnly = those { entry, _ in entry.importsOwnOnly }
    software = those { entry, _ in entry.description.role == .software }
    rendering = those { entry, _ in entry.description.renders }
    dedicated = those { entry, _ in entry.description.dedicatedMemory > 0 }
    honoured = those { entry, _ in entry.noMove == .honoured }
    unassessed = those { entry, _ in !entry.assessed }
    exporting = those { entry, _ in entry.description.exports }
    drmNamed = those { _, id in id.driver.exporterName == nil }.intersection(exporting)
    systemOnly = those { entry, id in
      pairs.systemOnly(id, kernel: kernel) || entry.description.isIntelIntegrated
    }
    refusingAll = those { _, id in pairs.refusesAll(id, kernel: kernel) }
    keepsRecord = those { _, id in id.driver.keepsRecord }
    sharesSystemMemory = those { _, id in id.driver.sharesSystemMemory }

    drivers = ids.map(\.driver)
    nodes = entries.map { $0?.description.node?.number ?? .none }
    cards = entries.map { $0?.description.primary?.number ?? .none }
    let ranking = Ranking(entries)
    primary = ranking.primary
    ranks = ranking.ranks
    let known = DriverPairs(ids, present, pairs, kernel)
    wakesAtAttach = known.waking
    unfit = ids.indices.map { exporter in
      var set = known.neverWork[ids[exporter]] ?? DeviceSet()
      set.remove(DeviceSlot(UInt8(exporter)))
      return set
    }
    let systemOnly = systemOnly
    unmoved = ids.map { (known.unmoved[$0] ?? DeviceSet()).union(systemOnly) }
    staying = ids.map { (known.staying[$0] ?? DeviceSet()).union(systemOnly) }
    kin = entries.indices.map { slot in
      guard let entry = entries[slot] else { return DeviceSet() }
      let slot = DeviceSlot(UInt8(slot))
      let inPlace = systemOnly.contains(slot) ? nil : known.inPlace[ids[Int(slot.index)]]
      return those { other, id in
        other.description.isPaired(with: entry.description)
          || id == ids[Int(slot.index)] && id.driver.isPeerToPeer
      }.union(DeviceSet(slot)).union(inPlace ?? DeviceSet())
    }
  }

  package subscript(slot: DeviceSlot) -> DeviceEntry? {
    Int(slot.index) < entries.count ? entries[Int(slot.index)] : nil
  }
  package func driver(of slot: DeviceSlot) -> Driver { drivers[Int(slot.index)] }
  /// The number that answers name: the render node's where there is one.
  package func number(of slot: DeviceSlot) -> DeviceNumber { nodes[Int(slot.index)] }
  /// Importers that are known to fail on this one's buffers, or to hang when they use them.
  package func unfit(for exporter: DeviceSlot) -> DeviceSet { unfit[Int(exporter.index)] }
  /// Exporters whose buffers neither an import into this one nor their use moves.
  package func unmoved(by importer: DeviceSlot) -> DeviceSet { unmoved[Int(importer.index)] }
  /// Exporters whose buffers an import into this one leaves where they are; their use may move them.
  package func staying(in importer: DeviceSlot) -> DeviceSet { staying[Int(importer.index)] }
  /// Those that may reach this one's dedicated memory: itself, its other half, its peers, and whom the
  /// pair table says it of.
  package func kin(of slot: DeviceSlot) -> DeviceSet { kin[Int(slot.index)] }

  /// The device that either node's number names.
  package func slot(of number: DeviceNumber) -> DeviceSlot? {
    guard number != .none else { return nil }
    for slot in present
    where nodes[Int(slot.index)] == number || cards[Int(slot.index)] == number {
      return slot
    }
    return nil
  }

  package func devices(of driver: Driver) -> DeviceSet {
    var set = DeviceSet()
    for slot in present where drivers[Int(slot.index)] == driver { set.insert(slot) }
    return set
  }

  /// The first of a set in stable order: the primary device, then by stable id.
  package func first(of set: DeviceSet) -> DeviceSlot? {
    var best: DeviceSlot?
    for slot in set {
      if let b = best, ranks[Int(b.index)] <= ranks[Int(slot.index)] { continue }
      best = slot
    }
    return best
  }
  package func rank(of slot: DeviceSlot) -> UInt8 { ranks[Int(slot.index)] }
}

/// What the pair table says of a machine's drivers: machines have few of them, though many devices.
private struct DriverPairs {
  /// By exporter: importers that fail or hang; those that use its buffers where they lie.
  private(set) var neverWork: [DriverID: DeviceSet] = [:]
  private(set) var inPlace: [DriverID: DeviceSet] = [:]
  /// Exporters that some importer's attachment wakes.
  private(set) var waking = DeviceSet()
  /// By importer: exporters, as the table's functions of these names say.
  private(set) var unmoved: [DriverID: DeviceSet] = [:]
  private(set) var staying: [DriverID: DeviceSet] = [:]

  init(_ ids: [DriverID], _ present: DeviceSet, _ table: PairTable, _ kernel: KernelVersion?) {
    var devices: [DriverID: DeviceSet] = [:]
    for slot in present { devices[ids[Int(slot.index)], default: DeviceSet()].insert(slot) }
    func note(_ set: DeviceSet, _ key: DriverID, _ into: inout [DriverID: DeviceSet]) {
      into[key] = set.union(into[key] ?? DeviceSet())
    }
    for (exporter, exporters) in devices {
      for (importer, importers) in devices {
        let row = table.row(exporter: exporter, importer: importer, kernel: kernel)
        if row?.attach == .wakes { waking = waking.union(exporters) }
        if row?.neverWorks == true { note(importers, exporter, &neverWork) }
        if table.neverMoves(exporter: exporter, importer: importer, kernel: kernel) {
          if row?.neverWorks == false { note(importers, exporter, &inPlace) }
          note(exporters, importer, &unmoved)
        }
        if table.stays(exporter: exporter, importer: importer, kernel: kernel) {
          note(exporters, importer, &staying)
        }
      }
    }
  }
}

extension DeviceDescription {
  /// Can draw: a render node, or hardware that is said to (old drivers render through the card node).
  package var renders: Bool {
    switch role {
    case .render: true
    case .split, .display: render != nil
    case .sink, .software: false
    }
  }

  /// Intel's integrated GPU is always the function 00:02.0 and has no memory of its own.
  var isIntelIntegrated: Bool {
    (driver == "i915" || driver == "xe") && dedicatedMemory == 0
      && sysfsPath.hasSuffix("/0000:00:02.0")
  }

  func isPaired(with other: DeviceDescription) -> Bool {
    pairedWith == other.stableID || other.pairedWith == stableID
  }
}
