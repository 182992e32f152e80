// Every name of the D-Bus contract, once. dbus/*.xml say what they mean.

package enum Names {
  /// primed's own, of the daemon and its tools; the contract's is the bus name's number.
  package static let version = "0.1.0"
  package static let bus = "org.primed.Broker1"
  package static let path = "/org/primed/Broker1"
  package static let broker = "org.primed.Broker1"
  package static let device = "org.primed.Broker1.Device"
  package static let devicePrefix = "/org/primed/Broker1/device"
  package static let driver = "org.freedesktop.DBus"
  package static let driverPath = "/org/freedesktop/DBus"
  package static let properties = "org.freedesktop.DBus.Properties"
  package static let logPath = "/org/freedesktop/LogControl1"
  package static let logControl = "org.freedesktop.LogControl1"
  package static let releaseAction = "org.primed.release-device"

  package enum Method {
    package static let place = "Place"
    package static let placeMany = "PlaceMany"
    package static let setDefaults = "SetDefaults"
    package static let releaseDevice = "ReleaseDevice"
  }
  package enum Signal {
    package static let placementsInvalidated = "PlacementsInvalidated"
    package static let placementChanged = "PlacementChanged"
    package static let deviceReleasing = "DeviceReleasing"
  }
  package enum Hint {
    package static let samplingDevice = "sampling-device"
    package static let targetDevice = "target-device"
    package static let primaryDevice = "primary-device"
    package static let usage = "usage"
    package static let format = "format"
    package static let modifier = "modifier"
    package static let client = "client"
    package static let wake = "wake"
    package static let fresh = "fresh"
    package static let explain = "explain"
  }
}
