// Columns of the driver table, by the devices of a machine.

/// Chooses a machine's devices by what is known of each and of its driver.
struct DeviceSelection {
  let entries: [DeviceEntry?]
  private let ids: [DriverID]

  /// Both by slot.
  init(_ entries: [DeviceEntry?], _ ids: [DriverID]) { (self.entries, self.ids) = (entries, ids) }

  func callAsFunction(_ holds: (DeviceEntry, DriverInfo) -> Bool) -> DeviceSet {
    var set = DeviceSet()
    for (i, entry) in entries.enumerated() {
      if let entry, holds(entry, ids[i].driver.info) { set.insert(DeviceSlot(UInt8(i))) }
    }
    return set
  }
}

/// Which devices may show which exporter name on this kernel.
struct ExporterNames: Sendable {
  private var shown: [String: DeviceSet] = [:]
  private var shownByGone: Set<String> = []
  /// Devices without a row in the driver table: they may show any unknown name.
  private var others = DeviceSet()

  init(
    _ ids: [DriverID], _ exporting: DeviceSet, gone: DriverSet, _ kernel: KernelVersion?
  ) {
    for slot in exporting {
      let driver = ids[Int(slot.index)].driver
      for name in driver.info.exporterNames(on: kernel) {
        shown[name, default: DeviceSet()].insert(slot)
      }
      if driver == .other { others.insert(slot) }
    }
    for driver in gone { shownByGone.formUnion(driver.info.exporterNames(on: kernel)) }
  }

  /// Devices that may show `name`.
  func exporters(named name: String) -> ExporterSet {
    guard Driver.exporterNames.contains(name) else {
      if ExporterName.named(name).isSystemMemory { return ExporterSet(others, beyond: .noDevice) }
      // No known driver shows it: vfio-pci, or another module. Nothing is known of the buffer's
      // memory.
      return ExporterSet(others, beyond: ExporterName.named(name).unknownModule)
    }
    let devices = shown[name] ?? DeviceSet()
    let isOfTheGone = shownByGone.contains(name) || devices.isEmpty
    return ExporterSet(devices, beyond: isOfTheGone ? .gone : [])
  }
}

extension Driver {
  /// All names that DRM drivers show.
  static let exporterNames = Set(table.flatMap { $0.exporterNames.map(\.fact) })
}

/// DRM_FORMAT_MOD_INVALID: the exporter's driver chose the layout, and only it knows which.
package let implicitModifier: UInt64 = 0x00ff_ffff_ffff_ffff

/// Which devices know which layout.
struct LayoutSets: Sendable {
  /// By number of the vendor (drm_fourcc.h): devices known not to read its layouts, and those whose
  /// hardware uses them. Layouts without a vendor, or with an unknown one, belong to no device.
  private let blind: [DeviceSet]
  private let tiling: [DeviceSet]

  init(_ those: DeviceSelection) {
    blind = Self.byVendor { vendor in those { _, info in !info.reads(layoutOf: vendor) } }
    tiling = Self.byVendor { vendor in
      those { _, info in info.layouts?.contains(vendor) == true }
    }
  }

  private static func byVendor(_ set: (LayoutVendor) -> DeviceSet) -> [DeviceSet] {
    (0...LayoutVendor.allCases.map(\.rawValue).max()!).map { number in
      LayoutVendor(rawValue: number).map(set) ?? DeviceSet()
    }
  }

  func blind(to modifier: UInt64) -> DeviceSet {
    let vendor = Int(modifier >> 56)
    guard modifier != implicitModifier, blind.indices.contains(vendor) else { return DeviceSet() }
    return blind[vendor]
  }

  func devices(tilingWith modifier: UInt64) -> DeviceSet? {
    let vendor = Int(modifier >> 56)
    guard modifier != implicitModifier, tiling.indices.contains(vendor), !tiling[vendor].isEmpty
    else { return nil }
    return tiling[vendor]
  }
}

extension DriverInfo {
  func reads(layoutOf vendor: LayoutVendor) -> Bool { layouts?.contains(vendor) ?? true }

  func scansOutImports(of device: DeviceDescription) -> Bool {
    switch device.isIntegrated {
    case true: scanOut == .systemMemory
    case false: scanOutDiscrete == .systemMemory
    case nil: scanOut == .systemMemory && scanOutDiscrete == .systemMemory
    }
  }
}
