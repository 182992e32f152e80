// The machine's devices at one generation, as the policy and the probe plan use them: sets of
// slots, computed when a device changes so that no query has to. Immutable.

package final class DeviceTable: Sendable {
  /// All devices that are there, also released and unresponsive ones.
  package let present: DeviceSet
  /// Devices that an answer can name.
  package let named: DeviceSet
  /// May be chosen and asked: responsive, not ignored, with a node.
  package let ready: DeviceSet
  /// Like `ready`, but the driver does not answer.
  package let silent: DeviceSet
  package let released: DeviceSet
  /// Devices whose nodes primed can't open.
  package let unopenable: DeviceSet
  package let awake: DeviceSet
  /// Devices that primed's own calls don't wake.
  package let undisturbed: DeviceSet
  /// Devices that have a card node only.
  package let cardOnly: DeviceSet
  /// Devices that import other devices' buffers.
  package let importing: DeviceSet
  package let importingOwnOnly: DeviceSet
  package let software: DeviceSet
  /// Devices that can draw with a buffer, and not only show it.
  package let rendering: DeviceSet
  /// Devices known to map scattered pages of system memory.
  package let readingSystemMemory: DeviceSet
  /// Devices that have outputs.
  package let displaying: DeviceSet
  package let dedicated: DeviceSet
  /// Devices that heed NO_MOVE.
  package let honoured: DeviceSet
  /// Devices that have not been assessed yet.
  package let unassessed: DeviceSet
  package let exporting: DeviceSet
  /// Devices whose buffers can lie in system memory only.
  package let systemOnly: DeviceSet
  /// Devices whose buffers no other device can import: an importer of such a buffer is its
  /// exporter.
  package let refusingAll: DeviceSet
  package let keepsRecord: DeviceSet
  /// Devices that scan out what other devices exported from system memory.
  package let scansOutImports: DeviceSet
  /// Devices known not to draw into what other devices exported.
  package let readsImportsOnly: DeviceSet
  /// Devices that an attachment to one of their buffers wakes.
  package let wakesAtAttach: DeviceSet
  /// The primary device that primed chose.
  package let primary: DeviceSlot?
  /// Drivers of the devices that have gone since the start.
  package let goneDrivers: DriverSet
  /// A buffer with this inode or a higher one was not exported by a device that has gone.
  package let goneBefore: UInt64
  /// Whether all devices that have gone could export system memory only.
  package let goneSystemOnly: Bool

  private let entries: [DeviceEntry?]
  private let ids: [DriverID]
  private let nodes: [DeviceNumber]
  private let cards: [DeviceNumber]
  private let ranks: [UInt8]
  private let peers: PeerSets
  private let effects: DriverEffects
  private let layouts: LayoutSets
  let exporterNames: ExporterNames

  package init(
    _ entries: [DeviceEntry?] = [], goneDrivers: DriverSet = DriverSet(), goneBefore: UInt64 = .max,
    pairs: PairTable = PairTable(), kernel: KernelVersion? = nil
  ) {
    precondition(entries.count <= DeviceSlot.limit)
    let ids = entries.map { $0.map { DriverID($0.description) } ?? DriverID(.other) }
    let those = DeviceSelection(entries, ids)
    self.entries = entries
    self.ids = ids
    nodes = entries.map { $0?.description.node?.number ?? .none }
    cards = entries.map { $0?.description.primary?.number ?? .none }

    present = those { _, _ in true }
    named = those { entry, _ in entry.description.node != nil }
    let open = those { entry, _ in
      !entry.description.ignored && entry.description.node != nil
    }
    ready = those { entry, _ in entry.state == .ready }.intersection(open)
    silent = those { entry, _ in entry.state == .unresponsive }.intersection(open)
    released = those { entry, _ in entry.state == .released }
    unopenable = those { entry, _ in entry.unopenable }
    awake = those { entry, _ in entry.description.power != .suspended }
    undisturbed = those { _, info in !info.wakesWhenAsked }
    cardOnly = those { entry, _ in entry.description.render == nil }
    importing = those { entry, info in entry.imports && !entry.refusesImports(info, kernel) }
    importingOwnOnly = those { entry, info in
      entry.importsOwnOnly
        || entry.imports && entry.description.exports && entry.refusesImports(info, kernel)
    }
    software = those { entry, _ in entry.description.role == .software }
    rendering = those { entry, _ in entry.description.renders }
    displaying = those { entry, _ in
      !entry.description.connectors.isEmpty || [.display, .sink].contains(entry.description.role)
    }
    readingSystemMemory = those { _, info in info.readsSystemMemory }
    dedicated = those { entry, _ in entry.description.dedicatedMemory > 0 }
    honoured = those { entry, _ in entry.noMove == .honoured }
    unassessed = those { entry, _ in !entry.assessed && entry.imports }
    exporting = those { entry, _ in entry.description.exports }
    keepsRecord = those { _, info in info.keepsRecord }
    scansOutImports = those { entry, info in info.scansOutImports(of: entry.description) }
    readsImportsOnly = those { _, info in !info.rendersIntoImports }
    exporterNames = ExporterNames(ids, exporting, gone: goneDrivers, kernel)
    layouts = LayoutSets(those)

    let ranking = Ranking(entries, importing: importing)
    primary = ranking.primary
    ranks = ranking.ranks

    func rows(of driver: DriverID) -> ExporterRows { pairs.rows(of: driver, kernel: kernel) }
    let rowsHere = Dictionary(ids.map { ($0, rows(of: $0)) }) { first, _ in first }
    func rows(of entry: DeviceEntry) -> ExporterRows { rowsHere[DriverID(entry.description)]! }
    let rowsGone = goneDrivers.map { rows(of: DriverID($0)) }
    systemOnly = those { entry, _ in
      rows(of: entry).systemOnly(isIntegrated: entry.description.hasNoMemoryOfItsOwn)
    }
    refusingAll = those { entry, _ in rows(of: entry).refusesAll }
    effects = DriverEffects(ids, present, systemOnly: systemOnly, rowsHere, gone: rowsGone)
    wakesAtAttach = effects.waking
    peers = PeerSets(those, effects, systemOnly: systemOnly, kernel)

    self.goneDrivers = goneDrivers
    self.goneBefore = goneBefore
    goneSystemOnly = rowsGone.allSatisfy { $0.systemOnly() }
  }

  package subscript(slot: DeviceSlot) -> DeviceEntry? {
    Int(slot.index) < entries.count ? entries[Int(slot.index)] : nil
  }
  package func driver(of slot: DeviceSlot) -> Driver { ids[Int(slot.index)].driver }
  /// The number that answers give: the render node's where there is one.
  package func number(of slot: DeviceSlot) -> DeviceNumber { nodes[Int(slot.index)] }

  // MARK: What imports do

  /// What importers do to this exporter's buffers in this memory.
  package func importers(of exporter: DeviceSlot, in memory: Memory) -> ImporterSets {
    effects.importers(of: exporter, in: memory)
  }
  /// Importers on which use hangs if the buffer's exporter has gone.
  package var hangingOnGone: DeviceSet { effects.hangingOnGone }
  /// Exporters whose buffers are moved neither by an import into `importer` nor by their use there.
  package func unmoved(by importer: DeviceSlot) -> DeviceSet { effects.unmoved(by: importer) }
  /// Importers that don't move this one's buffers, neither by the import nor by their use.
  package func unmoving(of exporter: DeviceSlot) -> DeviceSet { effects.unmoving(of: exporter) }
  /// Exporters whose buffers an import into `importer` does not move; their use may move them.
  package func staying(in importer: DeviceSlot) -> DeviceSet { effects.staying(in: importer) }
  /// Devices that may reach this one's dedicated memory: itself, its other half, its peers, and
  /// those that the pair table names.
  package func kin(of slot: DeviceSlot) -> DeviceSet { peers.kin(of: slot) }
  /// Peers that can't reach this one's memory while it sleeps, but could if it were awake.
  func cutOff(from slot: DeviceSlot) -> DeviceSet { peers.cutOff(from: slot) }

  // MARK: Layouts

  /// Devices that can't read this layout, since it is a tiling of another vendor.
  package func blind(to modifier: UInt64) -> DeviceSet { layouts.blind(to: modifier) }
  /// Devices whose hardware uses this tiling; nil: LINEAR, INVALID, or a layout of no device here.
  package func devices(tilingWith modifier: UInt64) -> DeviceSet? {
    layouts.devices(tilingWith: modifier)
  }
  /// Whether a device that has gone may have used this tiling.
  func mayHaveGone(tilingWith modifier: UInt64) -> Bool {
    guard let vendor = LayoutVendor(rawValue: UInt8(modifier >> 56)) else { return true }
    return goneDrivers.contains { $0.info.reads(layoutOf: vendor) }
  }

  // MARK: Look-up

  /// The device with this render or card node number.
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
    for slot in present where self.driver(of: slot) == driver { set.insert(slot) }
    return set
  }

  /// Devices that sleep, and for which `asleepSince` is known.
  package var sleeping: DeviceSet {
    var set = DeviceSet()
    for slot in present where self[slot]?.asleepSince != nil && allocatesAwakeOnly(slot) {
      set.insert(slot)
    }
    return set
  }
  package func asleepSince(_ slot: DeviceSlot) -> UInt64 { self[slot]?.asleepSince ?? .max }

  /// Whether exporting a buffer wakes it, as far as is known.
  private func allocatesAwakeOnly(_ slot: DeviceSlot) -> Bool {
    let driver = driver(of: slot)
    return driver != .other && driver.info.wakes?.contains(.ioctl) ?? true
  }

  /// The first of a set in stable order: the primary device, then by stable ID.
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

extension DeviceDescription {
  /// Whether it can draw: it has a render node, or a role that implies it (old drivers render
  /// through the card node).
  package var renders: Bool {
    switch role {
    case .render: true
    case .split, .display: render != nil
    case .sink, .software: false
    }
  }

  /// Integrated, and without a carve-out of system memory that counts as dedicated.
  var hasNoMemoryOfItsOwn: Bool { dedicatedMemory == 0 && isIntegrated == true }

  /// nil: unknown.
  package var isIntegrated: Bool? {
    if let integrated { return integrated }
    guard let function = row.info.integratedFunction else { return nil }
    return sysfsPath.hasSuffix("/" + function) ? true : nil
  }
}

extension DeviceEntry {
  /// By its driver's row, unless imports were seen: virtio_gpu imports where it has blobs and no
  /// virgl.
  fileprivate func refusesImports(_ info: DriverInfo, _ kernel: KernelVersion?) -> Bool {
    importsSeen != true && info.refusesImports?.contains(kernel) == true
  }
}
