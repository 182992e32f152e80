// Asks polkit whether a user who is not root may do what takes an administrator.

internal import CSystemd
internal import Glibc
internal import Linux

enum Ruling { case allowed, denied, userMustBeAsked }

/// One call of polkit in progress; dropping it drops the answer. polkit may ask the user for a
/// password, so an answer can take minutes.
final class Question {
  let caller: Caller
  let uid: uid_t
  /// Called once, on a later turn of the loop. May drop the last reference.
  var onAnswer: ((Ruling) -> Void)?
  private let bus: OpaquePointer
  private var slot: OpaquePointer?
  /// The id under which polkit can be told to cancel the check.
  private let cancellation: String

  private static let service = "org.freedesktop.PolicyKit1"
  private static let path = "/org/freedesktop/PolicyKit1/Authority"
  private static let interface = "org.freedesktop.PolicyKit1.Authority"

  init(
    _ bus: OpaquePointer, _ call: Message, _ action: String, from caller: Caller, of uid: uid_t
  ) throws(Errno) {
    var cookie: UInt64 = 0
    sd_bus_message_get_cookie(call.raw, &cookie)
    cancellation = "\(call.senderName) \(cookie)"
    (self.bus, self.caller, self.uid) = (bus, caller, uid)
    let request = try Self.request(bus, "CheckAuthorization")
    try write(request.message, call, action)
    try Errno.checkNegative(
      sd_bus_call_async(
        bus, &slot, request.message.raw,
        { reply, me, _ in
          Unmanaged<Question>.fromOpaque(me!).takeUnretainedValue().answered(reply)
          return 0
        }, Unmanaged.passUnretained(self).toOpaque(), UInt64.max))
  }

  deinit { sd_bus_slot_unref(slot) }

  /// Tells polkit to stop asking the user.
  func cancel() {
    guard let request = try? Self.request(bus, "CancelCheckAuthorization") else { return }
    sd_bus_message_set_expect_reply(request.message.raw, 0)
    try? request.message.append(cancellation)
    try? request.send()
  }

  private static func request(
    _ bus: OpaquePointer, _ member: String
  ) throws(Errno) -> OwnedMessage {
    var raw: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_message_new_method_call(bus, &raw, service, path, interface, member))
    return OwnedMessage(taking: raw!)
  }

  /// CheckAuthorization((sa{sv}) subject, s action, a{ss} details, u flags, s cancellation).
  private func write(_ m: Message, _ call: Message, _ action: String) throws(Errno) {
    try m.open("r", "sa{sv}")
    try m.append("system-bus-name")
    try m.open("a", "{sv}")
    try m.entry("name", "s") { () throws(Errno) in try m.append(call.senderName) }
    try m.close()
    try m.close()
    try m.append(action)
    try m.open("a", "{ss}")
    try m.close()
    // Flag 1: polkit may ask the user. Only if the caller said that it can wait for that.
    let interactive = sd_bus_message_get_allow_interactive_authorization(call.raw) > 0
    try m.append(UInt32(interactive ? 1 : 0))
    try m.append(cancellation)
  }

  private func answered(_ raw: OpaquePointer?) {
    let verdict = (try? Self.verdict(Message(raw: raw!))) ?? .denied
    let tell = onAnswer
    onAnswer = nil
    tell?(verdict)
  }

  /// Reads (bba{ss}): whether it is allowed, whether the user would have to be asked, details.
  private static func verdict(_ reply: Message) throws(Errno) -> Ruling {
    guard !reply.isError, try reply.enter("r", "bba{ss}") else { return .denied }
    if try reply.readBool() { return .allowed }
    return try reply.readBool() ? .userMustBeAsked : .denied
  }
}
