// primed's signals as plain values, for primectl.

internal import CSystemd
internal import Glibc
internal import Linux
package import Placement

package enum Happening {
  /// primed appeared on the bus, or left it.
  case running(Bool)
  case invalidated(generation: UInt64, devices: [DeviceNumber])
  case releasing(DeviceNumber)
  case added(path: String, properties: [String: BusValue])
  case removed(path: String)
  /// New property values of a device, or of the service itself.
  case changed(path: String, properties: [String: BusValue])
}

extension BrokerClient {
  /// Calls `handler` first with whether primed is running, then at each signal. `handler` may call
  /// primed. Ends only by an error. Does not start primed.
  package func monitor(_ handler: (Happening) throws -> Void) throws {
    final class Heard { var happenings: [Happening] = [] }
    let heard = Heard()
    for rule in [
      "type='signal',sender='\(Names.bus)'",
      "type='signal',sender='\(Names.Standard.driver)',member='NameOwnerChanged',arg0='\(Names.bus)'",
    ] {
      try Errno.checkNegative(
        sd_bus_add_match(
          bus, nil, rule,
          { raw, userdata, _ in
            let heard = Unmanaged<AnyObject>.fromOpaque(userdata!).takeUnretainedValue() as! Heard
            // A signal that can't be read is of a later version.
            if let what = try? Message(raw: raw!).readHappening() { heard.happenings.append(what) }
            return 0
          }, Unmanaged.passUnretained(heard as AnyObject).toOpaque()))
    }
    try handler(.running(isRunning()))
    while true {
      while try Errno.checkNegative(sd_bus_process(bus, nil)) > 0 {}
      if heard.happenings.isEmpty { try Errno.checkNegative(sd_bus_wait(bus, UInt64.max)) }
      let now = heard.happenings
      heard.happenings = []
      for one in now { try handler(one) }
    }
  }

  /// primed's pid, as the bus knows it.
  package func processID() throws -> Int32 {
    let driver = Names.Standard.driver
    let reply = try call(
      Names.Standard.driverPath, driver, "GetConnectionUnixProcessID", of: driver
    ) { m throws(Errno) in try m.append(Names.bus) }
    return Int32(truncatingIfNeeded: try reply.message.readUInt32())
  }

  /// org.freedesktop.DBus.Peer.Ping: the lowest cost of a call.
  package func ping() throws {
    _ = try call(Names.path, Names.Standard.peer, "Ping") { _ throws(Errno) in }
  }

  private func isRunning() throws -> Bool {
    let driver = Names.Standard.driver
    let reply = try call(Names.Standard.driverPath, driver, "NameHasOwner", of: driver) {
      m throws(Errno) in try m.append(Names.bus)
    }
    return try reply.message.readBool()
  }
}

extension Message {
  /// nil: a signal that this version does not know.
  fileprivate func readHappening() throws(Errno) -> Happening? {
    let member = sd_bus_message_get_member(raw).map { String(cString: $0) } ?? ""
    switch member {
    case "NameOwnerChanged":
      try skip("ss")
      return .running(try readString().map { $0.pointee != 0 } ?? false)
    case Names.Signal.placementsInvalidated.rawValue:
      return .invalidated(generation: try readUInt64(), devices: try readNumbers())
    case Names.Signal.deviceReleasing.rawValue:
      return .releasing(DeviceNumber(try readUInt64()))
    case "InterfacesAdded":
      return .added(
        path: try readObjectPath(), properties: try readInterfaces()[Names.device] ?? [:])
    case "InterfacesRemoved": return .removed(path: try readObjectPath())
    case "PropertiesChanged":
      try skip("s")
      let path = sd_bus_message_get_path(raw).map { String(cString: $0) } ?? ""
      return .changed(path: path, properties: try readDictionary())
    default: return nil
    }
  }

  private func readNumbers() throws(Errno) -> [DeviceNumber] {
    var numbers: [DeviceNumber] = []
    _ = try enter("a", "t")
    while try !isAtEnd() { numbers.append(DeviceNumber(try readUInt64())) }
    try leave()
    return numbers
  }
}
