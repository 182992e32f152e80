// Who may do what only an administrator should, beside root: whom polkit lets.

internal import CSystemd
internal import Linux

enum Authorization {
  enum Verdict { case allowed, denied, userMustBeAsked }

  /// One question to polkit under way. Keeps itself until the answer is there.
  private final class Question {
    let then: (Verdict) -> Void
    init(_ then: @escaping (Verdict) -> Void) { self.then = then }
  }

  /// `then` is called once. polkit may ask the user: that can take minutes.
  static func ask(
    _ bus: OpaquePointer, _ call: Message, _ action: String, _ then: @escaping (Verdict) -> Void
  ) {
    let question = Unmanaged.passRetained(Question(then))
    do throws(Errno) {
      let request = try polkitRequest(bus, call, action)
      try Errno.checkNegative(
        sd_bus_call_async(
          bus, nil, request.message.raw,
          { reply, userdata, _ in Authorization.answered(reply, userdata) }, question.toOpaque(),
          UInt64.max))
    } catch {
      question.release()
      then(.denied)
    }
  }

  /// org.freedesktop.PolicyKit1.Authority.CheckAuthorization((sa{sv}) s a{ss} u s).
  private static func polkitRequest(
    _ bus: OpaquePointer, _ call: Message, _ action: String
  ) throws(Errno) -> OwnedMessage {
    var raw: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_message_new_method_call(
        bus, &raw, "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization"))
    let owned = OwnedMessage(taking: raw!)
    let m = owned.message
    try m.open("r", "sa{sv}")
    try m.append("system-bus-name")
    try m.open("a", "{sv}")
    try m.entry("name", "s") { () throws(Errno) in
      try m.append(call.sender.map { String(cString: $0) } ?? "")
    }
    try m.close()
    try m.close()
    try m.append(action)
    try m.open("a", "{ss}")
    try m.close()
    // 1: the user may be asked, where the caller said that it can wait.
    let interactive = sd_bus_message_get_allow_interactive_authorization(call.raw) > 0
    try m.append(UInt32(interactive ? 1 : 0))
    try m.append("")
    return owned
  }

  fileprivate static func answered(
    _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?
  ) -> Int32 {
    let question = Unmanaged<Question>.fromOpaque(userdata!).takeRetainedValue()
    question.then((try? verdict(Message(raw: raw!))) ?? .denied)
    return 0
  }

  /// (bba{ss}): is allowed, would be if the user were asked, details.
  private static func verdict(_ reply: Message) throws(Errno) -> Verdict {
    guard !reply.isError, try reply.enter("r", "bba{ss}") else { return .denied }
    if try reply.readBool() { return .allowed }
    return try reply.readBool() ? .userMustBeAsked : .denied
  }
}
