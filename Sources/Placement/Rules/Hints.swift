// The hints of a question as values, and how each is set.

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

extension Hint {
  package var key: Hints.Keys { Hints.Keys(rawValue: 1 << UInt16(rawValue)) }
}

/// What a hint's value may be, by its kind. Each setter also notes that the hint was given.
extension Hints {
  /// - Precondition: `hint` is of the kind device, number32 or number64.
  package mutating func set(_ hint: Hint, number: UInt64) {
    given.insert(hint.key)
    switch hint {
    case .samplingDevice: samplingDevice = DeviceNumber(number)
    case .targetDevice: targetDevice = DeviceNumber(number)
    case .primaryDevice: primaryDevice = DeviceNumber(number)
    case .format: format = UInt32(truncatingIfNeeded: number)
    case .modifier: modifier = number
    default: preconditionFailure("not a number")
    }
  }

  /// - Precondition: `hint` is of the kind flag.
  package mutating func set(_ hint: Hint, flag: Bool) {
    given.insert(hint.key)
    switch hint {
    case .verdicts: verdicts = flag
    case .wake: wake = flag
    case .fresh: fresh = flag
    case .explain: explain = flag
    default: preconditionFailure("not a flag")
    }
  }

  package mutating func set(usage: Usage) {
    given.insert(.usage)
    self.usage = usage
  }

  package mutating func set(candidates: DeviceList) {
    given.insert(.candidates)
    self.candidates = candidates
  }

  /// - Parameter pid: 0: unknown.
  package mutating func set(clientPID pid: UInt32) {
    given.insert(.client)
    clientPID = pid
  }
}
