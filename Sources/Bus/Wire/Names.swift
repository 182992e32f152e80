// Every name of the D-Bus contract, once; hints are in Placement's HintTable. dbus/*.xml say what
// they mean.
//
// Sources/CBus/vtables.c repeats the members' names, since sd-bus's macros take literals only; a
// test in BusTests compares the two. Names that are used in each Place are StaticStrings, since
// making a String would allocate.

package enum Names {
  /// The version of the program. The version of the D-Bus interface is the 1 in the bus name.
  package static let version = "0.1.0"
  package static let bus = "org.primed.Broker1"
  package static let path = "/org/primed/Broker1"
  package static let broker = "org.primed.Broker1"
  package static let device = "org.primed.Broker1.Device"
  package static let devicePrefix = "/org/primed/Broker1/device"
  package static let logPath = "/org/freedesktop/LogControl1"
  package static let logControl = "org.freedesktop.LogControl1"
  package static let releaseAction = "org.primed.release-device"
  /// What the names of the contract's own errors begin with.
  static let error = "org.primed.Broker1.Error."

  package enum Method: String, CaseIterable {
    case place = "Place"
    case placeMany = "PlaceMany"
    case advise = "Advise"
    case setDefaults = "SetDefaults"
    case releaseDevice = "ReleaseDevice"
  }

  package enum Signal: String, CaseIterable {
    case placementsInvalidated = "PlacementsInvalidated"
    case placementChanged = "PlacementChanged"
    case deviceReleasing = "DeviceReleasing"
  }

  /// Of the service.
  package enum Property: String, CaseIterable {
    case version = "Version"
    case generation = "Generation"
    case primaryDevice = "PrimaryDevice"
    case noMove = "NoMove"
    case evidence = "Evidence"
    case pairs = "Pairs"
    case statistics = "Statistics"
  }

  package enum DeviceProperty: String, CaseIterable {
    case renderNode = "RenderNode"
    case primaryNode = "PrimaryNode"
    case renderDevice = "RenderDevice"
    case primaryDevice = "PrimaryDevice"
    case driver = "Driver"
    case driverVersion = "DriverVersion"
    case vendor = "Vendor"
    case model = "Model"
    case bus = "Bus"
    case sysfsPath = "SysfsPath"
    case stableID = "StableId"
    case seat = "Seat"
    case bootVGA = "BootVGA"
    case primary = "Primary"
    case dedicatedMemory = "DedicatedMemory"
    case dedicatedMemoryEstimated = "DedicatedMemoryEstimated"
    case power = "Power"
    case noMove = "NoMove"
    case importing = "Import"
    case exporting = "Export"
    case role = "Role"
    case connectors = "Connectors"
    case connectedConnectors = "ConnectedConnectors"
    case state = "State"
  }

  /// Keys of an answer's details.
  package enum Detail {
    package static let recheck: StaticString = "recheck"
    package static let verdicts: StaticString = "verdicts"
    package static let home: StaticString = "home"
    package static let homeMemory: StaticString = "home-memory"
    package static let node: StaticString = "node"
    package static let residency: StaticString = "residency"
    package static let attachments: StaticString = "attachments"
    package static let reason: StaticString = "reason"
    package static let rule: StaticString = "rule"
    package static let evidence: StaticString = "evidence"
    package static let devices: StaticString = "devices"
    package static let cached: StaticString = "cached"
    package static let error: StaticString = "error"
  }

  /// D-Bus's own.
  enum Standard {
    static let driver = "org.freedesktop.DBus"
    static let driverPath = "/org/freedesktop/DBus"
    /// sd-bus sends its signal Disconnected to us from here, when the connection ends.
    static let local = "org.freedesktop.DBus.Local"
    static let properties: StaticString = "org.freedesktop.DBus.Properties"
    static let peer = "org.freedesktop.DBus.Peer"
    static let objectManager = "org.freedesktop.DBus.ObjectManager"
    static let error = "org.freedesktop.DBus.Error."
  }
}
