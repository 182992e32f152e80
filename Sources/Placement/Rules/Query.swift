// A question and its answer, as plain values: what the bus decodes and replies with.

package enum Access: UInt32, Sendable, CaseIterable {
  case unknown, native, inPlace, mayMove, moves, unreachable

  /// From 0, the strongest, to the weakest.
  package var weakness: Int {
    switch self {
    case .native: 0
    case .inPlace: 1
    case .unknown: 2
    case .mayMove: 3
    case .moves: 4
    case .unreachable: 5
    }
  }
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
  package static let all: Usage = [.sample, .scanout, .capture]
}

/// A list of device numbers from an asker, at most `limit`. The first four need no allocation: most
/// compositors have one or two renderers.
package struct DeviceList: Sendable, Equatable {
  package static let limit = 64
  package private(set) var count = 0
  private var first = (DeviceNumber.none, DeviceNumber.none, DeviceNumber.none, DeviceNumber.none)
  private var rest: [DeviceNumber]?
  package init() {}
  package init(_ numbers: some Sequence<DeviceNumber>) {
    for number in numbers { append(number) }
  }

  /// - Precondition: `count < limit`.
  package mutating func append(_ number: DeviceNumber) {
    precondition(count < Self.limit)
    switch count {
    case 0: first.0 = number
    case 1: first.1 = number
    case 2: first.2 = number
    case 3: first.3 = number
    default: rest = (rest ?? []) + [number]
    }
    count += 1
  }

  package subscript(i: Int) -> DeviceNumber {
    switch i {
    case 0: first.0
    case 1: first.1
    case 2: first.2
    case 3: first.3
    default: rest![i - 4]
    }
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.count == b.count && (0..<a.count).allSatisfy { a[$0] == b[$0] }
  }
}

/// The hints of one question (dbus/org.primed.Broker1.xml, Place); `nil` and 0: not given. Plain
/// data, so that copying needs no reference counting, except for a long list of candidates.
package struct Hints: Sendable, Equatable {
  package var samplingDevice = DeviceNumber.none
  package var targetDevice = DeviceNumber.none
  package var primaryDevice = DeviceNumber.none
  package var usage: Usage?
  package var format: UInt32?
  package var modifier: UInt64?
  /// The client's pid; 0: unknown. The bus room has already turned a pidfd into pid and start time.
  package var clientPID: UInt32 = 0
  /// Devices that the asker can use the buffer on; nil: any. An empty list allows none.
  package var candidates: DeviceList?
  package var verdicts = false
  package var wake = false
  package var fresh = false
  package var explain = false
  /// The hints that the question itself gives: they replace the defaults' values, also with
  /// `false`.
  package var given: Keys = []
  /// The connection that asks, 0 in a scenario: what it says of clients applies to this connection
  /// only.
  package var asker: UInt64 = 0
  /// The user who asks, whose share of the cache the buffer takes.
  package var user: UInt32 = 0
  /// Devices that may be woken for this question, if `wake` is given, and whose card node may be
  /// opened where they have no other.
  package var touchable = DeviceSet.all
  package init() {}

  /// One bit for each hint of the contract.
  package struct Keys: OptionSet, Hashable, Sendable {
    package var rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let samplingDevice = Hint.samplingDevice.key
    package static let targetDevice = Hint.targetDevice.key
    package static let primaryDevice = Hint.primaryDevice.key
    package static let usage = Hint.usage.key
    package static let format = Hint.format.key
    package static let modifier = Hint.modifier.key
    package static let client = Hint.client.key
    package static let candidates = Hint.candidates.key
    package static let verdicts = Hint.verdicts.key
    package static let wake = Hint.wake.key
    package static let fresh = Hint.fresh.key
    package static let explain = Hint.explain.key
  }

  /// The asker has checked that its candidates read this format and modifier: stated by
  /// `candidates` in the question itself, not by those of SetDefaults.
  package var layoutChecked: Bool { given.contains(.candidates) }

  /// Takes from `SetDefaults` what this question does not give.
  package func filled(from defaults: Hints) -> Hints {
    var h = self
    if !given.contains(.samplingDevice) { h.samplingDevice = defaults.samplingDevice }
    if !given.contains(.targetDevice) { h.targetDevice = defaults.targetDevice }
    if !given.contains(.primaryDevice) { h.primaryDevice = defaults.primaryDevice }
    if !given.contains(.usage) { h.usage = defaults.usage }
    if !given.contains(.format) { h.format = defaults.format }
    if !given.contains(.modifier) { h.modifier = defaults.modifier }
    if !given.contains(.client) { h.clientPID = defaults.clientPID }
    if !given.contains(.candidates) { h.candidates = defaults.candidates }
    if !given.contains(.verdicts) { h.verdicts = defaults.verdicts }
    if !given.contains(.wake) { h.wake = defaults.wake }
    if !given.contains(.fresh) { h.fresh = defaults.fresh }
    if !given.contains(.explain) { h.explain = defaults.explain }
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
