// org.freedesktop.LogControl1, as `systemctl log-level` and `systemctl log-target` use it.
// The handlers have the names that the C header declares.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import CBus
internal import CSystemd
internal import Linux

@c @implementation
func primed_bus_get_log(
  _ bus: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ interface: UnsafePointer<CChar>?,
  _ property: UnsafePointer<CChar>?, _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let reply = Message(raw: raw!)
  do throws(Errno) {
    switch String(cString: property!) {
    case "LogLevel": try reply.append(Log.level.name)
    case "LogTarget": try reply.append(Log.target.rawValue)
    case "SyslogIdentifier": try reply.append("primed")
    default: return -2
    }
    return 1
  } catch {
    return -error.code
  }
}

@c @implementation
func primed_bus_set_log(
  _ bus: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ interface: UnsafePointer<CChar>?,
  _ property: UnsafePointer<CChar>?, _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  guard let chars = try? Message(raw: raw!).readString() else { return -22 }
  let word = String(cString: chars)
  switch String(cString: property!) {
  case "LogLevel":
    guard let level = LogLevel(name: word) else {
      return BusError.invalidArgument("log level \(word): one of emerg to debug").set(error)
    }
    Log.level = level
  case "LogTarget":
    guard let target = LogTarget(rawValue: word) else {
      return BusError.invalidArgument("log target \(word): journal or console").set(error)
    }
    Log.target = target
  default: return -2
  }
  return 1
}
