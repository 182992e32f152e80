// What every device could do with one plane: its facts, completed from the driver table where no
// device could be asked. Sets of slots; nothing here allocates.
//
// The modifier comes from the asker. It may choose between the exporters that the kernel's evidence
// leaves, and say which devices can't read the plane, but no import is permitted because of it.

struct PlaneReach {
  /// Devices that may have exported it.
  private(set) var exporters: ExporterSet
  /// The exporter, if it is certain.
  let exporter: DeviceSlot?
  /// The exporter by weaker evidence: the only possible one that is present, or that can draw.
  let likely: DeviceSlot?
  /// Where the exporter is not certain: those that may have exported it from memory of their own.
  /// Empty where the asker says nothing of the buffer: it gets its default.
  let owners: DeviceSet
  let home: Memory
  private(set) var confidence: Confidence

  /// The exporter, if it imports its own buffers.
  let native: DeviceSet
  /// Devices that reach it without a move where it belongs.
  private(set) var inPlace: DeviceSet
  /// Those of `inPlace` of which only the table says so.
  private(set) var byRow = DeviceSet()
  /// Devices of which it is unknown what an import would do, except that it can't move the plane.
  private(set) var unknown: DeviceSet
  /// Devices known to move it.
  private(set) var moving: DeviceSet
  /// Devices known to fail, to hang, or not to read the layout.
  private(set) var unreachable: DeviceSet
  /// Those of `unreachable` on which use hangs.
  private(set) var hanging: DeviceSet
  /// Devices on which use hangs if one of several possible exporters exported it.
  private(set) var risky: DeviceSet
  /// Devices that can't be chosen, since an import there can't succeed or must not be tried.
  private(set) var unfit: DeviceSet

  init(_ facts: BufferFacts, _ asker: QueryContext, among devices: borrowing DeviceTable) {
    confidence = facts.confidence
    home = facts.home
    exporters = Self.exporters(facts, asker.modifier, &confidence, devices)
    exporter = exporters.certain
    likely = exporters.likely ?? exporters.only(of: devices.rendering.intersection(devices.ready))
    let mayImport = devices.importing.union(
      devices.importingOwnOnly.intersection(exporters.devices))
    let failing = facts.failing.union(devices.named.subtracting(mayImport))
    native = (exporter.map { DeviceSet($0) } ?? DeviceSet()).subtracting(failing)

    (hanging, unreachable, risky) = Self.faults(exporters, home, devices)
    unreachable = unreachable.union(hanging)
    if !asker.layoutChecked, let modifier = asker.modifier {
      unreachable = unreachable.union(devices.blind(to: modifier))
    }
    unreachable = unreachable.subtracting(native).union(failing)
    risky = risky.subtracting(unreachable).subtracting(native)

    let asked = facts.asked
    byRow = Self.byRow(exporters, home, devices).subtracting(asked)
    let cutOff = home == .dedicated ? exporter.map { devices.cutOff(from: $0) } : nil
    inPlace = facts.reachedAtHome.subtracting(cutOff ?? DeviceSet()).union(byRow)
      .subtracting(native).subtracting(unreachable).subtracting(risky)
    byRow = byRow.intersection(inPlace)

    unfit = unreachable.union(risky)
      .union(devices.importingOwnOnly.subtracting(native))
    owners =
      exporter == nil && asker.describesBuffer
      ? exporters.devices.subtracting(devices.systemOnly)
        .subtracting(facts.recordedSystem(among: devices)) : DeviceSet()
    unknown = risky
    if !owners.isEmpty { unknown = unknown.union(Self.harmless(exporters, owners, devices)) }
    let liesInSystemMemory = facts.home == .system && facts.homeIsCertain
    if liesInSystemMemory || devices.onlySystem(facts.exporters.candidates) {
      unknown = devices.present
    }
    moving = facts.refused
    if home == .dedicated, let exporter {
      moving = moving.union(
        devices.importers(of: exporter, in: .dedicated).moving
          .subtracting(devices.kin(of: exporter)))
    }
    if !asker.layoutChecked, asker.modifier == implicitModifier { keepToDriver(devices) }
  }

  /// Devices whose drivers can scan it out: the exporter's, and for a plane in system memory also
  /// others.
  func scannable(_ asker: QueryContext, among devices: DeviceTable) -> DeviceSet {
    guard home == .system else { return native }
    var others = devices.scansOutImports
    // Of a driver whose layouts are not known no tiling is claimed.
    if !asker.layoutChecked, let modifier = asker.modifier,
      let tiling = devices.devices(tilingWith: modifier)
    {
      others = others.intersection(tiling)
    }
    return native.union(others)
  }

  /// Only the exporter's driver knows an implicit layout, except where an exporter with dedicated
  /// memory put the plane into system memory: it is then linear, a copy for another device.
  private mutating func keepToDriver(_ devices: DeviceTable) {
    guard !exporters.devices.isEmpty else { return }
    var knowing = devices.present
    for slot in exporters.devices {
      if home == .system && devices.dedicated.contains(slot) { continue }
      knowing = knowing.intersection(devices.devices(of: devices.driver(of: slot)))
    }
    unknown = unknown.union(inPlace.subtracting(knowing))
    inPlace = inPlace.intersection(knowing)
    byRow = byRow.intersection(knowing)
  }

  // MARK: What follows from the exporters

  private static func exporters(
    _ facts: BufferFacts, _ modifier: UInt64?, _ confidence: inout Confidence,
    _ devices: DeviceTable
  ) -> ExporterSet {
    var exporters = facts.exporters.candidates
    // A device never fails to import what it exported. This permits no import: the real exporter
    // may have gone.
    let sound = exporters.devices.subtracting(facts.failing)
    if !sound.isEmpty { exporters.devices = sound }
    if exporters.certain == nil, let modifier, let tiling = devices.devices(tilingWith: modifier) {
      let narrowed = exporters.devices.intersection(tiling)
      if !narrowed.isEmpty {
        exporters.devices = narrowed
        if !devices.mayHaveGone(tilingWith: modifier) { exporters.beyond.remove(.gone) }
      }
      if exporters.certain != nil { confidence = max(confidence, .state) }
    }
    return exporters
  }

  /// Devices that don't move it, whichever of these exported it.
  private static func harmless(
    _ exporters: ExporterSet, _ owners: DeviceSet, _ devices: DeviceTable
  ) -> DeviceSet {
    guard devices.staysPut(exporters, where: exporters.devices) else { return DeviceSet() }
    var set = devices.present
    for owner in owners {
      set = set.intersection(devices.unmoving(of: owner).union(DeviceSet(owner)))
    }
    return set
  }

  /// Devices known to hang; known to fail; known to hang for one of several possible exporters.
  private static func faults(
    _ exporters: ExporterSet, _ home: Memory, _ devices: DeviceTable
  ) -> (hanging: DeviceSet, failing: DeviceSet, risky: DeviceSet) {
    if let exporter = exporters.certain {
      let importers = devices.importers(of: exporter, in: home)
      guard home == .unknown, !importers.hanging.isEmpty else {
        return (importers.hanging, importers.failing, DeviceSet())
      }
      let certain = devices.importers(of: exporter, in: .dedicated).hanging
        .intersection(devices.importers(of: exporter, in: .system).hanging)
      return (certain, importers.failing, importers.hanging.subtracting(certain))
    }
    var risky = exporters.beyond.contains(.gone) ? devices.hangingOnGone : DeviceSet()
    let possible = exporters.isAnyones ? devices.exporting : exporters.devices
    for slot in possible {
      risky = risky.union(devices.importers(of: slot, in: home).hanging)
    }
    return (DeviceSet(), DeviceSet(), risky)
  }

  /// Devices that use it where it belongs, for each of the possible exporters.
  private static func byRow(
    _ exporters: ExporterSet, _ home: Memory, _ devices: DeviceTable
  ) -> DeviceSet {
    guard home != .unknown, !exporters.isEmpty, !exporters.isInUnknownMemory,
      !exporters.beyond.contains(.gone)
    else {
      return DeviceSet()
    }
    // A buffer of no device lies in system memory.
    var set =
      exporters.beyond.contains(.noDevice)
      ? devices.importing.intersection(devices.readingSystemMemory) : devices.present
    for slot in exporters.devices {
      var reaching = devices.importers(of: slot, in: home).inPlace
      reaching.insert(slot)
      set = set.intersection(reaching)
    }
    return set
  }
}

extension ExporterSet {
  /// The only one of these that may have exported it.
  fileprivate func only(of some: DeviceSet) -> DeviceSlot? { devices.intersection(some).only }
}
