// The connection to the bus: our name, our objects, our signals.

internal import CSystemd
internal import Glibc
package import Linux
package import Placement

package enum BusChoice: Sendable, Equatable {
  case system, session, address(String)

  /// `system`, `session`, or a D-Bus address (which has a colon).
  package init?(_ word: String) {
    switch word {
    case "system": self = .system
    case "session": self = .session
    default:
      guard word.contains(":") else { return nil }
      self = .address(word)
    }
  }
}

/// Opens a connection; the caller owns the reference that comes back.
package func openBus(_ choice: BusChoice) throws(Errno) -> OpaquePointer {
  var bus: OpaquePointer?
  switch choice {
  case .system: try Errno.checkNegative(sd_bus_open_system(&bus))
  case .session: try Errno.checkNegative(sd_bus_open_user(&bus))
  case .address(let address):
    try Errno.checkNegative(sd_bus_new(&bus))
    try Errno.checkNegative(sd_bus_set_address(bus, address))
    try Errno.checkNegative(sd_bus_set_bus_client(bus, 1))
    try Errno.checkNegative(sd_bus_negotiate_fds(bus, 1))
    try Errno.checkNegative(sd_bus_start(bus))
  }
  return bus!
}

package final class BusConnection {
  let service: any BrokerService
  let bus: OpaquePointer
  private var tracked: [Caller: Tracked] = [:]
  /// The tracked caller that was looked up last: most machines have one caller, which asks often.
  private var latest: (caller: Caller, tracked: Tracked)?
  private var arrivals: UInt64 = 0
  /// Questions to polkit under way.
  private var questions: [Question] = []
  /// The bus has closed the connection, or can't be read from.
  package var onLost: (() -> Void)?
  /// Calls and items refused by a fault of their caller (`isMisbehaviour`), since the start.
  package var refusals: UInt64 = 0
  var refusalPace = RefusalPace()
  /// Called when a tracked caller has left the bus, or is not tracked any more.
  package var onLeft: ((Caller) -> Void)?
  /// Called when the bus has said whose connection a tracked caller is; false: its user has too
  /// many.
  package var onIdentified: ((Caller, UInt32) -> Bool)?

  /// Connects; `addBroker` puts the service's objects up, `takeName` then makes them known.
  package init(_ choice: BusChoice, on loop: EventLoop, serving service: any BrokerService)
    throws(Errno)
  {
    self.service = service
    bus = try openBus(choice)
    try Errno.checkNegative(sd_bus_attach_event(bus, loop.raw, 0))
    try Errno.checkNegative(
      sd_bus_add_filter(bus, nil, filter, Unmanaged.passUnretained(self).toOpaque()))
  }

  deinit { sd_bus_flush_close_unref(bus) }

  /// - Throws: EEXIST where another primed owns the name, EACCES where the bus policy forbids it,
  ///   EOPNOTSUPP where the bus passes no fds.
  package func takeName() throws(Errno) {
    guard sd_bus_can_send(bus, CChar(UInt8(ascii: "h"))) > 0 else { throw Errno(EOPNOTSUPP) }
    try Errno.checkNegative(sd_bus_request_name(bus, Names.bus, 0))
  }

  /// Leaves the bus and gives up the name. Messages that the bus has not read yet are dropped
  /// rather than waited for, since the bus may be stuck.
  package func close() { sd_bus_close(bus) }

  /// Sends a Ping to primed's own name over the bus. `then` is called if an answer comes within
  /// `time` milliseconds.
  package func askOurselves(within time: Milliseconds, then: @escaping () -> Void) {
    final class Call {
      let then: () -> Void
      init(_ then: @escaping () -> Void) { self.then = then }
    }
    let call = Unmanaged.passRetained(Call(then))
    var raw: OpaquePointer?
    defer { sd_bus_message_unref(raw) }
    let code = sd_bus_message_new_method_call(
      bus, &raw, Names.bus, Names.path, Names.Standard.peer, "Ping")
    guard code >= 0,
      sd_bus_call_async(
        bus, nil, raw,
        { reply, call, _ in
          let call = Unmanaged<Call>.fromOpaque(call!).takeRetainedValue()
          if !Message(raw: reply!).isError { call.then() }
          return 1
        }, call.toOpaque(), time * 1000) >= 0
    else { return call.release() }
  }

  static func from(_ userdata: UnsafeMutableRawPointer?) -> BusConnection {
    Unmanaged<BusConnection>.fromOpaque(userdata!).takeUnretainedValue()
  }
  static func service(_ userdata: UnsafeMutableRawPointer?) -> any BrokerService {
    from(userdata).service
  }

  /// Handles NameOwnerChanged and Disconnected. Any client can send signals of these names, so
  /// those with another sender than the bus, or sd-bus itself, are ignored.
  fileprivate func heard(_ signal: Message) {
    if signal.isFrom(Names.Standard.local) {
      if sd_bus_message_is_signal(signal.raw, Names.Standard.local, "Disconnected") > 0 {
        onLost?()
      }
      return
    }
    guard signal.isFrom(Names.Standard.driver),
      sd_bus_message_is_signal(signal.raw, Names.Standard.driver, "NameOwnerChanged") > 0,
      let name = try? signal.readString(), (try? signal.skip("s")) != nil,
      let owner = try? signal.readString(), owner.pointee == 0,
      let gone = tracked[Caller(uniqueName: name)], strcmp(name, gone.name) == 0
    else { return }
    gone.hasGone()
  }

  // MARK: Objects and signals

  package func addDevice(_ properties: DeviceProperties) throws(Errno) -> DeviceObject {
    try DeviceObject(bus: bus, properties)
  }

  package func propertiesChanged(_ names: [Names.Property]) {
    emitPropertiesChanged(bus, Names.path, Names.broker, names.map(\.rawValue))
  }

  package func placementsInvalidated(_ generation: UInt64, _ devices: [DeviceNumber]) {
    emit(.placementsInvalidated, to: nil) { m throws(Errno) in
      try m.append(generation)
      try m.open("a", "t")
      for device in devices { try m.append(device) }
      try m.close()
    }
  }

  package func deviceReleasing(_ device: DeviceNumber) {
    emit(.deviceReleasing, to: nil) { m throws(Errno) in try m.append(device) }
  }

  /// Unicast: only a caller that asked about the buffer gets it.
  package func placementChanged(_ answer: Answer, to caller: Caller) {
    guard let name = tracked[caller]?.name else { return }
    emit(.placementChanged, to: name) { m throws(Errno) in
      try m.append(answer.buffer.inode)
      try m.append(answer.device)
      try m.append(answer.access.rawValue)
      try m.append(answer.confidence.rawValue)
    }
  }

  private func emit(
    _ signal: Names.Signal, to name: String?, _ write: (Message) throws(Errno) -> Void
  ) {
    do throws(Errno) {
      var raw: OpaquePointer?
      try Errno.checkNegative(
        sd_bus_message_new_signal(bus, &raw, Names.path, Names.broker, signal.rawValue))
      let message = OwnedMessage(taking: raw!)
      if let name { try Errno.checkNegative(sd_bus_message_set_destination(raw, name)) }
      try write(message.message)
      try message.send()
    } catch {
      Log.write(.warning, "could not send the signal \(signal.rawValue): \(error)")
    }
  }

  // MARK: Callers

  /// Whether `onLeft` will be called for this connection.
  package func isTracked(_ caller: Caller) -> Bool { find(caller) != nil }

  func find(_ caller: Caller) -> Tracked? {
    if let latest, latest.caller == caller { return latest.tracked }
    guard let found = tracked[caller] else { return nil }
    latest = (caller, found)
    return found
  }

  /// Watches the connection `name`: `onIdentified` is called when the bus has told its user, and
  /// `onLeft` when it disconnects. If it can't be watched it stays untracked, and nothing may be
  /// kept for it.
  func track(_ caller: Caller, _ name: UnsafePointer<CChar>?) {
    guard find(caller) == nil, let name else { return }
    if tracked.count >= Limits.connectionsInAll { makeRoom() }
    arrivals += 1
    tracked[caller] = try? Tracked(
      bus, name, arrivals,
      admit: { [unowned self] uid in onIdentified?(caller, uid) ?? true },
      onLeft: { [unowned self] in
        (tracked[caller], latest) = (nil, nil)
        dropQuestions(of: caller)
        onLeft?(caller)
      })
  }

  /// Untracks the oldest connection of the user who has most of them, as if it had disconnected.
  /// Connections whose user is not known yet count as one user's.
  private func makeRoom() {
    let users = Dictionary(grouping: tracked.values, by: \.uid)
    let largest = users.values.max { $0.count < $1.count }
    largest?.min { $0.arrival < $1.arrival }?.leave()
  }

  /// Its user; nil: not tracked, or the bus has not told yet.
  package func user(of caller: Caller) -> UInt32? { find(caller)?.uid }

  /// Calls `then` with the connection's user, at once if it is known. nil: the connection is not
  /// tracked, or has disconnected.
  package func whenIdentified(_ caller: Caller, _ then: @escaping (UInt32?) -> Void) {
    guard let tracked = find(caller) else { return then(nil) }
    tracked.whenIdentified(then)
  }

  // MARK: Authorization

  /// Root is allowed at once; for other users polkit is asked, asynchronously. `then` gets nil if
  /// the action is allowed, else the error to send. It is not called if the caller disconnects
  /// first. The caller must be tracked.
  func authorize(_ call: OwnedMessage, _ action: String, then: @escaping (BusError?) -> Void) {
    let caller = Caller(uniqueName: call.message.sender)
    whenIdentified(caller) { [unowned self] uid in
      guard let uid else { return then(.tooManyConnections) }
      if uid == 0 { return then(nil) }
      guard questions.count(where: { $0.uid == uid }) < Limits.polkitQuestionsPerUser
      else {
        return then(.limitsExceeded("others of your calls wait for authorization; try again later"))
      }
      do throws(Errno) {
        let question = try Question(bus, call.message, action, from: caller, of: uid)
        questions.append(question)
        question.onAnswer = { [unowned self, unowned question] verdict in
          questions.removeAll { $0 === question }
          switch verdict {
          case .allowed: then(nil)
          case .userMustBeAsked: then(.authorizationRequired)
          case .denied: then(.accessDenied("this takes root, or the polkit action \(action)"))
          }
        }
      } catch {
        then(.failed("polkit can't be asked: \(error)"))
      }
    }
  }

  /// Cancels a caller's polkit questions when it disconnects.
  private func dropQuestions(of caller: Caller) {
    for question in questions where question.caller == caller { question.cancel() }
    questions.removeAll { $0.caller == caller }
  }
}

/// Called by sd-bus for every message that is no reply, before the objects' handlers; returning 0
/// passes the message on to them. Signals and calls of Properties are handled here because sd-bus's
/// matches and a second vtable would cost every Place more instructions.
private func filter(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  var type: UInt8 = 0
  sd_bus_message_get_type(raw, &type)
  if type == UInt8(SD_BUS_MESSAGE_SIGNAL) {
    BusConnection.from(userdata).heard(Message(raw: raw!))
  } else if let interface = sd_bus_message_get_interface(raw),
    same(interface, Names.Standard.properties), type == UInt8(SD_BUS_MESSAGE_METHOD_CALL)
  {
    return BusConnection.from(userdata).answerForUser(Message(raw: raw!)) ? 1 : 0
  }
  return 0
}
