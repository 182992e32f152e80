// What primed tells everybody, for primectl: its signals in plain values.

internal import CSystemd
internal import Glibc
internal import Linux
package import Placement

package enum Happening {
  /// primed came to the bus, or left it.
  case running(Bool)
  case invalidated(generation: UInt64, devices: [DeviceNumber])
  case releasing(DeviceNumber)
  case added(path: String, properties: [String: BusValue])
  case removed(path: String)
  /// New values of a device's properties, or of the service's own.
  case changed(path: String, properties: [String: BusValue])
}

private let busName = "org.freedesktop.DBus"

extension BrokerClient {
  /// Calls `handler`, which may call primed, with whether primed is there, then with everything that
  /// happens; ends only by an error. Starts nothing.
  package func monitor(_ handler: (Happening) throws -> Void) throws {
    final class Heard { var happenings: [Happening] = [] }
    let heard = Heard()
    for rule in [
      "type='signal',sender='\(Names.bus)'",
      "type='signal',sender='\(busName)',member='NameOwnerChanged',arg0='\(Names.bus)'",
    ] {
      try Errno.checkNegative(
        sd_bus_add_match(
          bus, nil, rule,
          { raw, userdata, _ in
            let heard = Unmanaged<AnyObject>.fromOpaque(userdata!).takeUnretainedValue() as! Heard
            // One that can't be read is of a later version.
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

  private func isRunning() throws -> Bool {
    let reply = try call("/org/freedesktop/DBus", busName, "NameHasOwner", of: busName) {
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
    case Names.Signal.placementsInvalidated:
      return .invalidated(generation: try readUInt64(), devices: try readNumbers())
    case Names.Signal.deviceReleasing: return .releasing(DeviceNumber(try readUInt64()))
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

  private func isAtEnd() throws(Errno) -> Bool {
    try Errno.checkNegative(sd_bus_message_at_end(raw, 0)) > 0
  }
}
