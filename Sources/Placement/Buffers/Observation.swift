// One observation of one dma-buf: everything that it brought home, gathered in any order.

package struct Observation: Sendable {
  package var name = ExporterName.unknown
  package var introspection: Introspection?
  package private(set) var reached = DeviceSet()
  package private(set) var wouldMove = DeviceSet()
  package private(set) var failing = DeviceSet()
  /// Imported it, but may move it when it uses it.
  private var attached = DeviceSet()
  /// Asked in this observation, whatever came of it.
  package private(set) var asked = DeviceSet()
  /// Whose own record says that the buffer was meant for dedicated memory; for system memory.
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

  /// Each source in turn, the strongest first, so that a weaker one can't shut a stronger one out.
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
      // Somebody was let at it: of those who let nobody, only that one itself is left.
      let own = importers.count == 1 ? importers : DeviceSet()
      var rest = any
      rest.devices = rest.devices.subtracting(devices.refusingAll.subtracting(own))
      evidence.narrow(to: rest, by: .refusals)
    }
    if !wouldMove.isEmpty {
      // It lies in dedicated memory: its exporter has some.
      var rest = any.intersection(
        ExporterSet(devices.exporting, beyond: [.gone, .anything, .stranger]))
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

  /// One of those that took it can't have taken a buffer whose import is known to be refused. Where
  /// that would leave nobody, it is the row that is wrong.
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

  /// The memory that the buffer lies in now, as far as this observation tells. That it lies in
  /// system memory shows only in a device that can't reach the exporter's own.
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

  /// Of those that may have exported it, whose it would be in system memory: by its own record, or
  /// since the kernel itself says that the buffer belongs there and does not say that it lies
  /// elsewhere. No import moves it then, whatever drivers these are.
  package func inSystemMemory(among devices: DeviceTable) -> DeviceSet {
    if let introspection, introspection.preferred == .system,
      introspection.residency != .dedicated
    {
      return devices.present
    }
    return recordedSystem
  }

  /// Whether each device that may be the exporter can only have it in system memory, by its nature
  /// or by its own record.
  package func isOfSystemMemory(exporters: ExporterSet, among devices: DeviceTable) -> Bool {
    devices.staysPut(
      exporters, where: devices.systemOnly.union(inSystemMemory(among: devices)))
  }

  /// Those that can use it where it lies. What belongs in system memory lies there, whoever of
  /// those that imported it is the exporter.
  package func reaching(exporters: ExporterSet, among devices: DeviceTable) -> DeviceSet {
    isOfSystemMemory(exporters: exporters, among: devices) ? reached.union(attached) : reached
  }

  /// What the exporter itself says that the buffer was meant for. Importers record system memory
  /// too, so that counts only if all that may be the exporter say so.
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
      // Not every exporter that is no DRM device hands out system memory (vfio-pci, nvidia.ko).
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
