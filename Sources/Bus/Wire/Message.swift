// sd-bus messages, read and written without a copy where C lets us.

internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

/// A message that somebody else owns: a handler's, for as long as it runs.
struct Message {
  let raw: OpaquePointer

  // Reading. All throw EBADMSG or ENXIO where the signature is another.

  /// false at the end of the surrounding container.
  func enter(_ type: TypeCode, _ contents: StaticString) throws(Errno) -> Bool {
    try checked(sd_bus_message_enter_container(raw, type.code, contents.chars)) > 0
  }
  /// false: the variant that comes next holds another type. Cheaper than asking for its type first.
  func enterVariant(of type: StaticString) throws(Errno) -> Bool {
    let code = sd_bus_message_enter_container(raw, TypeCode("v").code, type.chars)
    if code == -ENXIO { return false }
    try checked(code)
    return true
  }
  func leave() throws(Errno) { try checked(sd_bus_message_exit_container(raw)) }

  /// nil at the end of the container.
  func readFD() throws(Errno) -> Int32? {
    var fd: Int32 = -1
    return try checked(sd_bus_message_read_basic(raw, TypeCode("h").code, &fd)) > 0
      ? fd : nil
  }
  /// Borrowed from the message; nil at the end of the container.
  func readString() throws(Errno) -> UnsafePointer<CChar>? {
    var text: UnsafePointer<CChar>?
    return try checked(sd_bus_message_read_basic(raw, TypeCode("s").code, &text)) > 0
      ? text : nil
  }
  func readUInt32() throws(Errno) -> UInt32 {
    var value: UInt32 = 0
    try checked(sd_bus_message_read_basic(raw, TypeCode("u").code, &value))
    return value
  }
  func readUInt64() throws(Errno) -> UInt64 {
    var value: UInt64 = 0
    try checked(sd_bus_message_read_basic(raw, TypeCode("t").code, &value))
    return value
  }
  func readBool() throws(Errno) -> Bool {
    var value: Int32 = 0
    try checked(sd_bus_message_read_basic(raw, TypeCode("b").code, &value))
    return value != 0
  }
  /// What the variant that comes next holds; nil if none comes.
  func variantContents() throws(Errno) -> UnsafePointer<CChar>? {
    var type: CChar = 0
    var contents: UnsafePointer<CChar>?
    try checked(sd_bus_message_peek_type(raw, &type, &contents))
    return type == TypeCode("v").code ? contents : nil
  }
  func skip(_ types: StaticString) throws(Errno) {
    try checked(sd_bus_message_skip(raw, types.chars))
  }

  // Writing. Errors here are ENOMEM and our own mistakes: the reply is then not sent.

  func open(_ type: TypeCode, _ contents: StaticString) throws(Errno) {
    try checked(sd_bus_message_open_container(raw, type.code, contents.chars))
  }
  func close() throws(Errno) { try checked(sd_bus_message_close_container(raw)) }
  func append(_ value: UInt32) throws(Errno) {
    var value = value
    try checked(sd_bus_message_append_basic(raw, TypeCode("u").code, &value))
  }
  func append(_ value: UInt64) throws(Errno) {
    var value = value
    try checked(sd_bus_message_append_basic(raw, TypeCode("t").code, &value))
  }
  func append(_ value: DeviceNumber) throws(Errno) { try append(value.rawValue) }
  func append(_ value: Bool) throws(Errno) {
    var value: Int32 = value ? 1 : 0
    try checked(sd_bus_message_append_basic(raw, TypeCode("b").code, &value))
  }
  func append(_ value: String) throws(Errno) {
    // As an argument a String would be copied to the heap.
    let code = value.withCString { sd_bus_message_append_basic(raw, TypeCode("s").code, $0) }
    try checked(code)
  }
  func append(fd: Int32) throws(Errno) {
    var fd = fd
    try checked(sd_bus_message_append_basic(raw, TypeCode("h").code, &fd))
  }
  func append(_ list: [String]) throws(Errno) {
    try open("a", "s")
    for one in list { try append(one) }
    try close()
  }

  /// One `{sv}` entry. `type` is the value's signature; `body` writes it.
  func entry(
    _ key: StaticString, _ type: StaticString, _ body: () throws(Errno) -> Void
  ) throws(Errno) {
    try entry(key.chars, type, body)
  }
  func entry(
    _ key: UnsafePointer<CChar>, _ type: StaticString, _ body: () throws(Errno) -> Void
  ) throws(Errno) {
    try open("e", "sv")
    try checked(sd_bus_message_append_basic(raw, TypeCode("s").code, key))
    try open("v", type)
    try body()
    try close()
    try close()
  }

  /// The caller's unique name; borrowed.
  var sender: UnsafePointer<CChar>? { sd_bus_message_get_sender(raw) }
  func isFrom(_ name: String) -> Bool { sender.map { strcmp($0, name) == 0 } ?? false }
  /// The same for the log, and who a reply goes to.
  var senderName: String { sender.map { String(cString: $0) } ?? "" }
  var destination: String { receiver.map { String(cString: $0) } ?? "" }
  /// The unique name that a reply is sent to; borrowed.
  var receiver: UnsafePointer<CChar>? { sd_bus_message_get_destination(raw) }
  var isError: Bool { sd_bus_message_is_method_error(raw, nil) > 0 }
  /// No reply has come in time, says sd-bus itself.
  var hasTimedOut: Bool {
    sd_bus_message_is_method_error(raw, Names.Standard.error + "NoReply") > 0
  }

  // Sending.

  /// An empty reply to this call; the caller of this function frees it.
  func makeReply() throws(BusError) -> Message {
    var reply: OpaquePointer?
    let code = sd_bus_message_new_method_return(raw, &reply)
    guard let reply else { throw .failed("no reply: \(Errno(-code))") }
    return Message(raw: reply)
  }

  /// A new method call on this message's bus, as if it came from `sender`.
  fileprivate func newCall(from sender: UnsafePointer<CChar>?) throws(Errno) -> OwnedMessage {
    var new: OpaquePointer?
    try checked(
      sd_bus_message_new(sd_bus_message_get_bus(raw), &new, UInt8(SD_BUS_MESSAGE_METHOD_CALL)))
    let call = OwnedMessage(taking: new!)
    try checked(sd_bus_message_set_sender(new, sender))
    return call
  }

  func send() throws(Errno) {
    let bus = sd_bus_message_get_bus(raw)
    var queued: UInt64 = 0
    sd_bus_get_n_queued_write(bus, &queued)
    guard queued < Limits.unsentMessages else { throw Errno(ENOBUFS) }
    try checked(sd_bus_send(bus, raw, nil))
  }
}

/// A message that we hold a reference to: a call that is answered later, or one being written.
final class OwnedMessage {
  let message: Message
  /// Takes a reference of its own.
  init(keeping other: Message) { message = Message(raw: sd_bus_message_ref(other.raw)) }
  /// Takes over the reference that C returned.
  init(taking raw: OpaquePointer) { message = Message(raw: raw) }
  deinit { sd_bus_message_unref(message.raw) }

  static func reply(to call: Message) throws(BusError) -> OwnedMessage {
    OwnedMessage(taking: try call.makeReply().raw)
  }

  /// A copy of what a reply needs of the call. The call itself is not kept while it waits, since it
  /// would keep all its fds and data as well.
  static func stub(of call: Message) throws(Errno) -> OwnedMessage {
    var cookie: UInt64 = 0
    try checked(sd_bus_message_get_cookie(call.raw, &cookie))
    let stub = try call.newCall(from: call.sender)
    let raw = stub.message.raw
    try checked(
      sd_bus_message_set_expect_reply(raw, sd_bus_message_get_expect_reply(call.raw)))
    try checked(
      sd_bus_message_set_allow_interactive_authorization(
        raw, sd_bus_message_get_allow_interactive_authorization(call.raw)))
    try checked(sd_bus_message_seal(raw, cookie, 0))
    return stub
  }

  /// The same for the call that this unsent reply answers, to send an error instead.
  static func stub(ofCallBehind reply: Message) throws(Errno) -> OwnedMessage {
    var cookie: UInt64 = 0
    try checked(sd_bus_message_get_reply_cookie(reply.raw, &cookie))
    let stub = try reply.newCall(from: sd_bus_message_get_destination(reply.raw))
    try checked(sd_bus_message_seal(stub.message.raw, cookie, 0))
    return stub
  }

  func send() throws(Errno) { try message.send() }
}

/// A letter of a D-Bus type signature. Written as a literal it is a constant; a Character would be
/// converted at each use.
struct TypeCode: ExpressibleByUnicodeScalarLiteral {
  let code: CChar
  init(unicodeScalarLiteral letter: Unicode.Scalar) {
    code = CChar(truncatingIfNeeded: letter.value)
  }
}

extension StaticString {
  /// NUL-terminated, as every literal is.
  var chars: UnsafePointer<CChar> {
    UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
  }
}

/// Whether two C strings are the same, without a Swift String.
func same(_ text: UnsafePointer<CChar>, _ word: StaticString) -> Bool {
  strcmp(text, word.chars) == 0
}

/// `Errno.checkNegative`, inlined for success: it is called thirty times in a Place, and a call into
/// another module would cost that often.
@discardableResult
func checked(_ result: Int32) throws(Errno) -> Int32 {
  result < 0 ? try Errno.checkNegative(result) : result
}
