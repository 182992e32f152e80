// A client's connection for which primed keeps something: finds out its user, and when it
// disconnects.
//
// Both are asked of the bus asynchronously. The match for its NameOwnerChanged signal is added
// first and its user is asked second: if it disconnects in between, the bus answers that it knows
// no such connection. dbus-daemon drops its own replies while its queue to primed is full (64 fds,
// anybody's), so both are asked again if a reply does not come in time.
//
// sd_bus_track is not used: it waits for the bus, believes a forged NameOwnerChanged signal, and
// closes the connection if the bus has no match left for us. The match is added by a plain AddMatch
// call, and BusConnection's filter receives the signal: sd_bus_add_match would compare every message
// with it, which costs 500 instructions a question.

internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

final class Tracked {
  let name: String
  /// Its place in the order of arrival: later ones have higher numbers.
  let arrival: UInt64
  private let bus: OpaquePointer
  private var match: OpaquePointer?
  private var question: OpaquePointer?
  /// How long the bus's replies are waited for before both are asked again; doubles each time.
  private var patience = Limits.firstBusReply
  private(set) var uid: uid_t?
  /// What SetDefaults set; nil: nothing. A reference, so that testing for nil copies no hints.
  private var defaults: Defaults?

  private final class Defaults {
    let hints: Hints
    init(_ hints: Hints) { self.hints = hints }
  }
  private var ended = false
  /// The bus has said that the connection is gone.
  private(set) var hasLeft = false
  private var waiting: [(uid_t?) -> Void] = []
  private let admit: (uid_t) -> Bool
  private let onLeft: () -> Void

  /// - Parameters:
  ///   - admit: called once with the connection's user; false: it is not to be tracked.
  ///   - onLeft: called once, when it has disconnected or is no longer tracked; may drop the last
  ///   reference.
  init(
    _ bus: OpaquePointer, _ sender: UnsafePointer<CChar>, _ arrival: UInt64,
    admit: @escaping (uid_t) -> Bool,
    onLeft: @escaping () -> Void
  ) throws(Errno) {
    name = String(cString: sender)
    self.bus = sd_bus_ref(bus)
    self.arrival = arrival
    self.admit = admit
    self.onLeft = onLeft
    try watch()
    try askForUser()
  }

  deinit {
    stopAsking()
    sd_bus_unref(bus)
  }

  /// Cancels what was asked, and takes the match back.
  private func stopAsking() {
    sd_bus_slot_unref(question)
    sd_bus_slot_unref(match)
    (question, match) = (nil, nil)
    guard let call = try? call("RemoveMatch", rule) else { return }
    sd_bus_message_set_expect_reply(call.message.raw, 0)
    sd_bus_send(bus, call.message.raw, nil)
  }

  /// A reply has not come in time.
  private func askAgain() {
    guard !ended else { return }
    patience *= 2
    guard patience <= Limits.longestBusReply else { return leave() }
    stopAsking()
    do throws(Errno) {
      try watch()
      try askForUser()
    } catch {
      leave()
    }
  }

  private static func from(_ userdata: UnsafeMutableRawPointer?) -> Tracked {
    Unmanaged<Tracked>.fromOpaque(userdata!).takeUnretainedValue()
  }

  // MARK: Its end

  /// The match rule of the signal that it has disconnected.
  private var rule: String {
    "type='signal',sender='\(Names.Standard.driver)',path='\(Names.Standard.driverPath)',"
      + "interface='\(Names.Standard.driver)',member='NameOwnerChanged',arg0='\(name)'"
  }

  private func watch() throws(Errno) {
    match = try ask("AddMatch", rule) { reply, me, _ in
      let reply = Message(raw: reply!)
      if reply.hasTimedOut {
        Tracked.from(me).askAgain()
      } else if reply.isError {
        Tracked.from(me).leave()  // Without a match we would not learn of its end.
      }
      return 1
    }
  }

  /// The bus says that it has disconnected.
  func hasGone() {
    hasLeft = true
    leave()
  }

  /// It is not tracked from now on.
  func leave() {
    withExtendedLifetime(self) {
      guard !ended else { return }
      ended = true
      tell(nil)
      onLeft()
    }
  }

  // MARK: Its hints

  /// SetDefaults: these hints hold for its later questions.
  func use(_ hints: Hints) { defaults = hints == Hints() ? nil : Defaults(hints) }

  /// Adds the hints of SetDefaults that the question does not give.
  func complete(_ hints: inout Hints) {
    if let defaults { hints = hints.filled(from: defaults.hints) }
  }

  // MARK: Its user

  /// Calls `then` with the user, at once if it is known; nil: it has disconnected, or is no longer
  /// tracked.
  func whenIdentified(_ then: @escaping (uid_t?) -> Void) {
    if uid != nil || ended { return then(uid) }
    waiting.append(then)
  }

  private func askForUser() throws(Errno) {
    question = try ask("GetConnectionUnixUser", name) { reply, me, _ in
      Tracked.from(me).answered(Message(raw: reply!))
    }
  }

  private func answered(_ reply: Message) -> Int32 {
    guard !ended, uid == nil || reply.isError else { return 0 }
    if reply.hasTimedOut {
      askAgain()
      return 0
    }
    guard !reply.isError, let user = try? reply.readUInt32() else {
      hasGone()
      return 0
    }
    guard admit(user) else {
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

  // MARK: The bus's own methods

  private func call(_ method: String, _ argument: String) throws(Errno) -> OwnedMessage {
    var raw: OpaquePointer?
    let driver = Names.Standard.driver
    try Errno.checkNegative(
      sd_bus_message_new_method_call(
        bus, &raw, driver, Names.Standard.driverPath, driver, method))
    let call = OwnedMessage(taking: raw!)
    try call.message.append(argument)
    return call
  }

  /// Sends a call; `then` gets the reply, with this object as userdata. Freeing the returned slot
  /// cancels it.
  private func ask(
    _ method: String, _ argument: String, _ then: sd_bus_message_handler_t
  ) throws(Errno) -> OpaquePointer? {
    var slot: OpaquePointer?
    let call = try call(method, argument)
    let me = Unmanaged.passUnretained(self).toOpaque()
    try Errno.checkNegative(
      sd_bus_call_async(bus, &slot, call.message.raw, then, me, patience * 1000))
    return slot
  }
}
