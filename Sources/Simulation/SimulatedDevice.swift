// A device, an open file on it, and a DMA-BUF of a simulated machine.

package import Placement

struct SimulatedDevice {
  var description: DeviceDescription
  let facts: DriverFacts
  private(set) var plugged: Bool
  /// How often it was plugged in. A DMA-BUF or file of an earlier instance belongs to a device that
  /// has gone.
  private(set) var instance = 0
  private(set) var suspended: Bool
  var hung = false
  var hasMaster = false
  /// The last inode given to a buffer that was allocated before the device suspended or was
  /// unplugged.
  var earlierInode: UInt64 = 0
  private var awake = AwakeTime()

  /// Milliseconds in which it was not suspended (power/runtime_active_time).
  private struct AwakeTime {
    var total: Milliseconds = 0
    var since: Milliseconds?
    mutating func begin(_ now: Milliseconds) { since = since ?? now }
    /// A resume takes at least a millisecond, even if the scenario's clock has not moved.
    mutating func end(_ now: Milliseconds) {
      total += since.map { max(now - $0, 1) } ?? 0
      since = nil
    }
    func read(_ now: Milliseconds) -> Milliseconds { total + (since.map { now - $0 } ?? 0) }
  }

  init(_ scenario: Scenario, _ index: Int, at now: Milliseconds) {
    let model = scenario.devices[index]
    description = DeviceDescription(scenario, index)
    facts = DriverFacts.of(model.driver)
    plugged = model.present
    suspended = model.present && model.power == .suspended
    if plugged && !suspended { awake.begin(now) }
  }

  mutating func unplug(at now: Milliseconds) {
    plugged = false
    suspended = false
    hung = false
    hasMaster = false
    awake.end(now)
  }

  mutating func plug(at now: Milliseconds) {
    plugged = true
    instance += 1
    awake = AwakeTime()
    awake.begin(now)
  }

  mutating func suspend(at now: Milliseconds) {
    suspended = true
    awake.end(now)
  }

  mutating func resume(at now: Milliseconds) {
    suspended = false
    awake.begin(now)
  }

  func awakeTime(at now: Milliseconds) -> Milliseconds { awake.read(now) }

  /// Whether it can allocate now. Otherwise its buffers were allocated before.
  var isUp: Bool { plugged && !suspended }

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
    bootDisplay = model.bootDisplay
    dedicatedMemory = model.dedicated
    integrated = model.integrated
    role = model.role
    connectors = model.connectors
    connected = model.connectors
    power = model.power
    imports = model.imports
    exports = model.exports
    let otherHalf = model.display ?? scenario.devices.firstIndex { $0.display == index }
    pairedWith = otherHalf.map { Self.stableID(scenario.devices[$0]) }
  }

  /// An integrated Intel GPU has the same PCI address in every machine and is recognised by it.
  private static func sysfsPath(_ scenario: Scenario, _ index: Int) -> String {
    let integrated = scenario.devices.firstIndex {
      ($0.driver == "i915" || $0.driver == "xe") && $0.integrated && $0.dedicated == 0
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
  /// It was counted as having kept master.
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
    /// A scratch buffer of primed's on a device that no other device reaches, for finding out what
    /// NO_MOVE does.
    case scratch
  }
  package let identity: BufferIdentity
  let exporter: Exporter
  /// The exporter's instance when it was allocated.
  let instance: Int
  let home: Memory
  /// The exporter name in fdinfo.
  let name: ExporterName
  package internal(set) var residency: Memory
  /// A client's import keeps it in system memory until it is freed.
  var pinned = false

  init(
    identity: BufferIdentity, exporter: Exporter, instance: Int = 0, home: Memory,
    residency: Memory, name: ExporterName = .drm
  ) {
    self.identity = identity
    self.exporter = exporter
    self.instance = instance
    self.home = home
    self.residency = residency
    self.name = name
  }
}
