// A question and its answer, in plain values: what the bus decodes into and replies from.

package enum Access: UInt32, Sendable, CaseIterable {
  case unknown, native, inPlace, mayMove, moves, unreachable
}

package enum Confidence: UInt32, Sendable, CaseIterable, Comparable {
  case guess, state, stable, intent
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

package struct Usage: OptionSet, Hashable, Sendable {
  package var rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package static let sample = Usage(rawValue: 1)
  package static let scanout = Usage(rawValue: 2)
  package static let capture = Usage(rawValue: 4)
}

/// The hints of one question (dbus/org.primed.Broker1.xml, Place); `nil` and 0 mean not given. Plain
/// data: copying one costs no reference counting.
package struct Hints: Sendable, Equatable {
  package var samplingDevice = DeviceNumber.none
  package var targetDevice = DeviceNumber.none
  package var primaryDevice = DeviceNumber.none
  package var usage: Usage?
  package var format: UInt32?
  package var modifier: UInt64?
  /// The client's pid, 0 unknown. A pidfd was turned into its pid and start time by the bus room.
  package var clientPID: UInt32 = 0
  /// The connection that asks, 0 in a scenario: what it says of clients is good for it alone.
  package var asker: UInt64 = 0
  /// The user who asks: whose share of the cache the buffer takes.
  package var user: UInt32 = 0
  package var wake = false
  package var fresh = false
  package var explain = false
  package init() {}

  /// What `SetDefaults` said, where this question says nothing.
  package func filled(from defaults: Hints) -> Hints {
    var h = self
    if h.samplingDevice == .none { h.samplingDevice = defaults.samplingDevice }
    if h.targetDevice == .none { h.targetDevice = defaults.targetDevice }
    if h.primaryDevice == .none { h.primaryDevice = defaults.primaryDevice }
    h.usage = h.usage ?? defaults.usage
    h.format = h.format ?? defaults.format
    h.modifier = h.modifier ?? defaults.modifier
    if h.clientPID == 0 { h.clientPID = defaults.clientPID }
    h.wake = h.wake || defaults.wake
    h.fresh = h.fresh || defaults.fresh
    h.explain = h.explain || defaults.explain
    return h
  }
}

/// The DMA-BUFs of one buffer in plane order, 1 to 4, without an allocation.
package struct Planes: Sendable, Equatable {
  package private(set) var count = 0
  private var a = BufferIdentity(inode: 0)
  private var b = BufferIdentity(inode: 0)
  private var c = BufferIdentity(inode: 0)
  private var d = BufferIdentity(inode: 0)
  package static let limit = 4
  package init() {}
  /// - Precondition: `count < Planes.limit`.
  package mutating func append(_ plane: BufferIdentity) {
    switch count {
    case 0: a = plane
    case 1: b = plane
    case 2: c = plane
    default:
      precondition(count == 3)
      d = plane
    }
    count += 1
  }
  package subscript(i: Int) -> BufferIdentity {
    switch i {
    case 0: a
    case 1: b
    case 2: c
    default: d
    }
  }
}

package struct Query: Sendable {
  package var planes: Planes
  package var hints: Hints
  package init(planes: Planes, hints: Hints) {
    self.planes = planes
    self.hints = hints
  }
}

/// The plain answer. `device` is 0 only when there is no DRM device at all.
package struct Answer: Sendable, Equatable {
  package var device: DeviceNumber
  package var access: Access
  package var confidence: Confidence
  package var buffer: BufferIdentity
  package var generation: UInt64
  /// Milliseconds after which to ask again; 0: settled.
  package var recheck: UInt32
  /// Answered without a new look at the buffer.
  package var cached: Bool
  package init(
    device: DeviceNumber, access: Access, confidence: Confidence, buffer: BufferIdentity,
    generation: UInt64, recheck: UInt32 = 0, cached: Bool = false
  ) {
    self.device = device
    self.access = access
    self.confidence = confidence
    self.buffer = buffer
    self.generation = generation
    self.recheck = recheck
    self.cached = cached
  }
}

/// What `explain` adds, in words and lists that people and tools read.
package struct Explanation: Sendable, Equatable {
  package struct Line: Sendable, Equatable {
    package var device: DeviceNumber
    package var access: Access
    package var why: String
    package init(device: DeviceNumber, access: Access, why: String) {
      self.device = device
      self.access = access
      self.why = why
    }
  }
  /// Path of the device's node, "" where there is none.
  package var node = ""
  package var home: DeviceNumber?
  package var homeMemory = Memory.unknown
  package var residency = Memory.unknown
  /// Importers attached to plane 0 when it was last looked at; nil: unknown.
  package var attachments: UInt32?
  package var reason = ""
  package var rule = ""
  package var evidence: [String] = []
  package var devices: [Line] = []
  package var cached = false
  package init() {}
}
