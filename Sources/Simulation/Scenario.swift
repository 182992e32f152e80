// A scenario as values: what primed-scenario(5) describes. `ScenarioDecoder` makes them and has
// checked everything that can be checked without playing: every id is declared and every index
// below is valid.

package import Placement

package struct Scenario: Sendable {
  package var name: String
  /// What it shows, in one sentence.
  package var about: String?
  /// The thread, page or mail that it is based on.
  package var source: String?
  package var kernel = KernelModel()
  package var devices: [DeviceModel] = []
  package var reaches: [Reach] = []
  package var buffers: [BufferModel] = []
  package var steps: [Step] = []
  package init(name: String) { self.name = name }
}

package struct KernelModel: Sendable {
  /// What imports do with DRM_PRIME_FD_TO_HANDLE_NO_MOVE. `ignored`: mainline, a full import;
  /// `validated`: honoured, and unknown flag bits are EINVAL.
  package enum NoMoveFlag: UInt8, Sendable { case ignored, honoured, validated }
  package var noMove = NoMoveFlag.ignored
  package var introspection = false
  package var version = newestKernel
}

/// The newest kernel that primed is tested on.
package let newestKernel = KernelVersion(7, 3)

package struct DeviceModel: Sendable {
  package var id: String
  package var driver: String
  /// Minor numbers of the nodes; there is at least one, or `accel`.
  package var card: UInt32?
  package var render: UInt32?
  /// Minor number of the node under /dev/accel, for a device without DRM nodes.
  package var accel: UInt32?
  /// Bytes.
  package var dedicated: UInt64 = 0
  /// Part of the processor; an APU's carve-out counts as `dedicated`.
  package var integrated = true
  package var power = Power.active
  /// There at the start; otherwise it is added by `plug`.
  package var present = true
  package var imports = true
  package var exports = true
  /// false: opening its node gives EACCES.
  package var openable = true
  /// How long an import into it takes; imports into one device are made one after another.
  package var importTime: Milliseconds = 0
  package var role = Role.render
  package var bootVGA = false
  package var bootDisplay = false
  package var connectors: [String] = []
  /// Index of the paired display device (split).
  package var display: Int?

  package init(id: String, driver: String) { (self.id, self.driver) = (id, driver) }

  /// The node that answers give; for an accelerator its own node, which no answer gives.
  package var number: DeviceNumber {
    renderNumber ?? cardNumber ?? DeviceNumber(major: 261, minor: accel ?? 0)
  }
  package var cardNumber: DeviceNumber? { card.map { DeviceNumber(major: 226, minor: $0) } }
  package var renderNumber: DeviceNumber? { render.map { DeviceNumber(major: 226, minor: $0) } }
}

/// `importer` can use `exporter`'s buffers in this memory in place. `hangs`: if no other reach of
/// the pair applies, an import succeeds and moves nothing, but use hangs.
package struct Reach: Sendable, Hashable {
  package enum How: UInt8, Sendable { case dedicated, system, hangs }
  package var importer: Int
  /// nil: buffers of no device.
  package var exporter: Int?
  package var how: How
  package init(importer: Int, exporter: Int?, how: How) {
    (self.importer, self.exporter, self.how) = (importer, exporter, how)
  }
}

package struct BufferModel: Sendable {
  package var id: String
  /// nil: memory of no device (udmabuf, dma-heap).
  package var exporter: Int?
  /// Its exporter name in fdinfo; nil: its driver's, or `udmabuf` if there is none.
  package var name: String?
  package var home: Memory
  package var residency: Memory
  package var planes = 1
  package var format: UInt32?
  package var modifier: UInt64?
  /// pid; 0: unknown.
  package var client: UInt32 = 0

  package init(id: String, exporter: Int? = nil, home: Memory, residency: Memory) {
    (self.id, self.exporter, self.home, self.residency) = (id, exporter, home, residency)
  }
}

package struct Step: Sendable {
  package enum Action: Sendable {
    case place(Question)
    case advise([AdviceUser], Hints)
    case defaults(Hints)
    case migrate(buffer: Int, to: Memory)
    case advance(Milliseconds)
    case device(DeviceEvent, Int)
    case release(Int)
    case unrelease(Int)
    /// primed restarts; the machine does not.
    case restart
    /// Does nothing; only checks the expectations.
    case look
  }
  /// What may happen to a device.
  package enum DeviceEvent: String, Sendable, CaseIterable {
    case unplug, plug, suspend, resume, hang
    /// A hang ends, and the device's calls return.
    case reset
  }
  package var action: Action
  package var expect = Expectations()
  package init(_ action: Action, expect: Expectations = Expectations()) {
    (self.action, self.expect) = (action, expect)
  }
}

/// A `place`: buffers whose planes, in this order, form one buffer, and the hints.
package struct Question: Sendable {
  package var buffers: [Int]
  package var hints = Hints()
  package init(buffers: [Int], hints: Hints = Hints()) {
    (self.buffers, self.hints) = (buffers, hints)
  }

  /// Adds what a compositor knows from the client's requests, unless the hints give it.
  package mutating func fill(from buffer: BufferModel) {
    if let format = buffer.format, !hints.given.contains(.format) {
      hints.format = format
      hints.given.insert(.format)
    }
    if let modifier = buffer.modifier, !hints.given.contains(.modifier) {
      hints.modifier = modifier
      hints.given.insert(.modifier)
    }
    if buffer.client != 0, !hints.given.contains(.client) {
      hints.clientPID = buffer.client
      hints.given.insert(.client)
    }
  }
}

/// What a step expects; nil: not checked.
package struct Expectations: Sendable {
  /// `.some(nil)`: no device.
  package var device: Int??
  package var access: Access?
  /// At least this confidence: an answer with `intent`, from the driver's record, satisfies
  /// `stable`.
  package var confidence: Confidence?
  package var rule: String?
  package var cached: Bool?
  /// The last part of the D-Bus error's name.
  package var error: String?
  package var verdicts: [Verdict]?
  /// The exporter; `.some(nil)`: not known.
  package var home: Int??
  /// Whether the answer has a recheck time.
  package var recheck: Bool?
  /// Buffers for which PlacementChanged is sent during the step, in any order.
  package var changed: [Int]?
  /// The first of Advise's places; empty: there must be none.
  package var places: [Place]?
  /// Totals since the start.
  package var moves: Int?
  package var wakes: Int?
  package var masters: Int?
  package var held: Int?
  package init() {}

  package struct Verdict: Sendable, Equatable {
    package var device: Int
    package var access: Access
    package var abilities: Usage
  }

  package struct Place: Sendable, Equatable {
    package var device: Int
    package var memory: Memory
    package var accesses: [Access]
  }
}
