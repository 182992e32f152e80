// A device as libudev knows it.

internal import CUdev
internal import Placement

/// A borrowed udev_device, and its attributes.
struct UdevDevice {
  let raw: OpaquePointer
  init(_ raw: OpaquePointer) { self.raw = raw }

  var name: String { string(udev_device_get_sysname(raw)) ?? "" }
  var path: String { string(udev_device_get_syspath(raw)) ?? "" }
  var node: Node? {
    guard let path = string(udev_device_get_devnode(raw)) else { return nil }
    return Node(path: path, number: DeviceNumber(UInt64(udev_device_get_devnum(raw))))
  }
  var driver: String? { string(udev_device_get_driver(raw)) }
  var subsystem: String { string(udev_device_get_subsystem(raw)) ?? "" }
  var type: String { string(udev_device_get_devtype(raw)) ?? "" }
  var isInitialized: Bool { udev_device_get_is_initialized(raw) > 0 }
  /// The USB device that this interface belongs to; borrowed from this one.
  var usbDevice: UdevDevice? {
    udev_device_get_parent_with_subsystem_devtype(raw, "usb", "usb_device").map(UdevDevice.init)
  }
  func property(_ key: String) -> String? { string(udev_device_get_property_value(raw, key)) }
  func attribute(_ key: String) -> String? { string(udev_device_get_sysattr_value(raw, key)) }
  func has(tag: String) -> Bool { udev_device_has_tag(raw, tag) > 0 }
}

private func string(_ raw: UnsafePointer<CChar>?) -> String? { raw.map { String(cString: $0) } }
