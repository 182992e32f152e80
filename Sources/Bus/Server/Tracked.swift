// A connection that has something here: whose it is, and when it goes.
//
// Both are asked of the bus without waiting for it: a match for the connection's end first, then its user,
// so that a connection which ends in between is one whose user the bus does not know. sd_bus_track would
// wait for the bus, trust anybody's word that a connection has ended, and leave the bus where that has no
// match left for us.

internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

final class Tracked {
  let name: String
  /// Later ones have higher numbers.
  let arrival: UInt64
  private var match: OpaquePointer?
  private var question: OpaquePointer?
  private(set) var uid: uid_t?
  /// What SetDefaults set; nil: nothing. A reference, so that testing for nil copies no hints.
  private var defaults: Defaults?

  private final class Defaults {
    let hints: Hints
    init(_ hints: Hints) { self.hints = hints }
  }
  private var ended = false
  private var waiting: [(uid_t?) -> Void] = []
  private let admit: (uid_t) -> Bool
  private let onLeft: () -> Void

  /// - Parameters:
  ///   - admit: called once with the connection's user; false: it is not to be kept.
  ///   - onLeft: called once, when it has gone or is not kept; may drop the last reference.
  init(
    _ bus: OpaquePointer, _ sender: UnsafePointer<CChar>, _ arrival: UInt64,
    admit: @escaping (uid_t) -> Bool,
    onLeft: @escaping () -> Void
  ) throws(Errno) {
    name = String(cString: sender)
    self.arrival = arrival
    self.admit = admit
    self.onLeft = onLeft
    let me = Unmanaged.passUnretained(self).toOpaque()
    try watch(bus, me)
    try askForUser(bus, me)
  }

  deinit {
    sd_bus_slot_unref(question)
    sd_bus_slot_unref(match)
  }

  private static func from(_ userdata: UnsafeMutableRawPointer?) -> Tracked {
    Unmanaged<Tracked>.fromOpaque(userdata!).takeUnretainedValue()
  }

  // MARK: Its end

  private func watch(_ bus: OpaquePointer, _ me: UnsafeMutableRawPointer) throws(Errno) {
    // No sender in the match: sd-bus does not know who owns a well-known name, so every message
    // passes that part, and the rest of the rule is evaluated for it. `ownerChanged` checks the sender.
    let rule =
      "type='signal',path='\(Names.Standard.driverPath)',interface='\(Names.Standard.driver)',"
      + "member='NameOwnerChanged',arg0='\(name)'"
    try Errno.checkNegative(
      sd_bus_add_match_async(
        bus, &match, rule,
        { signal, me, _ in Tracked.from(me).ownerChanged(Message(raw: signal!)) },
        { reply, me, _ in Tracked.from(me).watched(Message(raw: reply!)) }, me))
  }

  /// Without a match we would not learn of its end.
  private func watched(_ reply: Message) -> Int32 {
    if reply.isError { leave() }
    return 1
  }

  /// Anybody can send such a signal, to all or to us alone: only the bus's own counts.
  private func ownerChanged(_ signal: Message) -> Int32 {
    guard signal.isFrom(Names.Standard.driver),
      (try? signal.skip("ss")) != nil, let owner = try? signal.readString(), owner.pointee == 0
    else { return 0 }
    leave()
    return 0
  }

  /// Nothing is kept for it from now on.
  func leave() {
    withExtendedLifetime(self) {
      guard !ended else { return }
      ended = true
      tell(nil)
      onLeft()
    }
  }

  // MARK: Its hints

  /// SetDefaults: from now on for all its questions.
  func use(_ hints: Hints) { defaults = hints == Hints() ? nil : Defaults(hints) }

  /// Fills in what it said for all its questions.
  func complete(_ hints: inout Hints) {
    if let defaults { hints = hints.filled(from: defaults.hints) }
  }

  // MARK: Its user

  /// At once where it is known; nil: the connection has gone, or is not kept.
  func whenIdentified(_ then: @escaping (uid_t?) -> Void) {
    if let uid { return then(uid) }
    waiting.append(then)
  }

  private func askForUser(_ bus: OpaquePointer, _ me: UnsafeMutableRawPointer) throws(Errno) {
    var raw: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_message_new_method_call(
        bus, &raw, Names.Standard.driver, Names.Standard.driverPath, Names.Standard.driver,
        "GetConnectionUnixUser"))
    let request = OwnedMessage(taking: raw!)
    try request.message.append(name)
    try Errno.checkNegative(
      sd_bus_call_async(
        bus, &question, raw, { reply, me, _ in Tracked.from(me).answered(Message(raw: reply!)) },
        me, 0))
  }

  private func answered(_ reply: Message) -> Int32 {
    guard !ended else { return 0 }
    guard !reply.isError, let user = try? reply.readUInt32(), admit(user) else {
      leave()
      return 0
    }
    uid = user
    tell(user)
    return 0
  }

  private func tell(_ user: uid_t?) {
    let those = waiting
    waiting = []
    for one in those { one(user) }
  }
}
