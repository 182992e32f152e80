// A machine in a file: what primed-scenario(5) describes, as values. `ScenarioDecoder` makes
// them and has checked everything that can be checked without playing: every id named is declared,
// every index below is valid.

package import Placement

package struct Scenario: Sendable {
  package var name: String
  /// What it shows, in a sentence.
  package var about: String?
  /// The thread, page or mail that it was drawn from.
  package var source: String?
  package var kernel = KernelModel()
  package var devices: [DeviceModel] = []
  package var reaches: [Reach] = []
  package var buffers: [BufferModel] = []
  package var steps: [Step] = []
}

package struct KernelModel: Sendable {
  /// What imports do with DRM_PRIME_FD_TO_HANDLE_NO_MOVE. `ignored`: mainline, a full import;
  /// `validated`: honoured, and unknown flag bits are EINVAL.
  package enum NoMoveFlag: UInt8, Sendable { case ignored, honoured, validated }
  package var noMove = NoMoveFlag.ignored
  package var introspection = false
}

package struct DeviceModel: Sendable {
  package var id: String
  package var driver: String
  /// Minors of the nodes; at least one is there.
  package var card: UInt32?
  package var render: UInt32?
  /// Bytes.
  package var dedicated: UInt64 = 0
  package var power = Power.active
  package var imports = true
  package var exports = true
  package var role = Role.render
  package var bootVGA = false
  package var connectors: [String] = []
  /// Index of the paired display device (split).
  package var display: Int?

  /// The node that answers name.
  package var number: DeviceNumber { DeviceNumber(major: 226, minor: (render ?? card)!) }
  package var cardNumber: DeviceNumber? { card.map { DeviceNumber(major: 226, minor: $0) } }
  package var renderNumber: DeviceNumber? { render.map { DeviceNumber(major: 226, minor: $0) } }
}

/// That `importer` can use `exporter`'s buffers in some memory in place. `hangs`: where no other
/// reach of the pair holds, an import succeeds, nothing moves, and use hangs.
package struct Reach: Sendable, Hashable {
  package enum How: UInt8, Sendable { case dedicated, system, hangs }
  package var importer: Int
  package var exporter: Int
  package var how: How
}

package struct BufferModel: Sendable {
  package var id: String
  /// nil: memory of no device (udmabuf, dma-heap).
  package var exporter: Int?
  package var home: Memory
  package var residency: Memory
  package var planes = 1
  package var format: UInt32?
  package var modifier: UInt64?
  /// pid; 0 unknown.
  package var client: UInt32 = 0
}

package struct Step: Sendable {
  package enum Action: Sendable {
    case place(Question)
    case migrate(buffer: Int, to: Memory)
    case advance(Milliseconds)
    case unplug(Int)
    case plug(Int)
    case suspend(Int)
    case resume(Int)
    case release(Int)
    case unrelease(Int)
    case hang(Int)
    /// Only expects.
    case look
  }
  package var action: Action
  package var expect = Expectations()
}

/// A `place`: the buffers whose planes, in this order, make one buffer, and the hints.
package struct Question: Sendable {
  package var buffers: [Int]
  package var hints = Hints()
}

/// What a step expects; nil: nothing said.
package struct Expectations: Sendable {
  /// `.some(nil)`: no device.
  package var device: Int??
  package var access: Access?
  /// A floor: at least this sure. Who expects `stable` is content where the driver's record already
  /// gives `intent`.
  package var confidence: Confidence?
  package var rule: String?
  package var cached: Bool?
  /// The last part of the D-Bus error's name.
  package var error: String?
  /// Totals since the start.
  package var moves: Int?
  package var wakes: Int?
  package var masters: Int?
  package var held: Int?
}
