// The exporter as a narrowing set: who may have exported a dma-buf, given what is known so far. Each
// source of evidence intersects it or says nothing; an intersection never becomes empty.

/// How far a source is to be believed; where two contradict each other, the stronger one holds.
package enum ExporterSource: UInt8, Sendable, Comparable {
  case none, siblings, name, refusals, introspection, record
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Devices that may have exported a buffer, and whether it may be of no device or of one that is gone.
package struct ExporterSet: Sendable, Equatable {
  package struct Beyond: OptionSet, Sendable, Hashable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Of no DRM device: udmabuf, a heap, a camera.
    package static let noDevice = Beyond(rawValue: 1)
    /// Of a device that has gone; a buffer may outlive its exporter.
    package static let gone = Beyond(rawValue: 2)
    /// Of anything: what is said of it can't all be true.
    package static let anything = Beyond(rawValue: 4)
  }

  package var devices: DeviceSet
  package var beyond: Beyond
  package init(_ devices: DeviceSet, beyond: Beyond = []) {
    self.devices = devices
    self.beyond = beyond
  }

  package var isEmpty: Bool { devices.isEmpty && beyond.isEmpty }
  /// The device that exported it, where nothing else can have.
  package var certain: DeviceSlot? { beyond.isEmpty ? devices.only : nil }
  /// The one device left, though the buffer may be of none or of one that has gone.
  package var likely: DeviceSlot? { devices.only }
  package var isNoDevice: Bool { devices.isEmpty && beyond == .noDevice }

  package func intersection(_ other: Self) -> Self {
    Self(devices.intersection(other.devices), beyond: beyond.intersection(other.beyond))
  }

  /// The device in this slot has gone.
  package mutating func scrub(_ slot: DeviceSlot) {
    guard devices.contains(slot) else { return }
    devices.remove(slot)
    beyond.insert(.gone)
  }
}

/// What the sources together leave, kept with a buffer.
package struct ExporterEvidence: Sendable, Equatable {
  package private(set) var candidates: ExporterSet
  /// The strongest source that has narrowed it.
  package private(set) var source = ExporterSource.none
  /// Some source contradicted another.
  package private(set) var contradicted = false

  package init(anyOf devices: DeviceTable) { candidates = devices.anyExporter }

  package mutating func narrow(to set: ExporterSet, by other: ExporterSource) {
    let both = candidates.intersection(set)
    if !both.isEmpty {
      if both != candidates || other < source { source = max(source, other) }
      candidates = both
    } else {
      contradicted = true
      if other >= source && !set.isEmpty { (candidates, source) = (set, other) }
    }
  }

  package mutating func scrub(_ slot: DeviceSlot) { candidates.scrub(slot) }
}

extension DeviceTable {
  /// Before anything is known.
  package var anyExporter: ExporterSet { ExporterSet(exporting, beyond: [.noDevice, .gone]) }

  /// Who must be reckoned with before an import: where sources contradict each other, the stronger one is
  /// good for an answer, and nothing is good enough for an import that could move the buffer.
  package func exporters(forImportsBy evidence: ExporterEvidence) -> ExporterSet {
    guard evidence.contradicted else { return evidence.candidates }
    return ExporterSet(exporting, beyond: [.noDevice, .gone, .anything])
  }

  /// Those that show this exporter name; nil: it says nothing.
  package func exporters(named name: ExporterName) -> ExporterSet? {
    switch name {
    case .unknown:
      return nil
    case .drm:
      // Accelerators (/dev/accel) are among them: devices without a node that export.
      let gone = goneDrivers.contains { $0.exporterName == nil } || drmNamed.isEmpty
      return ExporterSet(drmNamed, beyond: gone ? .gone : [])
    case .named(let name):
      guard let driver = Driver.exporting(as: name) else {
        return ExporterSet(DeviceSet(), beyond: .noDevice)
      }
      let devices = devices(of: driver)
      let gone = goneDrivers.contains(driver) || devices.isEmpty
      return ExporterSet(devices, beyond: gone ? .gone : [])
    }
  }

  /// Whose hardware tiles with this modifier; nil: LINEAR, INVALID or a layout of no one vendor.
  package func devices(tilingWith modifier: UInt64) -> DeviceSet? {
    guard modifier & 0x00ff_ffff_ffff_ffff != 0x00ff_ffff_ffff_ffff else { return nil }
    let vendor = UInt8(modifier >> 56)
    guard vendor != 0 else { return nil }
    var set = DeviceSet()
    for slot in present where driver(of: slot).modifierVendor == vendor { set.insert(slot) }
    return set.isEmpty ? nil : set
  }
}
