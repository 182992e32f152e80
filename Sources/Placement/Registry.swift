// The devices that are there: applies what udev or a scenario tells and says what changed. Pure; the
// slots of devices that have gone are used again.

package struct RegistryChange: Sendable, Equatable {
  package enum Kind: Sendable { case added, changed, removed }
  package var kind: Kind
  package var slot: DeviceSlot
  /// As it is now; for `removed`, as it was.
  package var entry: DeviceEntry
  /// Answers may be other ones now.
  package var matters: Bool
}

package struct Registry: Sendable {
  package private(set) var entries: [DeviceEntry?] = []
  package private(set) var goneDrivers = DriverSet()
  /// Stable ids of what is released, whether it is there or not: a device that comes back while its
  /// guard is held stays closed, and its numbers may be another's by then.
  private var released: Set<String> = []

  package init() {}

  package subscript(slot: DeviceSlot) -> DeviceEntry? {
    Int(slot.index) < entries.count ? entries[Int(slot.index)] : nil
  }

  package func slot(ofSysfsPath path: String) -> DeviceSlot? {
    entries.firstIndex { $0?.description.sysfsPath == path }.map { DeviceSlot(UInt8($0)) }
  }

  // MARK: What is told

  /// A device appeared, or something of it changed. A driver or a node that became another one is
  /// another device at the same place. Returns nothing where nothing changed, or where there is no
  /// slot left.
  package mutating func apply(_ description: DeviceDescription) -> [RegistryChange] {
    guard let slot = slot(ofSysfsPath: description.sysfsPath), let old = self[slot] else {
      return insert(description).map { [$0] } ?? []
    }
    if old.description == description { return [] }
    if !old.description.isSameDevice(as: description) {
      return remove(sysfsPath: description.sysfsPath) + apply(description)
    }
    var entry = old
    entry.description = description
    return [replace(slot, entry, matters: !old.description.decidesAs(description))]
  }

  package mutating func remove(sysfsPath: String) -> [RegistryChange] {
    guard let slot = slot(ofSysfsPath: sysfsPath), var entry = self[slot] else { return [] }
    goneDrivers.insert(Driver(name: entry.description.driver))
    entries[Int(slot.index)] = nil
    entry.state = .gone
    return [RegistryChange(kind: .removed, slot: slot, entry: entry, matters: true)]
  }

  /// These are all the devices there are.
  package mutating func replaceAll(by descriptions: [DeviceDescription]) -> [RegistryChange] {
    var changes: [RegistryChange] = []
    let paths = Set(descriptions.map(\.sysfsPath))
    for case let entry? in entries where !paths.contains(entry.description.sysfsPath) {
      changes += remove(sysfsPath: entry.description.sysfsPath)
    }
    for description in descriptions { changes += apply(description) }
    return changes
  }

  // MARK: What is found out

  package mutating func set(_ power: Power, of slot: DeviceSlot) -> RegistryChange? {
    change(slot) { $0.description.power = power }
  }

  package mutating func set(_ state: DeviceState, of slot: DeviceSlot) -> RegistryChange? {
    change(slot) { $0.state = state }
  }

  package mutating func set(noMove: NoMove, imports: Bool, of slot: DeviceSlot) -> RegistryChange? {
    change(slot, matters: noMove == .honoured || !imports) {
      $0.noMove = noMove
      $0.importsSeen = imports
    }
  }

  // MARK: Release

  package mutating func release(_ slot: DeviceSlot) -> RegistryChange? {
    guard let description = self[slot]?.description else { return nil }
    released.insert(description.stableID)
    return set(.released, of: slot)
  }

  /// The device may be used again, if it is there.
  package mutating func unrelease(
    _ stableID: String, as state: DeviceState = .ready
  ) -> RegistryChange? {
    guard released.remove(stableID) != nil else { return nil }
    let index = entries.firstIndex {
      $0?.description.stableID == stableID && $0?.state == .released
    }
    return index.flatMap { set(state, of: DeviceSlot(UInt8($0))) }
  }

  // MARK: Steps

  private mutating func insert(_ description: DeviceDescription) -> RegistryChange? {
    let free = entries.firstIndex { $0 == nil } ?? entries.count
    guard free < DeviceSlot.limit else { return nil }
    if free == entries.count { entries.append(nil) }
    var entry = DeviceEntry(description)
    if released.contains(description.stableID) { entry.state = .released }
    entries[free] = entry
    return RegistryChange(
      kind: .added, slot: DeviceSlot(UInt8(free)), entry: entry, matters: true)
  }

  private mutating func change(
    _ slot: DeviceSlot, matters: Bool = true, _ edit: (inout DeviceEntry) -> Void
  ) -> RegistryChange? {
    guard let old = self[slot] else { return nil }
    var entry = old
    edit(&entry)
    return entry == old ? nil : replace(slot, entry, matters: matters)
  }

  private mutating func replace(
    _ slot: DeviceSlot, _ entry: DeviceEntry, matters: Bool
  ) -> RegistryChange {
    entries[Int(slot.index)] = entry
    return RegistryChange(kind: .changed, slot: slot, entry: entry, matters: matters)
  }
}

extension DeviceDescription {
  /// Nothing that a rule or a plan looks at differs.
  fileprivate func decidesAs(_ other: Self) -> Bool {
    var shown = other
    shown.driverVersion = driverVersion
    shown.vendor = vendor
    shown.model = model
    shown.bus = bus
    shown.seat = seat
    shown.dedicatedMemoryIsEstimate = dedicatedMemoryIsEstimate
    shown.connected = connected
    if hasPanel == other.hasPanel { shown.connectors = connectors }
    return shown == self
  }

  /// Nodes may come one by one; none becomes another one.
  fileprivate func isSameDevice(as other: Self) -> Bool {
    func same(_ a: Node?, _ b: Node?) -> Bool { a == nil || b == nil || a?.number == b?.number }
    return driver == other.driver && stableID == other.stableID
      && registration == other.registration && same(render, other.render)
      && same(primary, other.primary)
  }
}
