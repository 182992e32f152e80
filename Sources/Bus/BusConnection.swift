// The connection to the bus: our name, our objects, our signals.

internal import CBus
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
  private let bus: OpaquePointer
  private var tracked: [Caller: Tracked] = [:]
  /// How many of a user's calls wait for polkit.
  private var authorizing: [uid_t: Int] = [:]
  /// Calls refused for their caller's own fault, since the start.
  package var refusals: UInt64 = 0
  var refusalPace = RefusalPace()
  /// Called when a tracked caller has left the bus, or is not tracked any more.
  package var onLeft: ((Caller) -> Void)?
  /// Called when the bus has said whose connection a tracked caller is; false: its user has too many.
  package var onIdentified: ((Caller, UInt32) -> Bool)?

  /// Connects and puts the objects up; `takeName` then makes them known.
  package init(_ choice: BusChoice, on loop: EventLoop, serving service: any BrokerService)
    throws(Errno)
  {
    self.service = service
    bus = try openBus(choice)
    // Without the bus there is nobody to serve; systemd starts us again.
    sd_bus_set_exit_on_disconnect(bus, 1)
    try Errno.checkNegative(sd_bus_attach_event(bus, loop.raw, 0))
    try Errno.checkNegative(sd_bus_add_object_manager(bus, nil, Names.path))
    let me = Unmanaged.passUnretained(self).toOpaque()
    try Errno.checkNegative(
      sd_bus_add_object_vtable(
        bus, nil, Names.path, Names.broker, primed_broker_vtable(), me))
    // Goes before the vtable.
    try Errno.checkNegative(sd_bus_add_object(bus, nil, Names.path, answerForUser, me))
    try Errno.checkNegative(
      sd_bus_add_object_vtable(
        bus, nil, Names.logPath, Names.logControl, primed_log_control_vtable(), nil))
  }

  deinit { sd_bus_flush_close_unref(bus) }

  /// - Throws: EEXIST where another primed owns the name, EACCES where the bus policy forbids it.
  package func takeName() throws(Errno) {
    try Errno.checkNegative(sd_bus_request_name(bus, Names.bus, 0))
  }

  static func from(_ userdata: UnsafeMutableRawPointer?) -> BusConnection {
    Unmanaged<BusConnection>.fromOpaque(userdata!).takeUnretainedValue()
  }
  static func service(_ userdata: UnsafeMutableRawPointer?) -> any BrokerService {
    from(userdata).service
  }

  // MARK: Objects and signals

  package func addDevice(_ properties: DeviceProperties) throws(Errno) -> DeviceObject {
    try DeviceObject(bus: bus, properties)
  }

  package func propertiesChanged(_ names: [String]) {
    emitPropertiesChanged(bus, Names.path, Names.broker, names)
  }

  package func placementsInvalidated(_ generation: UInt64, _ devices: [DeviceNumber]) {
    emit(Names.Signal.placementsInvalidated, to: nil) { m throws(Errno) in
      try m.append(generation)
      try m.open("a", "t")
      for device in devices { try m.append(device) }
      try m.close()
    }
  }

  package func deviceReleasing(_ device: DeviceNumber) {
    emit(Names.Signal.deviceReleasing, to: nil) { m throws(Errno) in try m.append(device) }
  }

  /// Unicast: only who asked about the buffer hears of it.
  package func placementChanged(_ answer: Answer, to caller: Caller) {
    guard let name = tracked[caller]?.name else { return }
    emit(Names.Signal.placementChanged, to: name) { m throws(Errno) in
      try m.append(answer.buffer.inode)
      try m.append(answer.device)
      try m.append(answer.access.rawValue)
      try m.append(answer.confidence.rawValue)
    }
  }

  private func emit(
    _ signal: String, to name: String?, _ write: (Message) throws(Errno) -> Void
  ) {
    do throws(Errno) {
      var raw: OpaquePointer?
      try Errno.checkNegative(
        sd_bus_message_new_signal(bus, &raw, Names.path, Names.broker, signal))
      let message = OwnedMessage(taking: raw!)
      if let name { try Errno.checkNegative(sd_bus_message_set_destination(raw, name)) }
      try write(message.message)
      try message.send()
    } catch {
      Log.write(.warning, "could not send the signal \(signal): \(error)")
    }
  }

  // MARK: Callers

  /// Each takes a match, of which dbus-daemon lets a connection have 512.
  private static let trackedLimit = 448

  /// Will be heard of when it goes.
  package func isTracked(_ caller: Caller) -> Bool { tracked[caller] != nil }

  /// From now on `onLeft` tells when the sender of `call` has gone, and `onIdentified` soon, whose it
  /// is. A caller that can't be tracked is one for whom nothing can be kept.
  func track(_ caller: Caller, _ call: Message) {
    guard tracked[caller] == nil, tracked.count < Self.trackedLimit, let sender = call.sender else {
      return
    }
    tracked[caller] = try? Tracked(
      bus, sender,
      admit: { [unowned self] uid in onIdentified?(caller, uid) ?? true },
      onLeft: { [unowned self] in
        tracked[caller] = nil
        onLeft?(caller)
      })
  }

  /// At once where it is known; nil: it is not tracked, or has gone.
  package func whenIdentified(_ caller: Caller, _ then: @escaping (UInt32?) -> Void) {
    guard let tracked = tracked[caller] else { return then(nil) }
    tracked.whenIdentified(then)
  }

  // MARK: Authorization

  /// How many of a user's calls may wait for polkit, which may wait for the user.
  private static let authorizationLimit = 4

  /// Root may; others ask polkit, without the loop waiting for it. `then` gets nil for "yes".
  /// The caller must be tracked.
  func authorize(_ call: OwnedMessage, _ action: String, then: @escaping (BusError?) -> Void) {
    whenIdentified(Caller(uniqueName: call.message.sender)) { [unowned self] uid in
      guard let uid else { return then(.tooManyConnections) }
      if uid == 0 { return then(nil) }
      guard authorizing[uid, default: 0] < Self.authorizationLimit else {
        return then(.limitsExceeded("others of your calls wait for authorization; try again later"))
      }
      authorizing[uid, default: 0] += 1
      Authorization.ask(bus, call.message, action) { [unowned self] verdict in
        authorizing[uid]! -= 1
        if authorizing[uid] == 0 { authorizing[uid] = nil }
        switch verdict {
        case .allowed: then(nil)
        case .userMustBeAsked: then(.authorizationRequired)
        case .denied: then(.accessDenied("this takes root, or the polkit action \(action)"))
        }
      }
    }
  }
}
