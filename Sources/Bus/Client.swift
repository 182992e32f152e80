// The asking side, for primectl: blocking calls, answers in plain values.

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
  /// `a(tus)`: the `devices` of an explanation.
  case lines([Explanation.Line])
  /// `a{st}`
  case counters([(name: String, value: UInt64)])
  /// `a(ssssssss)`: the pair table.
  case rows([[String]])

  package static func == (a: Self, b: Self) -> Bool {
    switch (a, b) {
    case (.string(let x), .string(let y)): x == y
    case (.strings(let x), .strings(let y)): x == y
    case (.number(let x), .number(let y)): x == y
    case (.bool(let x), .bool(let y)): x == y
    case (.lines(let x), .lines(let y)): x == y
    case (.counters(let x), .counters(let y)): x.elementsEqual(y, by: ==)
    case (.rows(let x), .rows(let y)): x == y
    default: false
    }
  }
}

/// An answer of `Place` as it came.
package struct PlaceReply: Sendable {
  package var device: DeviceNumber
  package var access: Access
  package var confidence: Confidence
  package var buffer: UInt64
  package var generation: UInt64
  package var details: [String: BusValue]
}

/// What went wrong, in the service's or the bus's words.
package struct CallError: Error, CustomStringConvertible {
  package var name: String
  package var message: String
  package var bus: BusChoice
  package var description: String {
    switch name {
    case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
      switch bus {
      case .system: "primed is not running; start it: systemctl start primed"
      case .session: "primed is not running on the session bus; start it: primed --bus session"
      case .address(let address): "primed is not running there; start it: primed --bus \(address)"
      }
    case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout":
      "primed did not answer; see: systemctl status primed, journalctl -u primed"
    default: message.isEmpty ? name : message
    }
  }
}

package final class BrokerClient {
  let bus: OpaquePointer
  private let choice: BusChoice
  /// Called once when an answer is not there after a second.
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
    let reply = try call(Names.path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects") {
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
    let reply = try call(Names.path, "org.freedesktop.DBus.Properties", "GetAll") {
      m throws(Errno) in try m.append(Names.broker)
    }
    return try reply.message.readDictionary()
  }

  /// Borrows `fds`.
  package func place(_ fds: [Int32], _ hints: [String: BusValue]) throws -> PlaceReply {
    let reply = try call(Names.path, Names.broker, Names.Method.place) { m throws(Errno) in
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

  /// The guard; the device stays released until it and its copies are closed. May ask for a password.
  package func release(_ device: DeviceNumber, why: String) throws -> OwnedGuard {
    let reply = try call(Names.path, Names.broker, Names.Method.releaseDevice, interactive: true) {
      m throws(Errno) in
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

  /// As sd_bus_call, but whoever waits is told that it takes long.
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

extension Message {
  func readObjectPath() throws(Errno) -> String {
    var path: UnsafePointer<CChar>?
    try Errno.checkNegative(sd_bus_message_read_basic(raw, CChar(UInt8(ascii: "o")), &path))
    return String(cString: path!)
  }

  /// `a{sa{sv}}`: an object's interfaces.
  func readInterfaces() throws(Errno) -> [String: [String: BusValue]] {
    var all: [String: [String: BusValue]] = [:]
    _ = try enter("a", "{sa{sv}}")
    while try enter("e", "sa{sv}") {
      let interface = try readString().map { String(cString: $0) } ?? ""
      all[interface] = try readDictionary()
      try leave()
    }
    try leave()
    return all
  }

  /// `a{sv}`; values of types that the contract does not use are left out.
  func readDictionary() throws(Errno) -> [String: BusValue] {
    var all: [String: BusValue] = [:]
    _ = try enter("a", "{sv}")
    while try enter("e", "sv") {
      guard let key = try readString(), let type = try variantContents() else {
        throw Errno(EBADMSG)
      }
      let name = String(cString: key)
      if let value = try readVariant(String(cString: type)) { all[name] = value }
      try leave()
    }
    try leave()
    return all
  }

  private func readVariant(_ type: String) throws(Errno) -> BusValue? {
    let value: BusValue
    switch type {
    case "s":
      _ = try enter("v", "s")
      value = .string(try readString().map { String(cString: $0) } ?? "")
    case "u":
      _ = try enter("v", "u")
      value = .number(UInt64(try readUInt32()))
    case "t":
      _ = try enter("v", "t")
      value = .number(try readUInt64())
    case "b":
      _ = try enter("v", "b")
      value = .bool(try readBool())
    case "as":
      _ = try enter("v", "as")
      value = .strings(try readStrings())
    case "a(tus)":
      _ = try enter("v", "a(tus)")
      value = .lines(try readLines())
    case "a{st}":
      _ = try enter("v", "a{st}")
      value = .counters(try readCounters())
    case "a(ssssssss)":
      _ = try enter("v", "a(ssssssss)")
      value = .rows(try readRows())
    default:
      try skip("v")
      return nil
    }
    try leave()
    return value
  }

  private func readRows() throws(Errno) -> [[String]] {
    var rows: [[String]] = []
    _ = try enter("a", "(ssssssss)")
    while try enter("r", "ssssssss") {
      var words: [String] = []
      for _ in "ssssssss" { words.append(try readString().map { String(cString: $0) } ?? "") }
      rows.append(words)
      try leave()
    }
    try leave()
    return rows
  }

  func readStrings() throws(Errno) -> [String] {
    var list: [String] = []
    _ = try enter("a", "s")
    while let word = try readString() { list.append(String(cString: word)) }
    try leave()
    return list
  }

  private func readLines() throws(Errno) -> [Explanation.Line] {
    var list: [Explanation.Line] = []
    _ = try enter("a", "(tus)")
    while try enter("r", "tus") {
      list.append(
        Explanation.Line(
          device: DeviceNumber(try readUInt64()),
          access: Access(rawValue: try readUInt32()) ?? .unknown,
          why: try readString().map { String(cString: $0) } ?? ""))
      try leave()
    }
    try leave()
    return list
  }

  private func readCounters() throws(Errno) -> [(name: String, value: UInt64)] {
    var list: [(name: String, value: UInt64)] = []
    _ = try enter("a", "{st}")
    while try enter("e", "st") {
      let name = try readString().map { String(cString: $0) } ?? ""
      list.append((name, try readUInt64()))
      try leave()
    }
    try leave()
    return list
  }

  /// Each hint in the type that the contract gives it; others as strings, which the service ignores.
  fileprivate func append(hints: [String: BusValue]) throws(Errno) {
    try open("a", "{sv}")
    for (key, value) in hints.sorted(by: { $0.key < $1.key }) {
      try open("e", "sv")
      try append(key)
      switch (key, value) {
      case (Names.Hint.format, .number(let n)), (Names.Hint.client, .number(let n)):
        try open("v", "u")
        try append(UInt32(truncatingIfNeeded: n))
      case (_, .number(let n)):
        try open("v", "t")
        try append(n)
      case (_, .bool(let b)):
        try open("v", "b")
        try append(b)
      case (_, .strings(let list)):
        try open("v", "as")
        try append(list)
      case (_, .string(let text)):
        try open("v", "s")
        try append(text)
      case (_, .lines), (_, .counters), (_, .rows): throw Errno(EINVAL)
      }
      try close()
      try close()
    }
    try close()
  }
}
