// The devices that are there: applies events of udev or a scenario and returns what changed. Pure.
// Slots of devices that have gone are used again.

package struct RegistryChange: Sendable, Equatable {
  package enum Kind: Sendable { case added, changed, removed }
  package var kind: Kind
  package var slot: DeviceSlot
  /// The current entry; for `removed`, the last one.
  package var entry: DeviceEntry
  /// Answers may have changed.
  package var matters: Bool
  /// Only its runtime power changed: this can be caused by any user's use of the device.
  package var isOfPowerAlone = false
}

package struct Registry: Sendable {
  package private(set) var entries: [DeviceEntry?] = []
  package private(set) var goneDrivers = DriverSet()
  /// A buffer with this inode or a higher one was made after the last unplug; `.max`: not known.
  package private(set) var goneBefore: UInt64
  /// Stable IDs of released devices, also of those that are not there now: a device that comes back
  /// while its guard is held stays closed, and its node numbers may belong to another device by
  /// then.
  private var released: Set<String> = []

  /// - Parameter counter: the current DMA-BUF inode counter; nil: not known.
  package init(counter: UInt64? = nil) { goneBefore = counter ?? .max }

  package subscript(slot: DeviceSlot) -> DeviceEntry? {
    Int(slot.index) < entries.count ? entries[Int(slot.index)] : nil
  }

  package func slot(ofSysfsPath path: String) -> DeviceSlot? {
    entries.firstIndex { $0?.description.sysfsPath == path }.map { DeviceSlot(UInt8($0)) }
  }

  // MARK: What is told

  /// A device appeared or its description changed. Another driver or another node means another
  /// device in the same place. Returns nothing if nothing changed, or if no slot is free.
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

  /// Replaces the list of devices by this one.
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
    // It is read often and changes seldom: no copy of the entry is made then.
    if has(power, slot) && (power == .suspended || entries[Int(slot.index)]?.asleepSince == nil) {
      return nil
    }
    return change(slot, matters: power != self[slot]?.description.power) {
      $0.description.power = power
      if power != .suspended { $0.asleepSince = nil }
    }
  }

  /// Notes a power state that was read. `counter` returns the inode counter; it is called only at
  /// the beginning of a sleep.
  package mutating func set(
    _ power: Power, activeTime: Milliseconds?, counter: () -> UInt64?, of slot: DeviceSlot
  ) -> RegistryChange? {
    guard power == .suspended, let activeTime else { return set(power, of: slot) }
    if has(power, slot) && entries[Int(slot.index)]?.asleepSince != nil
      && entries[Int(slot.index)]?.activeTime == activeTime
    {
      return nil
    }
    return change(slot, matters: power != self[slot]?.description.power) {
      $0.description.power = power
      // It was awake in between, so buffers that it allocated then may be as new as the counter is
      // now.
      guard $0.asleepSince == nil || $0.activeTime != activeTime else { return }
      ($0.asleepSince, $0.activeTime) = (counter() ?? .max, activeTime)
    }
  }

  private func has(_ power: Power, _ slot: DeviceSlot) -> Bool {
    Int(slot.index) < entries.count && entries[Int(slot.index)]?.description.power == power
  }

  /// A device has gone, and the inode counter is `counter`.
  package mutating func noteGone(at counter: UInt64?) { goneBefore = counter ?? .max }

  package mutating func set(_ state: DeviceState, of slot: DeviceSlot) -> RegistryChange? {
    change(slot) { $0.state = state }
  }

  /// Answers don't change by it alone: a device that can't be opened is only not asked.
  package mutating func set(unopenable: Bool, of slot: DeviceSlot) -> RegistryChange? {
    change(slot, matters: false) { $0.unopenable = unopenable }
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

  /// Ends the release of a device; the device may be used again if it is there.
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
    var asBefore = entry
    if let old = self[slot] { asBefore.takePower(from: old) }
    let isOfPowerAlone = asBefore == self[slot]
    entries[Int(slot.index)] = entry
    return RegistryChange(
      kind: .changed, slot: slot, entry: entry, matters: matters, isOfPowerAlone: isOfPowerAlone)
  }
}

extension DeviceEntry {
  fileprivate mutating func takePower(from other: Self) {
    description.power = other.description.power
    (asleepSince, activeTime) = (other.asleepSince, other.activeTime)
  }
}

extension DeviceDescription {
  /// Equal in everything that a rule or a plan uses.
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

  /// The nodes of a device may appear one by one, but none of them changes its number.
  fileprivate func isSameDevice(as other: Self) -> Bool {
    func same(_ a: Node?, _ b: Node?) -> Bool { a == nil || b == nil || a?.number == b?.number }
    return driver == other.driver && stableID == other.stableID
      && registration == other.registration && same(render, other.render)
      && same(primary, other.primary)
  }
}
