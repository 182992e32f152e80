// Who asks: the hints of a question, their device numbers looked up once.

package struct Asker: Sendable {
  package let hints: Hints
  package let declared: DeviceSlot?
  package let target: DeviceSlot?
  package let primary: DeviceSlot?

  package init(_ hints: Hints, among devices: DeviceTable) {
    self.hints = hints
    declared = devices.slot(of: hints.samplingDevice)
    target = devices.slot(of: hints.targetDevice)
    primary = devices.slot(of: hints.primaryDevice)
  }

  /// The devices that the hints name.
  package var named: DeviceSet {
    var set = DeviceSet()
    if let declared { set.insert(declared) }
    if let target { set.insert(target) }
    if let primary { set.insert(primary) }
    return set
  }

  /// Calls `body` for each hint whose number names no device.
  package func forEachUnknown(_ body: (StaticString, DeviceNumber) -> Void) {
    if declared == nil && hints.samplingDevice != .none {
      body("sampling-device", hints.samplingDevice)
    }
    if target == nil && hints.targetDevice != .none { body("target-device", hints.targetDevice) }
    if primary == nil && hints.primaryDevice != .none {
      body("primary-device", hints.primaryDevice)
    }
  }
}
