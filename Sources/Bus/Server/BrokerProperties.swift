// The object /org/primed/Broker1 and its properties. The value of Statistics depends on the caller's
// user, which has to be asked of the bus, and a getter of sd-bus can't wait for the bus. So calls of
// Get and GetAll that read Statistics are answered here.

internal import CBus
internal import CSystemd
internal import Glibc
package import Linux
internal import Placement

extension Names.Property {
  fileprivate var type: StaticString {
    switch self {
    case .version, .noMove: "s"
    case .generation, .primaryDevice: "t"
    case .evidence: "as"
    case .pairs: "a(ssssssss)"
    case .statistics: "a{st}"
    }
  }
}

extension Message {
  fileprivate func append(
    _ property: Names.Property, of service: any BrokerService, for user: UInt32?
  ) throws(Errno) {
    switch property {
    case .version: try append(service.version)
    case .generation: try append(service.generation)
    case .primaryDevice: try append(service.primaryDevice)
    case .noMove: try append(service.noMove.word)
    case .evidence: try append(service.evidence)
    case .pairs: try append(service.pairs)
    case .statistics: try append(user.map { service.statistics(for: $0) } ?? [])
    }
  }

  private func append(_ pairs: PairTable) throws(Errno) {
    try open("a", "(ssssssss)")
    for (origin, row) in pairs.all {
      try open("r", "ssssssss")
      for word in row.words + [origin.rawValue, row.source] { try append(word) }
      try close()
    }
    try close()
  }

  private func append(_ counters: [(name: StaticString, value: UInt64)]) throws(Errno) {
    try open("a", "{st}")
    for (name, value) in counters {
      try open("e", "st")
      try append("\(name)")
      try append(value)
      try close()
    }
    try close()
  }
}

@c @implementation
func primed_bus_get_broker(
  _ bus: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ interface: UnsafePointer<CChar>?,
  _ property: UnsafePointer<CChar>?, _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  guard let property = Names.Property(rawValue: String(cString: property!)) else { return -ENOENT }
  do throws(Errno) {
    try Message(raw: raw!).append(property, of: BusConnection.service(userdata), for: nil)
    return 1
  } catch {
    return -error.code
  }
}

extension BusConnection {
  /// Puts up the service's object, and beside it LogControl1's.
  package func addBroker() throws(Errno) {
    try Errno.checkNegative(sd_bus_add_object_manager(bus, nil, Names.path))
    let me = Unmanaged.passUnretained(self).toOpaque()
    try Errno.checkNegative(
      sd_bus_add_object_vtable(bus, nil, Names.path, Names.broker, primed_broker_vtable(), me))
    try Errno.checkNegative(
      sd_bus_add_object_vtable(
        bus, nil, Names.logPath, Names.logControl, primed_log_control_vtable(), nil))
  }

  /// Answers the call if it reads Statistics; returns whether it does.
  func answerForUser(_ call: Message) -> Bool {
    guard let path = sd_bus_message_get_path(call.raw), strcmp(path, Names.path) == 0,
      let wanted = try? call.wantsStatistics(), let reply = try? OwnedMessage.reply(to: call)
    else { return false }
    let caller = Caller(uniqueName: call.sender)
    track(caller, call.sender)
    whenIdentified(caller) { [service] user in
      reply.complete { m throws(Errno) in try m.append(wanted, of: service, for: user) }
    }
    return true
  }
}

private enum Wanted { case statistics, all }

extension Message {
  /// nil: Statistics is not read; sd-bus answers the call.
  fileprivate func wantsStatistics() throws(Errno) -> Wanted? {
    guard let signature = sd_bus_message_get_signature(raw, 1) else { return nil }
    let isGet = sd_bus_message_is_method_call(raw, nil, "Get") > 0 && same(signature, "ss")
    let isGetAll = sd_bus_message_is_method_call(raw, nil, "GetAll") > 0 && same(signature, "s")
    guard isGet || isGetAll, let interface = try readString() else { return nil }
    // "": of all interfaces.
    let isOurs = strcmp(interface, Names.broker) == 0 || same(interface, "")
    if isGetAll { return isOurs ? .all : nil }
    guard isOurs, let name = try readString() else { return nil }
    return strcmp(name, Names.Property.statistics.rawValue) == 0 ? .statistics : nil
  }

  fileprivate func append(
    _ wanted: Wanted, of service: any BrokerService, for user: UInt32?
  ) throws(Errno) {
    switch wanted {
    case .statistics:
      try open("v", "a{st}")
      try append(Names.Property.statistics, of: service, for: user)
      try close()
    case .all:
      try open("a", "{sv}")
      for property in Names.Property.allCases {
        try entry(property.rawValue, property.type) { () throws(Errno) in
          try append(property, of: service, for: user)
        }
      }
      try close()
    }
  }
}
