// The named errors of the contract. Each says what to do; one table turns them into D-Bus.

internal import CSystemd
package import Placement

package enum BusError: Error, Sendable, Equatable {
  case invalidArgument(String)
  case notDmaBuf(plane: Int)
  case noPlanes
  case tooManyPlanes
  case limitsExceeded(String)
  case unknownDevice(DeviceNumber)
  case released(DeviceNumber)
  case accessDenied(String)
  case authorizationRequired
  case failed(String)

  package static let tooMuch = BusError.limitsExceeded(
    "too many questions of yours, or of all users, are under way; wait for answers before you ask"
      + " again, and use your own default until then")
  package static let stuckFiles = BusError.limitsExceeded(
    "files that you sent can't be closed, since their file system or driver does not answer")
  package static let tooManyConnections = BusError.limitsExceeded(
    "too many connections ask primed; close some of yours")

  package var name: String {
    switch self {
    case .invalidArgument, .noPlanes: Names.error + "InvalidArgument"
    case .notDmaBuf: Names.error + "NotDmaBuf"
    case .tooManyPlanes: Names.error + "TooManyPlanes"
    case .limitsExceeded: Names.error + "LimitsExceeded"
    case .unknownDevice: Names.error + "UnknownDevice"
    case .released: Names.error + "Released"
    case .accessDenied: Names.Standard.error + "AccessDenied"
    case .authorizationRequired: Names.Standard.error + "InteractiveAuthorizationRequired"
    case .failed: Names.error + "Failed"
    }
  }

  package var message: String {
    switch self {
    case .invalidArgument(let what), .limitsExceeded(let what), .failed(let what),
      .accessDenied(let what):
      what
    case .notDmaBuf(let plane):
      "plane \(plane) is not a DMA-BUF; send the fds that the client gave with its buffer"
    case .authorizationRequired:
      "the user has to be asked; call again with the flag ALLOW_INTERACTIVE_AUTHORIZATION"
    case .noPlanes: "no plane; send the buffer's DMA-BUF fds, 1 to 4, in plane order"
    case .tooManyPlanes: "more than 4 planes; a buffer has 1 to 4, in plane order"
    case .unknownDevice(let number):
      "no DRM device has the number \(number.rawValue) (\(number.major):\(number.minor));"
        + " see `primectl devices`"
    case .released(let number):
      "device \(number.major):\(number.minor) is released already; wait until its guard is closed"
    }
  }

  /// For a handler's return value: sd-bus then sends `error` as the reply.
  func set(_ error: UnsafeMutablePointer<sd_bus_error>?) -> Int32 {
    sd_bus_error_set(error, name, message)
  }
}
