// org.primed.Broker1: decode, ask the service, reply. Nothing is decided here.
// The handlers have the names that the C header declares.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import CBus
internal import CSystemd
internal import Kernel
internal import Linux
internal import Placement

/// The most that one PlaceMany may ask: what fits into one message's fds on dbus-broker.
private let placeManyLimit = 64
/// Characters of the reason for a release that are kept, for the log.
private let whyLimit = 200

/// Runs a handler's body: a thrown error becomes the call's error reply.
private func handle(
  _ call: Message, _ connection: BusConnection, _ error: UnsafeMutablePointer<sd_bus_error>?,
  _ body: () throws(BusError) -> Void
) -> Int32 {
  do throws(BusError) {
    try body()
    return 1
  } catch let failure {
    connection.noteRefusal(failure, of: call)
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
  return handle(call, connection, error) { () throws(BusError) in
    let asker = Asker(call, connection)
    let decoded = try call.readPlanes(connection.service.identity(of:)).get()
    let hints = connection.service.completed(try call.readHints().get(), for: asker.caller)
    let query = Query(planes: decoded.planes, hints: hints)
    if let answer = asker.askNow(query, decoded) {
      return try call.beginReply().send(query, answer, connection.service)
    }
    let later = try LaterReply(to: call)
    try asker.askLater(query, decoded) { result in
      switch result {
      case .success(let answer): later.reply.send(query, answer, connection.service)
      case .failure: later.refuse()
      }
    }
  }
}

/// Who asks, while its call is being handled.
private struct Asker {
  let call: Message
  let connection: BusConnection
  let caller: Caller

  init(_ call: Message, _ connection: BusConnection) {
    self.call = call
    self.connection = connection
    caller = Caller(uniqueName: call.sender)
  }

  /// nil: the buffer has to be looked at first.
  func askNow(_ query: Query, _ decoded: DecodedPlanes) -> Answer? {
    guard let answer = connection.service.placeNow(query, for: caller) else { return nil }
    if answer.recheck != 0 { watch(query, answer) }
    if connection.service.isStale(query) { lookAgain(query, decoded, told: answer) }
    return answer
  }

  func askLater(
    _ query: Query, _ decoded: DecodedPlanes, then: @escaping (Result<Answer, BusError>) -> Void
  ) throws(BusError) {
    let (service, caller) = (connection.service, caller)
    connection.track(caller, call)
    service.place(query, holding: try hold(decoded), for: caller) { result in
      then(result)
      if case .success(let answer) = result, answer.recheck != 0 {
        service.watch(query, answer, for: caller)
      }
    }
  }

  private func watch(_ query: Query, _ answer: Answer) {
    connection.track(caller, call)
    connection.service.watch(query, answer, for: caller)
  }

  /// The caller has its answer already; what this look finds reaches it as PlacementChanged. At a
  /// limit the old answer stands until somebody asks again.
  private func lookAgain(_ query: Query, _ decoded: DecodedPlanes, told answer: Answer) {
    let (service, caller) = (connection.service, caller)
    var again = query
    again.hints.fresh = true
    watch(query, answer)
    guard let held = try? hold(decoded) else { return }
    service.place(again, holding: held, for: caller) { result in
      if case .success(let new) = result, new.recheck == 0 {
        service.unwatch(new.buffer, for: caller)
      }
    }
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

/// What is kept of a call that is not answered at once: not the call itself, whose fds are closed when its
/// handler returns, whatever else came with them.
private struct LaterReply {
  let reply: OwnedMessage
  private let refusal: OwnedMessage

  init(to call: Message) throws(BusError) {
    reply = try call.beginReply()
    refusal = try call.makeRefusal(
      .limitsExceeded(
        "too much is under way for you, or for everybody; wait for answers, or use your own default"
      ))
  }

  func refuse() { refusal.complete { _ throws(Errno) in } }
}

extension OwnedMessage {
  /// Completes and sends the reply to a Place.
  fileprivate func send(_ query: Query, _ answer: Answer, _ service: any BrokerService) {
    complete { m throws(Errno) in
      let explanation = query.hints.explain ? service.explain(query, answer) : nil
      try m.append(answer, explanation)
      if Log.writes(.debug) { m.log(answer, service) }
    }
  }

  /// An answer that can't be sent is the caller's time-out: it may be gone, or its queue full.
  func complete(_ write: (Message) throws(Errno) -> Void) {
    do throws(Errno) {
      try write(message)
      try send()
    } catch {
      Log.write(.debug, "could not reply: \(error)")
    }
  }
}

extension Message {
  fileprivate func beginReply() throws(BusError) -> OwnedMessage {
    do throws(Errno) { return try OwnedMessage.reply(to: self) } catch {
      throw .failed("no reply: \(error)")
    }
  }

  fileprivate func makeRefusal(_ failure: BusError) throws(BusError) -> OwnedMessage {
    var (error, message) = (sd_bus_error(), OpaquePointer?.none)
    _ = failure.set(&error)
    defer { sd_bus_error_free(&error) }
    guard sd_bus_message_new_method_error(raw, &message, &error) >= 0, let message else {
      throw .failed("no reply")
    }
    return OwnedMessage(taking: message)
  }

  func replyError(_ failure: BusError) {
    var error = sd_bus_error()
    _ = failure.set(&error)
    sd_bus_reply_method_error(raw, &error)
    sd_bus_error_free(&error)
  }

  /// For those who debug: a line an answer, of a reply.
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

  func append(_ answer: Answer, _ explanation: Explanation?) throws(Errno) {
    try append(answer.device)
    try append(answer.access.rawValue)
    try append(answer.confidence.rawValue)
    try append(answer.buffer.inode)
    try append(answer.generation)
    try open("a", "{sv}")
    if answer.recheck != 0 {
      try entry("recheck", "u") { () throws(Errno) in try append(answer.recheck) }
    }
    if let explanation { try append(explanation) }
    try close()
  }

  private func append(_ e: Explanation) throws(Errno) {
    try entry("node", "s") { () throws(Errno) in try append(e.node) }
    if let home = e.home { try entry("home", "t") { () throws(Errno) in try append(home) } }
    try entry("home-memory", "s") { () throws(Errno) in try append(e.homeMemory.word) }
    try entry("residency", "s") { () throws(Errno) in try append(e.residency.word) }
    if let count = e.attachments {
      try entry("attachments", "u") { () throws(Errno) in try append(count) }
    }
    try entry("reason", "s") { () throws(Errno) in try append(e.reason) }
    try entry("rule", "s") { () throws(Errno) in try append(e.rule) }
    try entry("evidence", "as") { () throws(Errno) in try append(e.evidence) }
    try entry("devices", "a(tus)") { () throws(Errno) in
      try open("a", "(tus)")
      for line in e.devices {
        try open("r", "tus")
        try append(line.device)
        try append(line.access.rawValue)
        try append(line.why)
        try close()
      }
      try close()
    }
    try entry("cached", "b") { () throws(Errno) in try append(e.cached) }
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
  private let service: any BrokerService
  private var answers: [(query: Query, result: Result<Answer, BusError>)?]
  private var missing: Int

  init(_ call: Message, _ service: any BrokerService, count: Int) throws(BusError) {
    message = try call.beginReply()
    self.service = service
    answers = Array(repeating: nil, count: count)
    missing = count
    if count == 0 { reply() }
  }

  func put(_ index: Int, _ query: Query, _ result: Result<Answer, BusError>) {
    answers[index] = (query, result)
    missing -= 1
    if missing == 0 { reply() }
  }

  private func reply() {
    message.complete { reply throws(Errno) in
      try reply.open("a", "(tuutta{sv})")
      for case .some(let (query, result)) in answers {
        try reply.open("r", "tuutta{sv}")
        switch result {
        case .success(let answer):
          let explanation = query.hints.explain ? service.explain(query, answer) : nil
          try reply.append(answer, explanation)
          if Log.writes(.debug) { reply.log(answer, service) }
        case .failure(let error): try reply.appendFailed(error)
        }
        try reply.close()
      }
      try reply.close()
    }
  }
}

extension Message {
  /// An item that failed alone.
  fileprivate func appendFailed(_ error: BusError) throws(Errno) {
    try append(DeviceNumber.none)
    try append(Access.unknown.rawValue)
    try append(Confidence.guess.rawValue)
    try append(UInt64(0))
    try append(UInt64(0))
    try open("a", "{sv}")
    try entry("error", "s") { () throws(Errno) in try append("\(error.name): \(error.message)") }
    try close()
  }

  fileprivate func readItems(
    _ service: any BrokerService, _ caller: Caller
  ) throws(BusError) -> [Item] {
    var items: [Item] = []
    do {
      _ = try enter("a", "(aha{sv})")
      while try enter("r", "aha{sv}") {
        guard items.count < placeManyLimit else {
          throw BusError.limitsExceeded(
            "more than \(placeManyLimit) items; send them in several calls")
        }
        items.append(try readItem(service, caller))
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

  /// - Throws: what makes the rest of the message unreadable.
  private func readItem(
    _ service: any BrokerService, _ caller: Caller
  ) throws(BusError) -> Item {
    let planes = try readPlanes(service.identity(of:))
    let hints = try readHints()
    switch (planes, hints) {
    case (.success(let decoded), .success(let hints)):
      let completed = service.completed(hints, for: caller)
      return .query(Query(planes: decoded.planes, hints: completed), decoded)
    case (.failure(let error), _), (_, .failure(let error)): return .bad(error)
    }
  }
}

@c @implementation
func primed_bus_place_many(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { () throws(BusError) in
    let asker = Asker(call, connection)
    let items = try call.readItems(connection.service, asker.caller)
    let gathering = try Gathering(call, connection.service, count: items.count)
    for (index, item) in items.enumerated() {
      switch item {
      case .bad(let error):
        connection.noteRefusal(error, of: call)
        gathering.put(index, Query(planes: Planes(), hints: Hints()), .failure(error))
      case .query(let query, let decoded):
        if let answer = asker.askNow(query, decoded) {
          gathering.put(index, query, .success(answer))
          continue
        }
        do throws(BusError) {
          try asker.askLater(query, decoded) { gathering.put(index, query, $0) }
        } catch {
          connection.noteRefusal(error, of: call)
          gathering.put(index, query, .failure(error))
        }
      }
    }
  }
}

// MARK: SetDefaults, ReleaseDevice

@c @implementation
func primed_bus_set_defaults(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let (call, connection) = (Message(raw: raw!), BusConnection.from(userdata))
  return handle(call, connection, error) { () throws(BusError) in
    let hints = try call.readHints().get()
    let caller = Caller(uniqueName: call.sender)
    let later = try LaterReply(to: call)
    connection.track(caller, call)
    connection.whenIdentified(caller) { user in
      guard user != nil else { return later.refuse() }
      connection.service.setDefaults(hints, for: caller)
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
  return handle(call, connection, error) { () throws(BusError) in
    let device: DeviceNumber
    let why: String
    let kept: OwnedMessage
    do throws(Errno) {
      device = DeviceNumber(try call.readUInt64())
      why = try call.readString().map { String(String(cString: $0).prefix(whyLimit)) } ?? ""
      kept = try OwnedMessage.stub(of: call)
    } catch { throw .invalidArgument("\(error)") }
    connection.track(Caller(uniqueName: call.sender), call)
    connection.authorize(kept, Names.releaseAction) { refusal in
      if let refusal { return kept.message.replyError(refusal) }
      connection.service.release(device, why: why, for: kept.message.senderName) { result in
        switch result {
        case .success(let hold):
          guard let reply = try? OwnedMessage.reply(to: kept.message) else { return }
          reply.complete { m throws(Errno) in try m.append(fd: hold.fd.rawValue) }
        case .failure(let error): kept.message.replyError(error)
        }
      }
    }
  }
}
