// Finds a driver's row in the table by the driver's name.

/// A driver that has a row, or `other` for all others, of which nothing is assumed.
package struct Driver: Hashable, Sendable {
  private let row: UInt8?
  package static let other = Driver(row: nil)
  private init(row: UInt8?) { self.row = row }

  /// `name`: as sysfs, udev or DRM_IOCTL_VERSION gives it.
  package init(name: String) {
    let row = Self.table.firstIndex { $0.names.contains(name) || $0.busNames.contains(name) }
    self.init(row: row.map { UInt8($0) })
  }

  package var info: DriverInfo { row.map { Self.table[Int($0)] } ?? .unknown }

  /// All rows. Those that are looked up most often come first. The groups are made for this
  /// copy only, which has nothing to spare: kept as well they would be 40 KiB at rest.
  package static let table: [DriverInfo] = {
    let groups = [
      DriverInfo.gpus, DriverInfo.virtualGPUs, DriverInfo.renderers, DriverInfo.displays,
      DriverInfo.sinks, DriverInfo.accelerators,
    ]
    var rows: [DriverInfo] = []
    rows.reserveCapacity(groups.reduce(0) { $0 + $1.count })
    for group in groups { rows += group }
    return rows
  }()
  package static var allCases: [Driver] { table.indices.map { Driver(row: UInt8($0)) } }
}

package typealias DriverSet = Set<Driver>

/// Any driver, also one without a row.
package struct DriverID: Hashable, Sendable {
  package let driver: Driver
  private let name: String

  package init(_ name: String) { self.init(Driver(name: name), named: name) }
  /// - Parameter driver: that of this name.
  init(_ driver: Driver, named name: String) {
    self.driver = driver
    self.name = driver == .other ? name : ""
  }
  package init(_ driver: Driver) {
    self.driver = driver
    name = ""
  }
}

extension DriverInfo {
  static let unknown = DriverInfo(
    names: [], kind: .gpu, imports: [], memory: .unknown, layouts: nil, source: "")

  /// The DRM name of the driver that sysfs calls `name`.
  package static func drmName(ofBusName name: String) -> String {
    let info = Driver(name: name).info
    return info.names.contains(name) ? name : info.names.first ?? name
  }

  /// What its exports may show on this kernel; nil: the kernel is unknown.
  package func exporterNames(on kernel: KernelVersion?) -> [String] {
    exporterNames.filter { kernel == nil || $0.kernels.contains(kernel) }.map(\.fact)
  }

  /// The function that it imports by; nil: unknown.
  package func importFunction(on kernel: KernelVersion?) -> String? {
    imports.first { $0.kernels.contains(kernel) }?.fact
  }

  /// Whether it maps another device's buffer before the import returns, so that importing a buffer
  /// that can't be mapped fails; false if unknown.
  package func mapsInImport(on kernel: KernelVersion?) -> Bool {
    importsByCoreInTheEnd || importFunction(on: kernel) == ImportFunction.core
  }

  /// Whether its buffers can lie in system memory only, on any of its devices.
  package func exportsSystemMemoryOnly(on kernel: KernelVersion?) -> Bool {
    if case .system(let kernels) = memory { kernels.contains(kernel) } else { false }
  }

  /// Whether the largest prefetchable BAR is a window on memory that buffers can lie in.
  package func hasVideoMemoryBAR(isIntegrated: Bool) -> Bool {
    switch memory {
    case .dedicated: true
    case .dedicatedUnlessIntegrated: !isIntegrated
    case .system(let kernels): kernels != .all
    case .unknown: false
    }
  }

  /// Whether primed's own calls may resume it.
  package var wakesWhenAsked: Bool { wakes != Wakes([]) }
}
