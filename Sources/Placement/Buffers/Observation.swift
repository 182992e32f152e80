// One observation of one dma-buf: the results of all its probes, added in any order.

package struct Observation: Sendable {
  package var name = ExporterName.unknown
  package var introspection: Introspection?
  package private(set) var reached = DeviceSet()
  package private(set) var wouldMove = DeviceSet()
  package private(set) var failing = DeviceSet()
  /// Devices that imported it, and may move it at their first use.
  private var attached = DeviceSet()
  /// Devices that were asked in this observation, also those that did not answer.
  package private(set) var asked = DeviceSet()
  /// Devices whose own record says that the buffer was allocated for dedicated memory, and for
  /// system memory.
  package private(set) var recordedDedicated = DeviceSet()
  package private(set) var recordedSystem = DeviceSet()

  package init() {}

  /// `forRecord`: as ProbePlan.records asked.
  package mutating func add(
    _ outcome: ProbeOutcome, of slot: DeviceSlot, forRecord: Bool = false
  ) {
    asked.insert(slot)
    switch outcome {
    case .reached(let record):
      if forRecord && record != .preferred(.dedicated) {
        attached.insert(slot)
      } else {
        reached.insert(slot)
      }
      if record == .preferred(.dedicated) { recordedDedicated.insert(slot) }
      if record == .preferred(.system) { recordedSystem.insert(slot) }
    case .wouldMove: wouldMove.insert(slot)
    case .refused: failing.insert(slot)
    case .asleep, .exporterAway, .gone, .unopened, .timedOut: break
    }
  }

  /// The device in this slot is no longer the one that was asked.
  package mutating func scrub(_ slot: DeviceSlot) {
    reached.remove(slot)
    attached.remove(slot)
    wouldMove.remove(slot)
    failing.remove(slot)
    asked.remove(slot)
    recordedDedicated.remove(slot)
    recordedSystem.remove(slot)
  }

  /// By each source, the strongest first: where two contradict each other, the first one holds.
  /// `any`: what may have exported the buffer before anything is known.
  package func narrow(
    _ evidence: inout ExporterEvidence, any: ExporterSet, among devices: DeviceTable
  ) {
    if !recordedDedicated.isEmpty {
      evidence.narrow(to: ExporterSet(recordedDedicated), by: .record)
    }
    if let introspection {
      evidence.narrow(to: devices.exporter(introspection, named: name), by: .introspection)
    }
    let importers = reached.union(attached).union(wouldMove)
    if !importers.isEmpty && !devices.refusingAll.isEmpty {
      // A device imported it. An exporter that refuses all other devices' attachments can have
      // exported it only if the importer is that exporter itself.
      let own = importers.count == 1 ? importers : DeviceSet()
      var rest = any
      rest.devices = rest.devices.subtracting(devices.refusingAll.subtracting(own))
      evidence.narrow(to: rest, by: .refusals)
    }
    if !wouldMove.isEmpty {
      // An import would move it, so it lies in dedicated memory, and its exporter has such memory.
      var rest = any.intersection(
        ExporterSet(devices.exporting, beyond: [.gone, .anything, .otherModule]))
      rest.devices = rest.devices.subtracting(devices.systemOnly).subtracting(wouldMove)
      evidence.narrow(to: rest, by: .refusals)
    }
    let own = reached.intersection(devices.importingOwnOnly)
    if !own.isEmpty { evidence.narrow(to: ExporterSet(own), by: .refusals) }
    let notOwn = failing.intersection(devices.importingOwnOnly)
    if !notOwn.isEmpty {
      evidence.narrow(
        to: ExporterSet(any.devices.subtracting(notOwn), beyond: any.beyond), by: .refusals)
    }
    if let named = devices.exporters(named: name) { evidence.narrow(to: named, by: .name) }
    narrow(&evidence, byWhatItsTakersCanImport: devices)
  }

  /// Leaves out exporters whose buffers one of the importers is known to refuse. If that would
  /// leave no exporter, the pair table is wrong about this kernel, and is not heeded.
  private func narrow(
    _ evidence: inout ExporterEvidence, byWhatItsTakersCanImport devices: DeviceTable
  ) {
    let taken = reached.union(attached)
    var rest = evidence.candidates
    rest.devices = rest.devices.filter {
      devices.importers(of: $0, in: .unknown).refused.intersection(taken).isEmpty
    }
    if !rest.devices.isEmpty { evidence.narrow(to: rest, by: .refusals) }
  }

  /// The memory that the buffer lies in now, as far as this observation tells. Reach shows that it
  /// lies in system memory only if a device reached it that can't reach the exporter's own memory.
  package func residency(exporters: ExporterSet, among devices: DeviceTable) -> Memory {
    if let introspection, introspection.residency != .unknown { return introspection.residency }
    if devices.onlySystem(exporters) { return .system }
    if !wouldMove.isEmpty { return .dedicated }
    if exporters.isInUnknownMemory { return .unknown }
    for slot in exporters.devices where reached.subtracting(devices.kin(of: slot)).isEmpty {
      return .unknown
    }
    return reached.isEmpty ? .unknown : .system
  }

  /// The devices whose buffer this would be in system memory, if they exported it: those whose own
  /// record says so; or all, if introspection says that it was allocated for system memory and does
  /// not say that it lies elsewhere. No import moves such a buffer, whatever the drivers.
  package func inSystemMemory(among devices: DeviceTable) -> DeviceSet {
    if let introspection, introspection.preferred == .system,
      introspection.residency != .dedicated
    {
      return devices.present
    }
    return recordedSystem
  }

  /// Whether it lies in system memory whichever of the possible exporters it has: by the driver's
  /// row, or by that device's own record.
  package func isOfSystemMemory(exporters: ExporterSet, among devices: DeviceTable) -> Bool {
    devices.staysPut(
      exporters, where: devices.systemOnly.union(inSystemMemory(among: devices)))
  }

  /// Devices that can use it where it lies. A buffer that belongs in system memory is not moved by
  /// use either, so those that only imported it count, too.
  package func reaching(exporters: ExporterSet, among devices: DeviceTable) -> DeviceSet {
    isOfSystemMemory(exporters: exporters, among: devices) ? reached.union(attached) : reached
  }

  /// The memory that the exporter allocated the buffer for. Importers record system memory for
  /// every buffer, so that record counts only if all possible exporters have it.
  package func intention(exporters: ExporterSet) -> Memory {
    if !recordedDedicated.isEmpty { return .dedicated }
    if !exporters.devices.isEmpty && !exporters.beyond.contains(.gone)
      && exporters.devices.subtracting(recordedSystem).isEmpty
    {
      return .system
    }
    return introspection?.preferred ?? .unknown
  }
}

extension DeviceTable {
  func exporter(_ seen: Introspection, named name: ExporterName) -> ExporterSet {
    if seen.card == .none && seen.render == .none {
      // An exporter that is no DRM device need not hand out system memory (vfio-pci, nvidia.ko).
      return ExporterSet(DeviceSet(), beyond: name.isSystemMemory ? .noDevice : name.unknownModule)
    }
    guard seen.registered, let slot = slot(of: seen.render) ?? slot(of: seen.card) else {
      return ExporterSet(DeviceSet(), beyond: .gone)
    }
    return ExporterSet(DeviceSet(slot))
  }

  /// Whether all that may have exported a buffer can only hold it in system memory.
  package func onlySystem(_ exporters: ExporterSet) -> Bool {
    staysPut(exporters, where: systemOnly)
  }

  /// Whether all that may have exported a buffer are of these, or could only hold it in system
  /// memory.
  func staysPut(_ exporters: ExporterSet, where staying: DeviceSet) -> Bool {
    exporters.devices.subtracting(staying).isEmpty
      && (!exporters.beyond.contains(.gone) || goneSystemOnly && goneDrivers != DriverSet())
      && !exporters.isInUnknownMemory && !exporters.isEmpty
  }
}
