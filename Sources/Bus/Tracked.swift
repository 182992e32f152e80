// A connection that has something here: whose it is, and when it goes.

internal import CSystemd
internal import Glibc
internal import Linux

final class Tracked {
  let name: String
  private var track: OpaquePointer?
  private var question: OpaquePointer?
  private var uid: uid_t?
  private var waiting: [(uid_t?) -> Void] = []
  private let onUser: (uid_t) -> Void
  private let onLeft: () -> Void

  /// - Parameters:
  ///   - onUser: called once, unless the connection goes before.
  ///   - onLeft: called once; may drop the last reference.
  init(
    _ bus: OpaquePointer, _ sender: UnsafePointer<CChar>, onUser: @escaping (uid_t) -> Void,
    onLeft: @escaping () -> Void
  ) throws(Errno) {
    name = String(cString: sender)
    self.onUser = onUser
    self.onLeft = onLeft
    let me = Unmanaged.passUnretained(self).toOpaque()
    try Errno.checkNegative(
      sd_bus_track_new(bus, &track, { _, me in Tracked.from(me).left() }, me))
    try Errno.checkNegative(sd_bus_track_add_name(track, sender))
    try askForUser(bus, me)
  }

  deinit {
    sd_bus_slot_unref(question)
    sd_bus_track_unref(track)
  }

  private static func from(_ userdata: UnsafeMutableRawPointer?) -> Tracked {
    Unmanaged<Tracked>.fromOpaque(userdata!).takeUnretainedValue()
  }

  private func left() -> Int32 {
    withExtendedLifetime(self) {
      identified(nil)
      onLeft()
    }
    return 0
  }

  // MARK: The user

  /// At once where it is known; nil: the bus won't say, or the connection has gone.
  func whenIdentified(_ then: @escaping (uid_t?) -> Void) {
    if let uid { return then(uid) }
    waiting.append(then)
  }

  private func askForUser(_ bus: OpaquePointer, _ me: UnsafeMutableRawPointer) throws(Errno) {
    var raw: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_message_new_method_call(
        bus, &raw, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
        "GetConnectionUnixUser"))
    let request = OwnedMessage(taking: raw!)
    try request.message.append(name)
    try Errno.checkNegative(
      sd_bus_call_async(
        bus, &question, raw, { reply, me, _ in Tracked.from(me).answered(Message(raw: reply!)) },
        me, 0))
  }

  private func answered(_ reply: Message) -> Int32 {
    let isError = sd_bus_message_is_method_error(reply.raw, nil) > 0
    identified(isError ? nil : try? reply.readUInt32())
    return 0
  }

  private func identified(_ user: uid_t?) {
    uid = user
    if let user { onUser(user) }
    let those = waiting
    waiting = []
    for one in those { one(user) }
  }
}
