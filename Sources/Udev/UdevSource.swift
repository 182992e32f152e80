// The machine's DRM devices, from udev and sysfs alone: no node is opened, nothing is woken.

internal import CUdev
internal import Glibc
package import Kernel
package import Linux
package import Placement

/// Events come from udevd, after its rules ran; in a container without udevd, from the kernel.
package final class UdevSource: DeviceSource {
  private let loop: EventLoop
  private let udev: OpaquePointer
  private var monitor: OpaquePointer?
  private var readable: EventSource?
  private let hasDaemon: Bool

  package init(loop: EventLoop) throws(Errno) {
    guard let udev = udev_new() else { throw Errno(ENOMEM) }
    self.loop = loop
    self.udev = udev
    hasDaemon = access("/run/udev/control", F_OK) == 0
  }

  deinit {
    readable = nil
    udev_monitor_unref(monitor)
    udev_unref(udev)
  }

  package func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno) {
    guard let monitor = udev_monitor_new_from_netlink(udev, hasDaemon ? "udev" : "kernel") else {
      throw .last
    }
    self.monitor = monitor
    try Errno.checkNegative(
      udev_monitor_filter_add_match_subsystem_devtype(monitor, "drm", "drm_minor"))
    // A storm of hotplug events should not overrun the queue; if it does, `overrun` mends it.
    udev_monitor_set_receive_buffer_size(monitor, 4 << 20)
    try Errno.checkNegative(udev_monitor_enable_receiving(monitor))
    readable = try loop.onReadable(udev_monitor_get_fd(monitor)) { [unowned self] in
      receive(handler)
    }
  }

  /// One event a turn of the loop, so that a storm does not starve the bus.
  private func receive(_ handler: (DeviceEvent) -> Void) {
    guard let device = udev_monitor_receive_device(monitor) else {
      if errno != EAGAIN { handler(.overrun) }
      return
    }
    defer { udev_device_unref(device) }
    guard let path = string(udev_device_get_syspath(device)),
      let parent = Self.parentPath(ofNode: path)
    else { return }
    if let description = describe(parent) {
      for one in mayBePaired(description) ? enumerate() : [description] {
        handler(.present(one))
      }
    } else {
      handler(.absent(sysfsPath: parent))
    }
  }

  package func enumerate() -> [DeviceDescription] {
    var parents: Set<String> = []
    forEachNode(below: nil) { node in
      if let path = string(udev_device_get_syspath(node)),
        let parent = Self.parentPath(ofNode: path)
      {
        parents.insert(parent)
      }
    }
    return pairSplitDevices(parents.sorted().compactMap(describe))
  }

  package func find(_ number: DeviceNumber) -> DeviceDescription? {
    guard let node = udev_device_new_from_devnum(udev, CChar(UInt8(ascii: "c")), dev_t(number.rawValue))
    else { return nil }
    defer { udev_device_unref(node) }
    guard string(udev_device_get_subsystem(node)) == "drm",
      let path = string(udev_device_get_syspath(node)),
      let parent = Self.parentPath(ofNode: path)
    else { return nil }
    return describe(parent)
  }

  package func power(of device: DeviceDescription) -> Power {
    runtimePower(sysfsPath: device.sysfsPath)
  }

  /// "/sys/devices/X/drm/card0" belongs to "/sys/devices/X". From the path alone, since a node that
  /// is gone has no parent any more.
  static func parentPath(ofNode path: String) -> String? {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count > 3, parts[parts.count - 2] == "drm" else { return nil }
    return parts.dropLast(2).joined(separator: "/")
  }

  /// Every card and render node below `parent`, or of the machine.
  private func forEachNode(below parent: OpaquePointer?, _ body: (OpaquePointer) -> Void) {
    guard let list = udev_enumerate_new(udev) else { return }
    defer { udev_enumerate_unref(list) }
    udev_enumerate_add_match_subsystem(list, "drm")
    udev_enumerate_add_match_sysname(list, "card[0-9]*")
    udev_enumerate_add_match_sysname(list, "renderD[0-9]*")
    if let parent { udev_enumerate_add_match_parent(list, parent) }
    udev_enumerate_scan_devices(list)
    var entry = udev_enumerate_get_list_entry(list)
    while let current = entry {
      entry = udev_list_entry_get_next(current)
      guard let node = udev_device_new_from_syspath(udev, udev_list_entry_get_name(current)) else {
        continue
      }
      defer { udev_device_unref(node) }
      guard string(udev_device_get_devtype(node)) == "drm_minor" else { continue }
      body(node)
    }
  }

  /// nil when the device has no node left. A node that udevd has not finished is left out: its event
  /// is still to come.
  private func describe(_ sysfsPath: String) -> DeviceDescription? {
    guard let parent = udev_device_new_from_syspath(udev, sysfsPath) else { return nil }
    defer { udev_device_unref(parent) }
    var draft = DeviceDraft(parent: UdevDevice(parent), sysfsPath: sysfsPath)
    forEachNode(below: parent) { node in
      guard !hasDaemon || udev_device_get_is_initialized(node) > 0 else { return }
      draft.add(node: UdevDevice(node))
    }
    return draft.description
  }
}

/// A borrowed udev_device and the words that it has.
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
  func property(_ key: String) -> String? { string(udev_device_get_property_value(raw, key)) }
  func attribute(_ key: String) -> String? { string(udev_device_get_sysattr_value(raw, key)) }
  func has(tag: String) -> Bool { udev_device_has_tag(raw, tag) > 0 }
}

private func string(_ raw: UnsafePointer<CChar>?) -> String? { raw.map { String(cString: $0) } }
