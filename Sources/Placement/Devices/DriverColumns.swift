// Columns of the driver table, by the devices of a machine.

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

extension LayoutVendor {
  /// By vendor number. Layouts without a vendor, or with an unknown one, belong to no device.
  static func table(_ set: (LayoutVendor) -> DeviceSet) -> [DeviceSet] {
    (0...allCases.map(\.rawValue).max()!).map { number in
      LayoutVendor(rawValue: number).map(set) ?? DeviceSet()
    }
  }
}

extension KernelRange {
  /// CONFIG_PCI_P2PDMA is on in Debian since 6.13.7. Other distributions had it before, so this may
  /// claim less than is possible.
  static let peerToPeer = KernelRange.since(6, 13)
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
