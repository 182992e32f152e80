// The things of a simulated machine: a device, an open file on it, a dma-buf; and the little that
// drivers differ in.

internal import Glibc
package import Placement

struct SimulatedDevice {
  let description: DeviceDescription
  private(set) var plugged = true
  /// Counts how often it was plugged in: an old dma-buf or file belongs to an old one.
  private(set) var instance = 0
  var suspended: Bool
  var hung = false
  var hasMaster = false

  init(_ scenario: Scenario, _ index: Int) {
    let model = scenario.devices[index]
    description = DeviceDescription(scenario, index)
    suspended = model.power == .suspended
  }

  mutating func unplug() {
    plugged = false
    suspended = false
    hung = false
    hasMaster = false
  }

  mutating func plug() {
    plugged = true
    instance += 1
  }

  var currentDescription: DeviceDescription {
    var now = description
    now.power = suspended ? .suspended : .active
    return now
  }

  func has(_ number: DeviceNumber) -> Bool {
    description.render?.number == number || description.primary?.number == number
  }
}

extension DeviceDescription {
  fileprivate init(_ scenario: Scenario, _ index: Int) {
    let model = scenario.devices[index]
    self.init(
      stableID: Self.stableID(model), sysfsPath: Self.sysfsPath(scenario, index),
      driver: model.driver)
    render = model.renderNumber.map { Node(path: "/dev/dri/renderD\(model.render!)", number: $0) }
    primary = model.cardNumber.map { Node(path: "/dev/dri/card\(model.card!)", number: $0) }
    self.model = model.id
    bus = "simulated"
    bootVGA = model.bootVGA
    dedicatedMemory = model.dedicated
    role = model.role
    connectors = model.connectors
    connected = model.connectors
    power = model.power
    imports = model.imports
    exports = model.exports
    let otherHalf = model.display ?? scenario.devices.firstIndex { $0.display == index }
    pairedWith = otherHalf.map { Self.stableID(scenario.devices[$0]) }
  }

  /// Intel's integrated GPU has the same place in every machine, and is told by it.
  private static func sysfsPath(_ scenario: Scenario, _ index: Int) -> String {
    let integrated = scenario.devices.firstIndex {
      ($0.driver == "i915" || $0.driver == "xe") && $0.dedicated == 0
    }
    if index == integrated { return "/sys/devices/pci0000:00/0000:00:02.0" }
    return "/sys/devices/simulated/\(scenario.devices[index].id)"
  }

  private static func stableID(_ model: DeviceModel) -> String { "simulated-\(model.id)" }
}

/// An open file on a device's node.
package final class SimulatedFile {
  let device: Int
  let instance: Int
  package internal(set) var isMaster: Bool
  /// As having kept master.
  var counted = false
  var handles: Set<BufferIdentity> = []

  init(device: Int, instance: Int, isMaster: Bool) {
    self.device = device
    self.instance = instance
    self.isMaster = isMaster
  }
}

package final class SimulatedDMABuf {
  enum Exporter: Equatable {
    /// udmabuf, dma-heap.
    case nobody
    case device(Int)
    /// A buffer of primed's own on a device that no other reaches, for asking what the flag does.
    case sacrifice
  }
  let identity: BufferIdentity
  let exporter: Exporter
  /// Which of the exporter's plugged lives it was allocated in; nil: not yet.
  var instance: Int?
  let home: Memory
  package internal(set) var residency: Memory

  init(identity: BufferIdentity, exporter: Exporter, home: Memory, residency: Memory) {
    self.identity = identity
    self.exporter = exporter
    self.home = home
    self.residency = residency
  }
}

/// Where drivers differ: the names that they give their exports, and what an import does (Placement/Pairs).
enum DriverFacts {
  private static let ownExporterNames: Set = [
    "i915", "vmwgfx", "virtio_gpu", "omapdrm", "tegra_drm", "armada",
  ]

  static func exporterName(_ driver: String) -> ExporterName {
    switch driver {
    case "tegra": .named("tegra_drm")
    case "armada-drm": .named("armada")
    case _ where ownExporterNames.contains(driver): .named(driver)
    default: .drm
    }
  }

  static func keepsRecord(_ driver: String) -> Bool {
    ["amdgpu", "radeon", "nouveau"].contains(driver)
  }

  /// Dynamic to dynamic: nothing is mapped, so nothing moved, before the first use.
  static func mapsAtUse(exporter: String, importer: String) -> Bool {
    ["amdgpu", "xe"].contains(exporter) && ["amdgpu", "xe"].contains(importer)
  }

  /// Even a foreign import that then fails has moved the buffer.
  static func movesAtAttach(_ driver: String) -> Bool {
    ["i915", "nouveau", "radeon"].contains(driver)
  }

  /// The exporter saw an attachment before this importer said no.
  static func refusesAfterAttach(_ driver: String) -> Bool {
    ["virtio_gpu", "qxl"].contains(driver)
  }
}
