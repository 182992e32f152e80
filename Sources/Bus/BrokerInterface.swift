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
    let decoded = try call.readPlanes(connection.service.identity(of:))
    let hints = connection.service.completed(try call.readHints(), for: asker.caller)
    let query = Query(planes: decoded.planes, hints: hints)
    // Not the call: its fds are closed when we return, whatever else came with them.
    let reply = try call.beginReply()
    if let answer = asker.askNow(query, decoded) {
      return reply.send(query, answer, connection.service)
    }
    try asker.askLater(query, decoded) { reply.send(query, $0, connection.service) }
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
    _ query: Query, _ decoded: DecodedPlanes, then: @escaping (Answer) -> Void
  ) throws(BusError) {
    let (service, caller) = (connection.service, caller)
    connection.track(caller, call)
    try service.place(query, holding: try hold(decoded), for: caller) { answer in
      then(answer)
      if answer.recheck != 0 { service.watch(query, answer, for: caller) }
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
    do throws(BusError) {
      try service.place(again, holding: try hold(decoded), for: caller) { new in
        if new.recheck == 0 { service.unwatch(new.buffer, for: caller) }
      }
    } catch {
      Log.write(.debug, "not looked at again: \(error.message)")
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
  fileprivate func complete(_ write: (Message) throws(Errno) -> Void) {
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

  fileprivate func readItems(_ service: any BrokerService, _ caller: Caller) throws(BusError) -> [Item] {
    var items: [Item] = []
    do {
      _ = try enter("a", "(aha{sv})")
      while try enter("r", "aha{sv}") {
        var planes = Result<DecodedPlanes, BusError>.failure(.noPlanes)
        do throws(BusError) { planes = .success(try readPlanes(service.identity(of:))) } catch {
          planes = .failure(error)
        }
        let hints = service.completed(try readHints(), for: caller)
        switch planes {
        case .success(let decoded):
          items.append(.query(Query(planes: decoded.planes, hints: hints), decoded))
        case .failure(let error): items.append(.bad(error))
        }
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
    guard items.count <= placeManyLimit else {
      throw .limitsExceeded("more than \(placeManyLimit) items; send them in several calls")
    }
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
          try asker.askLater(query, decoded) { gathering.put(index, query, .success($0)) }
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
    let hints = try call.readHints()
    let caller = Caller(uniqueName: call.sender)
    connection.track(caller, call)
    connection.service.setDefaults(hints, for: caller)
    try call.beginReply().complete { _ throws(Errno) in }
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
    do {
      device = DeviceNumber(try call.readUInt64())
      why = try call.readString().map { String(cString: $0) } ?? ""
    } catch { throw .invalidArgument("\(error)") }
    let kept = OwnedMessage(keeping: call)
    try connection.authorize(call, Names.releaseAction) { allowed in
      guard allowed else {
        return kept.message.replyError(
          .accessDenied("releasing a device takes root, or the polkit action \(Names.releaseAction)"))
      }
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

// MARK: Properties

@c @implementation
func primed_bus_get_broker(
  _ bus: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ interface: UnsafePointer<CChar>?,
  _ property: UnsafePointer<CChar>?, _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let service = BusConnection.service(userdata)
  let reply = Message(raw: raw!)
  do throws(Errno) {
    switch String(cString: property!) {
    case "Version": try reply.append(service.version)
    case "Generation": try reply.append(service.generation)
    case "PrimaryDevice": try reply.append(service.primaryDevice)
    case "NoMove": try reply.append(service.noMove.word)
    case "Evidence": try reply.append(service.evidence)
    case "Statistics":
      try reply.open("a", "{st}")
      for (name, value) in service.statistics {
        try reply.open("e", "st")
        try reply.append("\(name)")
        try reply.append(value)
        try reply.close()
      }
      try reply.close()
    default: return -2
    }
    return 1
  } catch {
    return -error.code
  }
}
