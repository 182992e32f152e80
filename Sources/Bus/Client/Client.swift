// The client side, for primectl: blocking calls, replies as plain values.

internal import CSystemd
internal import Glibc
package import Linux
package import Placement

/// A value of the types that the contract uses.
package enum BusValue: Equatable, Sendable {
  case string(String)
  case strings([String])
  case number(UInt64)
  case bool(Bool)
  /// `at`: the hint `candidates`.
  case numbers([UInt64])
  /// `a(tus)`: the `devices` of an explanation.
  case lines([Explanation.Line])
  /// `a(tuu)`: what each device could do with a buffer.
  case verdicts([Verdict])
  /// `a{st}`
  case counters([(name: String, value: UInt64)])
  /// `a(ssssssss)`: the pair table.
  case rows([[String]])

  package static func == (a: Self, b: Self) -> Bool {
    switch (a, b) {
    case (.string(let x), .string(let y)): x == y
    case (.strings(let x), .strings(let y)): x == y
    case (.number(let x), .number(let y)): x == y
    case (.numbers(let x), .numbers(let y)): x == y
    case (.verdicts(let x), .verdicts(let y)): x == y
    case (.bool(let x), .bool(let y)): x == y
    case (.lines(let x), .lines(let y)): x == y
    case (.counters(let x), .counters(let y)): x.elementsEqual(y, by: ==)
    case (.rows(let x), .rows(let y)): x == y
    default: false
    }
  }
}

/// An item of `verdicts`.
package struct Verdict: Equatable, Sendable {
  package var device: DeviceNumber
  package var access: Access
  package var abilities: Usage
}

/// The reply of `Place`.
package struct PlaceReply: Sendable {
  package var device: DeviceNumber
  package var access: Access
  package var confidence: Confidence
  package var buffer: UInt64
  package var generation: UInt64
  package var details: [String: BusValue]

  package func detail(_ key: StaticString) -> BusValue? { details["\(key)"] }
}

/// The reply of `Advise`.
package struct AdviceReply: Sendable {
  package struct Place: Sendable {
    package var device: DeviceNumber
    package var memory: String
    /// In the order of the users.
    package var accesses: [Access]
  }
  package var places: [Place]
  package var generation: UInt64
  package var details: [String: BusValue]
}

/// An error of the service or of the bus, with its message.
package struct CallError: Error, CustomStringConvertible {
  package var name: String
  package var message: String
  package var bus: BusChoice
  package var description: String {
    switch name {
    case Names.Standard.error + "ServiceUnknown", Names.Standard.error + "NameHasNoOwner":
      switch bus {
      case .system: "primed is not running; start it: systemctl start primed"
      case .session: "primed is not running on the session bus; start it: primed --bus session"
      case .address(let address): "primed is not running there; start it: primed --bus \(address)"
      }
    case Names.Standard.error + "NoReply", Names.Standard.error + "Timeout":
      "primed did not answer; see: systemctl status primed, journalctl -u primed"
    default: message.isEmpty ? name : message
    }
  }
}

package final class BrokerClient {
  let bus: OpaquePointer
  package let choice: BusChoice
  /// Called once if a reply takes longer than a second.
  package var onWaiting: (() -> Void)?

  package init(_ choice: BusChoice) throws(Errno) {
    self.choice = choice
    bus = try openBus(choice)
  }
  deinit { sd_bus_flush_close_unref(bus) }

  // MARK: Calls

  /// Properties of every device object, in the order of their paths.
  package func devices() throws -> [[String: BusValue]] { try deviceObjects().map(\.properties) }

  package func deviceObjects() throws -> [(path: String, properties: [String: BusValue])] {
    let reply = try call(Names.path, Names.Standard.objectManager, "GetManagedObjects") {
      _ throws(Errno) in
    }
    let m = reply.message
    var found: [(path: String, properties: [String: BusValue])] = []
    _ = try m.enter("a", "{oa{sa{sv}}}")
    while try m.enter("e", "oa{sa{sv}}") {
      let path = try m.readObjectPath()
      if let properties = try m.readInterfaces()[Names.device] { found.append((path, properties)) }
      try m.leave()
    }
    return found.sorted { $0.path < $1.path }
  }

  package func brokerProperties() throws -> [String: BusValue] {
    let reply = try call(Names.path, "\(Names.Standard.properties)", "GetAll") {
      m throws(Errno) in try m.append(Names.broker)
    }
    return try reply.message.readDictionary()
  }

  /// Borrows `fds`.
  package func place(_ fds: [Int32], _ hints: [String: BusValue]) throws -> PlaceReply {
    let reply = try call(Names.path, Names.broker, Names.Method.place.rawValue) { m throws(Errno) in
      try m.open("a", "h")
      for fd in fds { try m.append(fd: fd) }
      try m.close()
      try m.append(hints: hints)
    }
    let m = reply.message
    return PlaceReply(
      device: DeviceNumber(try m.readUInt64()),
      access: Access(rawValue: try m.readUInt32()) ?? .unknown,
      confidence: Confidence(rawValue: try m.readUInt32()) ?? .guess,
      buffer: try m.readUInt64(), generation: try m.readUInt64(),
      details: try m.readDictionary())
  }

  package func advise(
    _ users: [AdviceUser], _ hints: [String: BusValue]
  ) throws -> AdviceReply {
    let reply = try call(Names.path, Names.broker, Names.Method.advise.rawValue) {
      m throws(Errno) in
      try m.open("a", "(tu)")
      for user in users {
        try m.open("r", "tu")
        try m.append(user.device)
        try m.append(UInt32(user.usage.rawValue))
        try m.close()
      }
      try m.close()
      try m.append(hints: hints)
    }
    let m = reply.message
    return AdviceReply(
      places: try m.readPlaces(), generation: try m.readUInt64(), details: try m.readDictionary())
  }

  /// Returns the guard; the device stays released until it and all its copies are closed. polkit
  /// may ask for a password.
  package func release(_ device: DeviceNumber, why: String) throws -> OwnedGuard {
    let method = Names.Method.releaseDevice.rawValue
    let reply = try call(Names.path, Names.broker, method, interactive: true) { m throws(Errno) in
      try m.append(device)
      try m.append(why)
    }
    guard let fd = try reply.message.readFD() else { throw Errno(EBADMSG) }
    return OwnedGuard(try OwnedFD.duplicate(fd))
  }

  func call(
    _ path: String, _ interface: String, _ method: String, of name: String = Names.bus,
    interactive: Bool = false, _ write: (Message) throws(Errno) -> Void
  ) throws -> OwnedMessage {
    var raw: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_message_new_method_call(bus, &raw, name, path, interface, method))
    let request = OwnedMessage(taking: raw!)
    try write(request.message)
    if interactive { sd_bus_message_set_allow_interactive_authorization(raw, 1) }
    return try wait(for: request, timeout: interactive ? UInt64.max : 0)
  }

  /// Like sd_bus_call, but calls `onWaiting` if the reply takes long.
  private func wait(for request: OwnedMessage, timeout: UInt64) throws -> OwnedMessage {
    final class Reply { var message: OwnedMessage? }
    let reply = Reply()
    var slot: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_call_async(
        bus, &slot, request.message.raw,
        { raw, userdata, _ in
          let reply = Unmanaged<AnyObject>.fromOpaque(userdata!).takeUnretainedValue() as! Reply
          reply.message = OwnedMessage(keeping: Message(raw: raw!))
          return 0
        }, Unmanaged.passUnretained(reply as AnyObject).toOpaque(), timeout))
    defer { sd_bus_slot_unref(slot) }
    var patience: UInt64 = 1_000_000
    while true {
      while try Errno.checkNegative(sd_bus_process(bus, nil)) > 0, reply.message == nil {}
      if let message = reply.message { return try checked(message) }
      if try Errno.checkNegative(sd_bus_wait(bus, patience)) == 0, patience != UInt64.max {
        onWaiting?()
        patience = UInt64.max
      }
    }
  }

  private func checked(_ reply: OwnedMessage) throws -> OwnedMessage {
    guard let error = sd_bus_message_get_error(reply.message.raw) else { return reply }
    throw CallError(
      name: error.pointee.name.map { String(cString: $0) } ?? "",
      message: error.pointee.message.map { String(cString: $0) } ?? "", bus: choice)
  }
}
