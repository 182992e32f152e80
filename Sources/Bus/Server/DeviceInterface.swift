// org.primed.Broker1.Device: one object a device.
// The handlers have the names that the C header declares.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import CBus
internal import CSystemd
internal import Glibc
internal import Linux
package import Placement

/// A device's object on the bus, from `addDevice` until it goes.
package final class DeviceObject {
  fileprivate var properties: DeviceProperties
  private let bus: OpaquePointer
  package let path: String
  private var slot: OpaquePointer?

  init(bus: OpaquePointer, _ properties: DeviceProperties) throws(Errno) {
    var encoded: UnsafeMutablePointer<CChar>?
    let code = sd_bus_path_encode(
      Names.devicePrefix, properties.description.stableID, &encoded)
    guard code >= 0, let encoded else { throw Errno(-code) }
    defer { free(encoded) }
    self.bus = bus
    self.properties = properties
    path = String(cString: encoded)
    try Errno.checkNegative(
      sd_bus_add_object_vtable(
        bus, &slot, path, Names.device, primed_device_vtable(),
        Unmanaged.passUnretained(self).toOpaque()))
    sd_bus_emit_object_added(bus, path)
  }

  /// Without a slot init threw, and the object was never announced.
  deinit {
    guard slot != nil else { return }
    sd_bus_emit_object_removed(bus, path)
    sd_bus_slot_unref(slot)
  }

  /// As it was last shown on the bus.
  package var state: DeviceState { properties.state }
  /// As it was last told.
  package var noMove: NoMove { properties.noMove }

  /// Sends PropertiesChanged for those that changed.
  package func update(_ new: DeviceProperties) {
    let old = properties
    properties = new
    var changed: [Names.DeviceProperty] = []
    if old.description.render != new.description.render {
      changed += [.renderNode, .renderDevice]
    }
    if old.description.primary != new.description.primary {
      changed += [.primaryNode, .primaryDevice]
    }
    if old.description.role != new.description.role { changed.append(.role) }
    if old.isPrimary != new.isPrimary { changed.append(.primary) }
    if old.description.power != new.description.power { changed.append(.power) }
    if old.noMove != new.noMove { changed.append(.noMove) }
    if old.imports != new.imports { changed.append(.importing) }
    if old.description.connectors != new.description.connectors { changed.append(.connectors) }
    if old.description.connected != new.description.connected {
      changed.append(.connectedConnectors)
    }
    if old.state != new.state { changed.append(.state) }
    emitPropertiesChanged(bus, path, Names.device, changed.map(\.rawValue))
  }
}

/// sd-bus wants a NULL-terminated vector of C strings.
func emitPropertiesChanged(
  _ bus: OpaquePointer, _ path: String, _ interface: String, _ names: [String]
) {
  guard !names.isEmpty else { return }
  var vector: [UnsafeMutablePointer<CChar>?] = names.map { strdup($0) } + [nil]
  sd_bus_emit_properties_changed_strv(bus, path, interface, &vector)
  for case .some(let name) in vector { free(name) }
}

@c @implementation
func primed_bus_get_device(
  _ bus: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ interface: UnsafePointer<CChar>?,
  _ property: UnsafePointer<CChar>?, _ raw: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?,
  _ error: UnsafeMutablePointer<sd_bus_error>?
) -> Int32 {
  let p = Unmanaged<DeviceObject>.fromOpaque(userdata!).takeUnretainedValue().properties
  let d = p.description
  let reply = Message(raw: raw!)
  do throws(Errno) {
    switch Names.DeviceProperty(rawValue: String(cString: property!)) {
    case .renderNode: try reply.append(d.render?.path ?? "")
    case .primaryNode: try reply.append(d.primary?.path ?? "")
    case .renderDevice: try reply.append(d.render?.number ?? .none)
    case .primaryDevice: try reply.append(d.primary?.number ?? .none)
    case .driver: try reply.append(d.driver)
    case .driverVersion: try reply.append(d.driverVersion)
    case .vendor: try reply.append(d.vendor)
    case .model: try reply.append(d.model)
    case .bus: try reply.append(d.bus)
    case .sysfsPath: try reply.append(d.sysfsPath)
    case .stableID: try reply.append(d.stableID)
    case .seat: try reply.append(d.seat)
    case .bootVGA: try reply.append(d.bootVGA)
    case .primary: try reply.append(p.isPrimary)
    case .dedicatedMemory: try reply.append(d.dedicatedMemory)
    case .dedicatedMemoryEstimated: try reply.append(d.dedicatedMemoryIsEstimate)
    case .power: try reply.append(d.power.word)
    case .noMove: try reply.append(p.noMove.word)
    case .importing: try reply.append(p.imports)
    case .exporting: try reply.append(d.exports)
    case .role: try reply.append(d.role.word)
    case .connectors: try reply.append(d.connectors)
    case .connectedConnectors: try reply.append(d.connected)
    case .state: try reply.append(p.state.word)
    case nil: return -ENOENT
    }
    return 1
  } catch {
    return -error.code
  }
}
