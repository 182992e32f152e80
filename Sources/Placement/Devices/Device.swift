// A DRM device: one or two nodes of one piece of hardware, and what is known of it.

/// The memory that a buffer lies in, or was allocated for.
package enum Memory: UInt8, Sendable, CaseIterable {
  case unknown, dedicated, system
}

package enum Power: UInt8, Sendable, CaseIterable { case unknown, active, suspended }

/// What a device is for. `split` is one half of a display/render pair that shares no parent;
/// `sink` only displays what the CPU copies into it (udl, evdi, gud); `software` has no hardware.
package enum Role: UInt8, Sendable, CaseIterable { case render, display, split, sink, software }

/// `unresponsive`: a call into its driver passed the deadline and has not returned.
package enum DeviceState: UInt8, Sendable, CaseIterable {
  case ready, released, gone, unresponsive
}

/// Whether imports into a device heed DRM_PRIME_FD_TO_HANDLE_NO_MOVE, found out with scratch
/// buffers only. `unknown` until a query first needs to know; treated as `ignored`.
package enum NoMove: UInt8, Sendable, CaseIterable { case unknown, honoured, ignored }

extension NoMove {
  /// Of a whole machine: `honoured` if any device heeds it, `ignored` if none that was asked does.
  package init(of devices: [NoMove]) {
    let asked = devices.filter { $0 != .unknown }
    self = asked.contains(.honoured) ? .honoured : asked.isEmpty ? .unknown : .ignored
  }
}

package struct Node: Hashable, Sendable {
  package var path: String
  package var number: DeviceNumber
  package init(path: String, number: DeviceNumber) {
    self.path = path
    self.number = number
  }
}

/// What udev, sysfs or a scenario says of a device, without opening a node.
package struct DeviceDescription: Equatable, Sendable {
  /// The same after a replug: ID_PATH where udev has one, else the path below /sys/devices.
  package var stableID: String
  /// The parent device's sysfs path; nodes with the same parent are one device.
  package var sysfsPath: String
  /// A new number each time that the kernel registers the device, also after a replug; 0: unknown.
  package var registration: UInt64 = 0
  package var render: Node?
  package var primary: Node?
  /// The name that DRM gives the driver, where it is known.
  package var driver: String { didSet { row = Driver(name: driver) } }
  package private(set) var row: Driver
  package var driverVersion = ""
  package var vendor = ""
  package var model = ""
  package var bus = ""
  package var seat = "seat0"
  package var bootVGA = false
  /// The firmware drew its screen on this device (sysfs `boot_display`, from Linux 6.17 on).
  package var bootDisplay = false
  /// Set by udev (PRIMED_PRIMARY=1 or mutter-device-preferred-primary).
  package var preferredPrimary = false
  /// Set by udev (PRIMED_IGNORE=1 or mutter-device-ignore): never chosen and never opened, but
  /// still a possible exporter.
  package var ignored = false
  package var dedicatedMemory: UInt64 = 0
  /// Only the size of its PCI window is known; the memory may be larger.
  package var dedicatedMemoryIsEstimate = false
  /// A processor's own GPU, not a card; nil: unknown.
  package var integrated: Bool?
  package var role = Role.render
  /// `stableID` of the other half of a split pair.
  package var pairedWith: String?
  /// All connectors, connected ones first, e.g. ["eDP-1", "HDMI-A-1"].
  package var connectors: [String] = []
  /// The connectors that have a display.
  package var connected: [String] = []
  package var power = Power.unknown
  package var imports = true
  package var exports = true

  package init(stableID: String, sysfsPath: String, driver: String) {
    self.stableID = stableID
    self.sysfsPath = sysfsPath
    self.driver = driver
    row = Driver(name: driver)
  }

  /// The node that answers give: the render node, else the primary node.
  package var node: Node? { render ?? primary }
}

extension DriverID {
  package init(_ device: DeviceDescription) { self.init(device.row, named: device.driver) }
}

/// A device's place in this process's tables, reused after the device has gone. At most 64, which
/// is DRM's classic limit, so that a set of devices fits in one word.
package struct DeviceSlot: Hashable, Sendable, Comparable {
  package var index: UInt8
  package init(_ index: UInt8) { self.index = index }
  package static func < (a: Self, b: Self) -> Bool { a.index < b.index }
  package static let limit = 64
}

/// A set of devices in one word.
package struct DeviceSet: Hashable, Sendable {
  package var bits: UInt64
  package init(bits: UInt64 = 0) { self.bits = bits }
  package init(_ slot: DeviceSlot) { bits = 1 << UInt64(slot.index) }
  package static let all = DeviceSet(bits: .max)

  package var isEmpty: Bool { bits == 0 }
  package var count: Int { bits.nonzeroBitCount }
  package var first: DeviceSlot? { isEmpty ? nil : DeviceSlot(UInt8(bits.trailingZeroBitCount)) }
  /// The only device in it; nil if there is none or several.
  package var only: DeviceSlot? { count == 1 ? first : nil }

  package func contains(_ slot: DeviceSlot) -> Bool { bits & DeviceSet(slot).bits != 0 }
  package func union(_ other: Self) -> Self { Self(bits: bits | other.bits) }
  package func intersection(_ other: Self) -> Self { Self(bits: bits & other.bits) }
  package func subtracting(_ other: Self) -> Self { Self(bits: bits & ~other.bits) }
  package mutating func insert(_ slot: DeviceSlot) { bits |= DeviceSet(slot).bits }
  package func filter(_ holds: (DeviceSlot) -> Bool) -> Self {
    var set = Self()
    for slot in self where holds(slot) { set.insert(slot) }
    return set
  }
  package mutating func remove(_ slot: DeviceSlot) { bits &= ~DeviceSet(slot).bits }
}

extension DeviceSet: ExpressibleByArrayLiteral {
  package init(arrayLiteral slots: DeviceSlot...) {
    self.init()
    for slot in slots { insert(slot) }
  }
}

extension DeviceSet: Sequence {
  package struct Iterator: IteratorProtocol {
    var rest: UInt64
    package mutating func next() -> DeviceSlot? {
      guard rest != 0 else { return nil }
      defer { rest &= rest - 1 }
      return DeviceSlot(UInt8(rest.trailingZeroBitCount))
    }
  }
  package func makeIterator() -> Iterator { Iterator(rest: bits) }
}
