// A connection that has something here: whose it is, and when it goes.
//
// Both are asked of the bus without waiting for it: a match for the connection's end first, then its user,
// so that a connection which ends in between is one whose user the bus does not know. sd_bus_track would
// wait for the bus, trust anybody's word that a connection has ended, and leave the bus where that has no
// match left for us.

internal import CSystemd
internal import Glibc
internal import Linux

final class Tracked {
  let name: String
  private var match: OpaquePointer?
  private var question: OpaquePointer?
  private var uid: uid_t?
  private var ended = false
  private var waiting: [(uid_t?) -> Void] = []
  private let admit: (uid_t) -> Bool
  private let onLeft: () -> Void

  /// - Parameters:
  ///   - admit: called once with the connection's user; false: it is not to be kept.
  ///   - onLeft: called once, when it has gone or is not kept; may drop the last reference.
  init(
    _ bus: OpaquePointer, _ sender: UnsafePointer<CChar>, admit: @escaping (uid_t) -> Bool,
    onLeft: @escaping () -> Void
  ) throws(Errno) {
    name = String(cString: sender)
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
    let rule =
      "type='signal',sender='\(Names.driver)',path='\(Names.driverPath)',interface='\(Names.driver)',"
      + "member='NameOwnerChanged',arg0='\(name)'"
    try Errno.checkNegative(
      sd_bus_add_match_async(
        bus, &match, rule,
        { signal, me, _ in Tracked.from(me).ownerChanged(Message(raw: signal!)) },
        { reply, me, _ in Tracked.from(me).watched(Message(raw: reply!)) }, me))
  }

  /// Without a match we would not learn of its end.
  private func watched(_ reply: Message) -> Int32 {
    if reply.isError { left() }
    return 1
  }

  /// sd-bus leaves it to the bus to check a match's sender, and that does not check what is sent to us
  /// alone: anybody could tell that somebody else has gone.
  private func ownerChanged(_ signal: Message) -> Int32 {
    guard let sender = signal.sender, same(sender, "org.freedesktop.DBus"),
      (try? signal.skip("ss")) != nil, let owner = try? signal.readString(), owner.pointee == 0
    else { return 0 }
    left()
    return 0
  }

  private func left() {
    withExtendedLifetime(self) {
      guard !ended else { return }
      ended = true
      tell(nil)
      onLeft()
    }
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
        bus, &raw, Names.driver, Names.driverPath, Names.driver, "GetConnectionUnixUser"))
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
      left()
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
