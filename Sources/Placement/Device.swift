// A DRM device as primed sees it: one or two nodes of one piece of hardware, and what is known of it.

/// The memory that a buffer is in, or is meant for.
package enum Memory: UInt8, Sendable, CaseIterable {
  case unknown, dedicated, system
}

package enum Power: UInt8, Sendable { case unknown, active, suspended }

/// What a device is for. `split` is one half of a display/render pair that shares no parent;
/// `sink` only displays what the CPU copies into it (udl, evdi, gud); `software` has no hardware.
package enum Role: UInt8, Sendable, CaseIterable { case render, display, split, sink, software }

/// `unresponsive`: a call into its driver passed its deadline and has not come back.
package enum DeviceState: UInt8, Sendable { case ready, released, gone, unresponsive }

/// Whether imports into a device heed DRM_PRIME_FD_TO_HANDLE_NO_MOVE, decided with sacrificial
/// buffers only. `unknown` until a query first needed to know; treated as `ignored`.
package enum NoMove: UInt8, Sendable { case unknown, honoured, ignored }

package struct Node: Hashable, Sendable {
  package var path: String
  package var number: DeviceNumber
  package init(path: String, number: DeviceNumber) {
    self.path = path
    self.number = number
  }
}

/// All that is told of a device by udev, sysfs or a scenario, without opening a node.
package struct DeviceDescription: Equatable, Sendable {
  /// Survives a replug: ID_PATH where udev has one, else the path below /sys/devices.
  package var stableID: String
  /// The parent device's sysfs path: what its nodes are grouped by.
  package var sysfsPath: String
  /// Another one each time that the kernel registers the device, as after a replug; 0 unknown.
  package var registration: UInt64 = 0
  package var render: Node?
  package var primary: Node?
  package var driver: String
  package var driverVersion = ""
  package var vendor = ""
  package var model = ""
  package var bus = ""
  package var seat = "seat0"
  package var bootVGA = false
  /// udev's word (PRIMED_PRIMARY=1 or mutter-device-preferred-primary).
  package var preferredPrimary = false
  /// udev's word (PRIMED_IGNORE=1 or mutter-device-ignore): never chosen, never opened; still
  /// counted among those that may have exported a buffer.
  package var ignored = false
  package var dedicatedMemory: UInt64 = 0
  /// Only the size of the PCI window on it is known, which may be smaller.
  package var dedicatedMemoryIsEstimate = false
  package var role = Role.render
  /// `stableID` of the other half of a split pair.
  package var pairedWith: String?
  /// Connected connectors first, e.g. ["eDP-1", "HDMI-A-1"].
  package var connectors: [String] = []
  /// Those of them that have a display.
  package var connected: [String] = []
  package var power = Power.unknown
  package var imports = true
  package var exports = true

  package init(stableID: String, sysfsPath: String, driver: String) {
    self.stableID = stableID
    self.sysfsPath = sysfsPath
    self.driver = driver
  }

  /// The node that answers name: the render node, else the primary node.
  package var node: Node? { render ?? primary }
}

/// A device's place in this process's tables, reused after it is gone. DRM's classic limit, 64
/// devices, is ours: a set of devices is then one word.
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

  package var isEmpty: Bool { bits == 0 }
  package var count: Int { bits.nonzeroBitCount }
  package var first: DeviceSlot? { isEmpty ? nil : DeviceSlot(UInt8(bits.trailingZeroBitCount)) }
  /// The one device in it, nil if none or several.
  package var only: DeviceSlot? { count == 1 ? first : nil }

  package func contains(_ slot: DeviceSlot) -> Bool { bits & DeviceSet(slot).bits != 0 }
  package func union(_ other: Self) -> Self { Self(bits: bits | other.bits) }
  package func intersection(_ other: Self) -> Self { Self(bits: bits & other.bits) }
  package func subtracting(_ other: Self) -> Self { Self(bits: bits & ~other.bits) }
  package mutating func insert(_ slot: DeviceSlot) { bits |= DeviceSet(slot).bits }
  package mutating func remove(_ slot: DeviceSlot) { bits &= ~DeviceSet(slot).bits }
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
