// The properties of org.primed.Broker1. What Statistics tells depends on the user who asks, whom sd-bus's
// getters can't wait for: Get and GetAll that would tell it are answered here instead.

internal import CBus
internal import CSystemd
internal import Linux
internal import Placement

/// In the contract's order.
private let properties: [(name: StaticString, type: StaticString)] = [
  ("Version", "s"), ("Generation", "t"), ("PrimaryDevice", "t"), ("NoMove", "s"),
  ("Evidence", "as"), ("Pairs", "a(ssssssss)"), ("Statistics", "a{st}"),
]

extension Message {
  /// false: there is none of this name.
  fileprivate func append(
    property: UnsafePointer<CChar>, of service: any BrokerService, for user: UInt32?
  ) throws(Errno) -> Bool {
    switch String(cString: property) {
    case "Version": try append(service.version)
    case "Generation": try append(service.generation)
    case "PrimaryDevice": try append(service.primaryDevice)
    case "NoMove": try append(service.noMove.word)
    case "Evidence": try append(service.evidence)
    case "Pairs": try append(service.pairs)
    case "Statistics": try append(user.map { service.statistics(for: $0) } ?? [])
    default: return false
    }
    return true
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
  do throws(Errno) {
    let service = BusConnection.service(userdata)
    return try Message(raw: raw!).append(property: property!, of: service, for: nil) ? 1 : -2
  } catch {
    return -error.code
  }
}

/// Comes before the vtables for every call to the object; 0 leaves it to them.
func answerForUser(
  _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let call = Message(raw: raw!)
  guard let interface = sd_bus_message_get_interface(raw),
    same(interface, "org.freedesktop.DBus.Properties"), let wanted = try? call.wantsStatistics(),
    let reply = try? OwnedMessage.reply(to: call)
  else { return 0 }
  let connection = BusConnection.from(userdata)
  let caller = Caller(uniqueName: call.sender)
  connection.track(caller, call)
  connection.whenIdentified(caller) { user in
    reply.complete { m throws(Errno) in try m.append(wanted, of: connection.service, for: user) }
  }
  return 1
}

private enum Wanted { case statistics, all }

extension Message {
  /// nil: a call that sd-bus answers as well as we do.
  fileprivate func wantsStatistics() throws(Errno) -> Wanted? {
    guard let signature = sd_bus_message_get_signature(raw, 1) else { return nil }
    let isGet = sd_bus_message_is_method_call(raw, nil, "Get") > 0 && same(signature, "ss")
    let isGetAll = sd_bus_message_is_method_call(raw, nil, "GetAll") > 0 && same(signature, "s")
    guard isGet || isGetAll, let interface = try readString() else { return nil }
    // "": of all interfaces.
    let isOurs = same(interface, "org.primed.Broker1") || same(interface, "")
    if isGetAll { return isOurs ? .all : nil }
    guard isOurs, let name = try readString() else { return nil }
    return same(name, "Statistics") ? .statistics : nil
  }

  fileprivate func append(
    _ wanted: Wanted, of service: any BrokerService, for user: UInt32?
  ) throws(Errno) {
    switch wanted {
    case .statistics:
      try open("v", "a{st}")
      _ = try append(property: "Statistics", of: service, for: user)
      try close()
    case .all:
      try open("a", "{sv}")
      for (name, type) in properties {
        try entry(name, type) { () throws(Errno) in
          _ = try append(property: name.chars, of: service, for: user)
        }
      }
      try close()
    }
  }
}
