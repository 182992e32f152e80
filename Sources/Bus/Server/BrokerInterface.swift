// org.primed.Broker1: decode, ask the service, reply. Nothing is decided here.
// The handlers have the names that the C header declares.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import CBus
internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement
internal import Ports

/// Runs a handler's body: a thrown error becomes the call's error reply.
private func handle(
  _ call: Message, _ connection: BusConnection, _ error: UnsafeMutablePointer<sd_bus_error>?,
  _ body: (CallContext) throws(BusError) -> Void
) -> Int32 {
  let asker = CallContext(call, connection)
  // The user must be known by the time that the fds are closed: they are charged to that user.
  if connection.service.received(from: asker.caller, of: asker.known?.uid), asker.known?.uid == nil
  {
    asker.track()
  }
  do throws(BusError) {
    try body(asker)
    return 1
  } catch let failure {
    connection.noteRefusal(failure, of: call.sender)
    return failure.set(error)
  }
}

// MARK: Place

@c @implementation
func primed_bus_place(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { asker throws(BusError) in
    let decoded = try call.readPlanes(connection.service.identity(of:)).get()
    var query = Query(planes: decoded.planes)
    if let failure = try call.readHints(into: &query.hints) { throw failure }
    asker.complete(&query.hints)
    if let answer = asker.askNow(query, decoded) {
      let reply = try call.makeReply()
      defer { sd_bus_message_unref(reply.raw) }
      return reply.send(answer, to: query, connection.service)
    }
    try asker.replyLater(query, decoded)
  }
}

/// Who asks, while its call is being handled.
private struct CallContext {
  let call: Message
  let connection: BusConnection
  let caller: Caller
  /// nil: it was not tracked when the call came.
  let known: Tracked?

  init(_ call: Message, _ connection: BusConnection) {
    (self.call, self.connection) = (call, connection)
    caller = Caller(uniqueName: call.sender)
    known = connection.find(caller)
  }

  func track() { connection.track(caller, call.sender) }

  /// Adds the hints of the caller's SetDefaults that the question does not give.
  func complete(_ hints: inout Hints) {
    known?.complete(&hints)
    // `explain` fills all that `verdicts` does.
    if hints.explain { hints.verdicts = true }
    hints.asker = caller.id
  }

  /// nil: the buffer has to be looked at first.
  func askNow(_ query: Query, _ decoded: DecodedPlanes) -> Answer? {
    connection.service.placeNow(
      query, for: caller, track: { track() }, hold: { try? hold(decoded) })
  }

  func replyLater(_ query: Query, _ decoded: DecodedPlanes) throws(BusError) {
    let later = try LaterReply(to: call)
    try askLater(query, decoded) { [connection] result in
      switch result {
      case .success(let answer): later.reply.message.send(answer, to: query, connection.service)
      case .failure(let error): later.refuse(error, connection)
      }
    }
  }

  func askLater(
    _ query: Query, _ decoded: DecodedPlanes, then: @escaping (Result<Answer, BusError>) -> Void
  ) throws(BusError) {
    track()
    connection.service.place(query, holding: try hold(decoded), for: caller, then: then)
  }
}

/// The distinct dma-bufs of a query, with fds of our own.
private func hold(_ decoded: DecodedPlanes) throws(BusError) -> [HeldBuffer] {
  var buffers: [HeldBuffer] = []
  for i in 0..<decoded.planes.count
  where !buffers.contains(where: { $0.identity == decoded.planes[i] }) {
    do {
      let fd = try OwnedFD.duplicate(decoded.fd(i))
      buffers.append(HeldBuffer(identity: decoded.planes[i], fd: fd))
    } catch {
      throw .limitsExceeded("too many fds are held at the moment; try again later")
    }
  }
  return buffers
}

/// What is kept of a call that is answered later. The call itself is not kept, so that its fds are
/// closed when its handler returns.
private struct LaterReply {
  let reply: OwnedMessage
  private let isExpected: Bool

  init(to call: Message) throws(BusError) {
    reply = try OwnedMessage.reply(to: call)
    isExpected = sd_bus_message_get_expect_reply(call.raw) > 0
  }

  /// Sends the error in place of the reply.
  func refuse(_ failure: BusError, _ connection: BusConnection) {
    connection.noteRefusal(failure, of: reply.message.receiver)
    guard isExpected, let call = try? OwnedMessage.stub(ofCallBehind: reply.message) else { return }
    call.message.replyError(failure)
  }
}

extension OwnedMessage {
  func complete(_ write: (Message) throws(Errno) -> Void) { message.complete(write) }
}

extension Message {
  /// Completes and sends this reply to a Place.
  fileprivate func send(_ answer: Answer, to query: Query, _ service: any BrokerService) {
    do throws(Errno) {
      try append(answer, query.hints.explain ? service.explain(query, answer) : nil)
      if Log.writes(.debug) { log(answer, service) }
      try send()
    } catch {
      noteUnsent(error)
    }
  }

  /// If the reply can't be sent, since the caller is gone or its queue is full, the call is left to
  /// the caller's own time-out.
  fileprivate func complete(_ write: (Message) throws(Errno) -> Void) {
    do throws(Errno) {
      try write(self)
      try send()
    } catch {
      noteUnsent(error)
    }
  }

  fileprivate func noteUnsent(_ error: Errno) { Log.write(.debug, "could not reply: \(error)") }

  func replyError(_ failure: BusError) {
    var error = sd_bus_error()
    _ = failure.set(&error)
    sd_bus_reply_method_error(raw, &error)
    sd_bus_error_free(&error)
  }

  /// At log level debug: one line for each answer.
  fileprivate func log(_ answer: Answer, _ service: any BrokerService) {
    Log.write(
      .debug,
      "told \(destination) of buffer \(answer.buffer.inode): \(answer.device.major):\(answer.device.minor),"
        + " \(answer.access.word), \(answer.confidence.word)",
      [
        ("SENDER", destination), ("BUFFER", "\(answer.buffer.inode)"),
        ("DEVICE", service.stableID(of: answer.device)),
      ])
  }
}

// MARK: PlaceMany

/// One item of a PlaceMany: its question, or why it has none.
private enum Item {
  case query(Query, DecodedPlanes)
  case bad(BusError)
}

/// Answers as they come, in the items' order; replies when the last is there.
private final class Gathering {
  private let message: OwnedMessage
  private let connection: BusConnection
  private let caller: Caller
  private var answers: [(query: Query, result: Result<Answer, BusError>)?]
  private var missing: Int

  init(
    _ call: Message, _ connection: BusConnection, _ caller: Caller, count: Int
  ) throws(BusError) {
    message = try OwnedMessage.reply(to: call)
    (self.connection, self.caller) = (connection, caller)
    answers = Array(repeating: nil, count: count)
    missing = count
    if count == 0 { reply() }
  }

  func put(_ index: Int, _ query: Query, _ result: Result<Answer, BusError>) {
    if case .failure(let error) = result {
      connection.noteRefusal(error, of: message.message.receiver)
    }
    answers[index] = (query, result)
    missing -= 1
    if missing == 0 { reply() }
  }

  private func reply() {
    do throws(Errno) {
      try message.message.open("a", "(tuutta{sv})")
      try goOn(from: 0)
    } catch {
      message.message.noteUnsent(error)
    }
  }

  /// Appends the answers from this one on. An explanation takes long, so at most one is written
  /// before others' calls are handled.
  private func goOn(from start: Int) throws(Errno) {
    let (reply, service) = (message.message, connection.service)
    for index in start..<answers.count {
      guard let (query, result) = answers[index] else { continue }
      if query.hints.explain, index > start {
        return service.onATurn(of: caller) { [self] in
          do throws(Errno) { try goOn(from: index) } catch { message.message.noteUnsent(error) }
        }
      }
      try reply.open("r", "tuutta{sv}")
      switch result {
      case .success(let first):
        // While it waited for the other items, a change may have been signalled: send the latest.
        let answer = service.renewed(query, first, for: caller)
        let explanation = query.hints.explain ? service.explain(query, answer) : nil
        try reply.append(answer, explanation)
        if Log.writes(.debug) { reply.log(answer, service) }
      case .failure(let error): try reply.appendFailed(error)
      }
      try reply.close()
    }
    try reply.close()
    try message.send()
  }
}

extension Message {
  fileprivate func readItems(for asker: CallContext) throws(BusError) -> [Item] {
    var items: [Item] = []
    do {
      _ = try enter("a", "(aha{sv})")
      while try enter("r", "aha{sv}") {
        guard items.count < Limits.itemsPerCall else {
          throw BusError.limitsExceeded(
            "more than \(Limits.itemsPerCall) items; send them in several calls")
        }
        items.append(try readItem(for: asker))
        try leave()
      }
      try leave()
    } catch let error as BusError {
      throw error
    } catch {
      throw .invalidArgument("items: \(error)")
    }
    return items
  }

  /// - Throws: if the rest of the message can't be read.
  private func readItem(for asker: CallContext) throws(BusError) -> Item {
    let planes = try readPlanes(asker.connection.service.identity(of:))
    var hints = Hints()
    let failure = try readHints(into: &hints)
    switch planes {
    case .failure(let error): return .bad(error)
    case .success(let decoded):
      if let failure { return .bad(failure) }
      asker.complete(&hints)
      return .query(Query(planes: decoded.planes, hints: hints), decoded)
    }
  }
}

@c @implementation
func primed_bus_place_many(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { asker throws(BusError) in
    let items = try call.readItems(for: asker)
    let gathering = try Gathering(call, connection, asker.caller, count: items.count)
    for (index, item) in items.enumerated() {
      switch item {
      case .bad(let error):
        gathering.put(index, Query(planes: Planes(), hints: Hints()), .failure(error))
      case .query(let query, let decoded):
        if let answer = asker.askNow(query, decoded) {
          gathering.put(index, query, .success(answer))
          continue
        }
        do throws(BusError) {
          try asker.askLater(query, decoded) { gathering.put(index, query, $0) }
        } catch {
          gathering.put(index, query, .failure(error))
        }
      }
    }
  }
}

// MARK: Advise, SetDefaults, ReleaseDevice

@c @implementation
func primed_bus_advise(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { _ throws(BusError) in
    let users = try call.readUsers()
    let hints = try call.readHints(for: .advise)
    let advice = try connection.service.advise(users, hints).get()
    try OwnedMessage.reply(to: call).complete { m throws(Errno) in
      try m.append(advice, explain: hints.explain)
    }
  }
}

@c @implementation
func primed_bus_set_defaults(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { asker throws(BusError) in
    let hints = try call.readHints()
    let later = try LaterReply(to: call)
    asker.track()
    connection.whenIdentified(asker.caller) { user in
      guard user != nil, let known = connection.find(asker.caller) else {
        return later.refuse(.tooManyConnections, connection)
      }
      known.use(hints)
      later.reply.complete { _ throws(Errno) in }
    }
  }
}

@c @implementation
func primed_bus_release_device(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { asker throws(BusError) in
    let device: DeviceNumber
    let why: String
    let kept: OwnedMessage
    do throws(Errno) {
      device = DeviceNumber(try call.readUInt64())
      let chars = try call.readString()
      guard let chars, strnlen(chars, Limits.reasonBytes + 1) <= Limits.reasonBytes
      else { throw Errno(E2BIG) }
      why = String(cString: chars)
      kept = try OwnedMessage.stub(of: call)
    } catch {
      throw .invalidArgument(
        error.code == E2BIG ? "the reason is longer than \(Limits.reasonBytes) bytes" : "\(error)")
    }
    asker.track()
    connection.authorize(kept, Names.releaseAction) { refusal in
      if let refusal { return connection.refuse(kept.message, refusal) }
      connection.service.release(device, why: why, for: kept.message.senderName) { result in
        switch result {
        case .success(let hold):
          do {
            let reply = try OwnedMessage.reply(to: kept.message)
            try reply.message.append(fd: hold.fd.rawValue)
            try reply.send()
          } catch {
            // The device is in use again as soon as the guard is lost: the caller must know.
            connection.refuse(kept.message, .failed("the guard can't be sent: \(error)"))
          }
        case .failure(let error): connection.refuse(kept.message, error)
        }
      }
    }
  }
}
