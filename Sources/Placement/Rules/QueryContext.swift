// The part of a question's hints that the rules look at, with device numbers resolved once. Plain
// data: copying it counts no references, unlike `Hints`, whose list may be on the heap.

package struct QueryContext: Sendable {
  package let declared: DeviceSlot?
  package let target: DeviceSlot?
  package let primary: DeviceSlot?
  /// The devices that the asker named as candidates; nil: none were named, any will do.
  package let candidates: DeviceSet?
  let usage: Usage
  let modifier: UInt64?
  let layoutChecked: Bool
  /// It says what the buffer is, as all do that have it from linux-dmabuf.
  let describesBuffer: Bool
  let wake: Bool
  let touchable: DeviceSet
  /// A hint that takes one device names none that is known.
  package let namesUnknown: Bool

  /// Borrows, as the other steps of an answer do: what an initializer takes over is copied first.
  package init(_ hints: borrowing Hints, among devices: borrowing DeviceTable) {
    declared = devices.slot(of: hints.samplingDevice)
    target = devices.slot(of: hints.targetDevice)
    primary = devices.slot(of: hints.primaryDevice)
    candidates = hints.candidates.map { list in
      var set = DeviceSet()
      for i in 0..<list.count {
        if let slot = devices.slot(of: list[i]) { set.insert(slot) }
      }
      return set
    }
    usage = hints.usage ?? .sample
    modifier = hints.modifier
    layoutChecked = hints.layoutChecked
    describesBuffer = hints.format != nil || hints.modifier != nil
    wake = hints.wake
    touchable = hints.touchable
    namesUnknown =
      declared == nil && hints.samplingDevice != .none
      || target == nil && hints.targetDevice != .none
      || primary == nil && hints.primaryDevice != .none
  }

  /// All devices that the hints name.
  package var named: DeviceSet {
    var set = DeviceSet()
    if let declared { set.insert(declared) }
    if let target { set.insert(target) }
    if let primary { set.insert(primary) }
    return set.union(candidates ?? [])
  }
}

extension Hints {
  /// Calls `body` for each hint whose number names no known device.
  package func forEachUnknown(
    among devices: DeviceTable, _ body: (StaticString, DeviceNumber) -> Void
  ) {
    func check(_ hint: StaticString, _ number: DeviceNumber) {
      if number != .none && devices.slot(of: number) == nil { body(hint, number) }
    }
    check(Hint.samplingDevice.name, samplingDevice)
    check(Hint.targetDevice.name, targetDevice)
    check(Hint.primaryDevice.name, primaryDevice)
    guard let candidates else { return }
    for i in 0..<candidates.count where devices.slot(of: candidates[i]) == nil {
      body(Hint.candidates.name, candidates[i])
    }
  }
}
