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

  deinit {
    sd_bus_emit_object_removed(bus, path)
    sd_bus_slot_unref(slot)
  }

  /// As it was last told.
  package var state: DeviceState { properties.state }

  /// Tells of the properties that changed.
  package func update(_ new: DeviceProperties) {
    let old = properties
    properties = new
    var changed: [String] = []
    if old.description.render != new.description.render {
      changed += ["RenderNode", "RenderDevice"]
    }
    if old.description.primary != new.description.primary {
      changed += ["PrimaryNode", "PrimaryDevice"]
    }
    if old.description.role != new.description.role { changed.append("Role") }
    if old.isPrimary != new.isPrimary { changed.append("Primary") }
    if old.description.power != new.description.power { changed.append("Power") }
    if old.noMove != new.noMove { changed.append("NoMove") }
    if old.imports != new.imports { changed.append("Import") }
    if old.description.connectors != new.description.connectors { changed.append("Connectors") }
    if old.description.connected != new.description.connected {
      changed.append("ConnectedConnectors")
    }
    if old.state != new.state { changed.append("State") }
    emitPropertiesChanged(bus, path, Names.device, changed)
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
    switch String(cString: property!) {
    case "RenderNode": try reply.append(d.render?.path ?? "")
    case "PrimaryNode": try reply.append(d.primary?.path ?? "")
    case "RenderDevice": try reply.append(d.render?.number ?? .none)
    case "PrimaryDevice": try reply.append(d.primary?.number ?? .none)
    case "Driver": try reply.append(d.driver)
    case "DriverVersion": try reply.append(d.driverVersion)
    case "Vendor": try reply.append(d.vendor)
    case "Model": try reply.append(d.model)
    case "Bus": try reply.append(d.bus)
    case "SysfsPath": try reply.append(d.sysfsPath)
    case "StableId": try reply.append(d.stableID)
    case "Seat": try reply.append(d.seat)
    case "BootVGA": try reply.append(d.bootVGA)
    case "Primary": try reply.append(p.isPrimary)
    case "DedicatedMemory": try reply.append(d.dedicatedMemory)
    case "DedicatedMemoryEstimated": try reply.append(d.dedicatedMemoryIsEstimate)
    case "Power": try reply.append(d.power.word)
    case "NoMove": try reply.append(p.noMove.word)
    case "Import": try reply.append(p.imports)
    case "Export": try reply.append(d.exports)
    case "Role": try reply.append(d.role.word)
    case "Connectors": try reply.append(d.connectors)
    case "ConnectedConnectors": try reply.append(d.connected)
    case "State": try reply.append(p.state.word)
    default: return -2
    }
    return 1
  } catch {
    return -error.code
  }
}
