// A question and its answer, as plain values: what the bus decodes and replies with.

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
  package func contains(_ plane: BufferIdentity) -> Bool {
    (0..<count).contains { self[$0] == plane }
  }
}

package struct Query: Sendable {
  package var planes: Planes
  package var hints: Hints
  package init(planes: Planes, hints: Hints) {
    self.planes = planes
    self.hints = hints
  }

  /// Without hints, to be filled in place.
  package init(planes: Planes) {
    self.planes = planes
    hints = Hints()
  }

  /// The same without the hint `fresh`.
  package var asIfNotFresh: Query {
    var query = self
    query.hints.fresh = false
    return query
  }
}

/// The plain answer. `device` is 0 only if there is no DRM device.
package struct Answer: Sendable, Equatable {
  package var device: DeviceNumber
  package var access: Access
  package var confidence: Confidence
  package var buffer: BufferIdentity
  package var generation: UInt64
  /// Milliseconds after which to ask again; 0: the answer is settled.
  package var recheck: UInt32
  /// Answered without a new observation of the buffer.
  package var cached: Bool
  /// Served although an observation of the buffer was due or in progress, which may change the
  /// answer.
  package var stale: Bool
  /// A reference, so that an answer stays small: it is copied several times, and few callers ask
  /// for verdicts.
  private var kept: KeptVerdicts?
  /// nil: not asked for.
  package var verdicts: Verdicts? {
    get { kept?.verdicts }
    set { kept = newValue.map(KeptVerdicts.init) }
  }
  /// An answer without verdicts.
  package init(
    device: DeviceNumber, access: Access, confidence: Confidence, buffer: BufferIdentity,
    generation: UInt64, recheck: UInt32 = 0, cached: Bool = false, stale: Bool = false
  ) {
    self.device = device
    self.access = access
    self.confidence = confidence
    self.buffer = buffer
    self.generation = generation
    self.recheck = recheck
    self.cached = cached
    self.stale = stale
  }
}

private final class KeptVerdicts: Sendable, Equatable {
  let verdicts: Verdicts
  init(_ verdicts: Verdicts) { self.verdicts = verdicts }
  static func == (a: KeptVerdicts, b: KeptVerdicts) -> Bool { a.verdicts == b.verdicts }
}

/// What `explain` adds, as text and lists for people and tools.
package struct Explanation: Sendable, Equatable {
  package struct Line: Sendable, Equatable {
    package var device: DeviceNumber
    package var access: Access
    package var why: String
    /// Reasons that primectl compares with.
    package static let wouldHang = "would hang when it uses it"
    package static let mayHang = "may hang when it uses it"
    package static let ignored = "ignored by configuration"
    package init(device: DeviceNumber, access: Access, why: String) {
      self.device = device
      self.access = access
      self.why = why
    }
  }
  /// Path of the device's node; "": it has none.
  package var node = ""
  package var home: DeviceNumber?
  package var homeMemory = Memory.unknown
  package var residency = Memory.unknown
  /// Importers attached to plane 0 at the last observation; nil: unknown.
  package var attachments: UInt32?
  package var reason = ""
  package var rule = ""
  package var evidence: [String] = []
  package var devices: [Line] = []
  package var cached = false
  /// Not on the bus: devices that reached every plane at each observation, and those that an
  /// observation showed to move one.
  package var reached: [DeviceNumber] = []
  package var refused: [DeviceNumber] = []
  package init() {}
}
