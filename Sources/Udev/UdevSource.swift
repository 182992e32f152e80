// The machine's DRM devices, from udev and sysfs only: opens no node and wakes nothing.

internal import CUdev
internal import DRM
internal import Glibc
package import Linux
package import Placement
package import Ports

/// Events come from udevd after its rules have run; in a container without udevd, from the kernel.
package final class UdevSource: DeviceSource {
  private let loop: EventLoop
  private let udev: OpaquePointer
  private var monitor: OpaquePointer?
  private var readable: EventSource?
  private let hasDaemon: Bool
  /// Devices described as halves of a pair, by sysfs path: if one goes, the other is described
  /// again.
  private var paired: Set<String> = []
  /// Devices, by sysfs path, that were seen with a driver. Those without one are being removed: the
  /// kernel removes the driver's link before the driver removes the nodes, which can take long.
  private var driven: Set<String> = []
  private let powerFiles = PowerFiles()

  /// Whether udevd is running.
  package static var daemonIsThere: Bool { access("/run/udev/control", F_OK) == 0 }

  package init(loop: EventLoop, hasDaemon: Bool = daemonIsThere) throws(Errno) {
    guard let udev = udev_new() else { throw Errno(ENOMEM) }
    self.loop = loop
    self.udev = udev
    self.hasDaemon = hasDaemon
  }

  deinit {
    readable = nil
    udev_monitor_unref(monitor)
    udev_unref(udev)
  }

  // MARK: DeviceSource

  package func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno) {
    guard let monitor = udev_monitor_new_from_netlink(udev, hasDaemon ? "udev" : "kernel") else {
      throw .last
    }
    self.monitor = monitor
    for (subsystem, type) in [("drm", "drm_minor"), ("accel", "accel_minor")] {
      try Errno.checkNegative(
        udev_monitor_filter_add_match_subsystem_devtype(monitor, subsystem, type))
    }
    // Many hotplug events at once should not overrun the queue; if they do, `overrun` is reported.
    // Without CAP_NET_ADMIN the kernel grants up to net.core.rmem_max.
    udev_monitor_set_receive_buffer_size(monitor, 4 << 20)
    try Errno.checkNegative(udev_monitor_enable_receiving(monitor))
    // Handled before the bus: a client that calls after udevd announced a device, or after `udevadm
    // settle`, may rely on it. This can't delay the bus for long, since an event costs udevd far
    // more than primed.
    readable = try loop.onReadable(udev_monitor_get_fd(monitor), first: true) { [unowned self] in
      receive(handler)
    }
  }

  package func enumerate() -> [DeviceDescription] {
    var parents: Set<String> = []
    forEachNode(below: nil) { node in
      if let parent = Self.parentPath(ofNode: node.path) { parents.insert(parent) }
    }
    driven.formIntersection(parents)
    powerFiles.keep(only: parents)
    return tell(pairSplitDevices(parents.sorted().compactMap(describe)))
  }

  package func find(_ number: DeviceNumber) -> DeviceDescription? {
    guard
      let raw = udev_device_new_from_devnum(udev, CChar(UInt8(ascii: "c")), dev_t(number.rawValue))
    else { return nil }
    defer { udev_device_unref(raw) }
    let node = UdevDevice(raw)
    guard node.subsystem == "drm", let parent = Self.parentPath(ofNode: node.path) else {
      return nil
    }
    return devices(concernedBy: parent).first { $0.sysfsPath == parent }
  }

  package func power(of device: DeviceDescription) -> PowerReading {
    powerFiles.read(of: device)
  }

  // MARK: Events

  /// The content of an event may be outdated by now: it only says which device to read.
  private func receive(_ handler: (DeviceEvent) -> Void) {
    guard let raw = udev_monitor_receive_device(monitor) else {
      if errno != EAGAIN { handler(.overrun) }
      return
    }
    defer { udev_device_unref(raw) }
    guard let parent = Self.parentPath(ofNode: UdevDevice(raw).path) else { return }
    let concerned = devices(concernedBy: parent)
    if !concerned.contains(where: { $0.sysfsPath == parent }) {
      powerFiles.close(sysfsPath: parent)
      handler(.absent(sysfsPath: parent))
    }
    for device in concerned { handler(.present(device)) }
  }

  /// The device at this path, if it is there, and devices whose descriptions depend on it.
  private func devices(concernedBy sysfsPath: String) -> [DeviceDescription] {
    let device = describe(sysfsPath)
    if paired.contains(sysfsPath) || device.map(mayBePaired) ?? false { return enumerate() }
    return device.map { [$0] } ?? []
  }

  private func tell(_ devices: [DeviceDescription]) -> [DeviceDescription] {
    paired = Set(devices.filter { $0.pairedWith != nil }.map(\.sysfsPath))
    return devices
  }

  // MARK: What udev knows

  /// "/sys/devices/X/drm/card0" belongs to "/sys/devices/X". Computed from the path, since a node
  /// that has gone has no parent any more.
  static func parentPath(ofNode path: String) -> String? {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count > 3, ["drm", "accel"].contains(parts[parts.count - 2]) else { return nil }
    return parts.dropLast(2).joined(separator: "/")
  }

  /// Every card, render and accelerator node below `parent`, or of the machine if it is nil.
  private func forEachNode(below parent: OpaquePointer?, _ body: (UdevDevice) -> Void) {
    guard let list = udev_enumerate_new(udev) else { return }
    defer { udev_enumerate_unref(list) }
    udev_enumerate_add_match_subsystem(list, "drm")
    udev_enumerate_add_match_subsystem(list, "accel")
    if let parent { udev_enumerate_add_match_parent(list, parent) }
    udev_enumerate_scan_devices(list)
    var entry = udev_enumerate_get_list_entry(list)
    while let current = entry {
      entry = udev_list_entry_get_next(current)
      guard let raw = udev_device_new_from_syspath(udev, udev_list_entry_get_name(current)) else {
        continue
      }
      defer { udev_device_unref(raw) }
      let node = UdevDevice(raw)
      // Connectors are in the same subsystem; so were `controlD` nodes in old kernels.
      if ["drm_minor", "accel_minor"].contains(node.type), !node.name.hasPrefix("control") {
        body(node)
      }
    }
  }

  /// nil: the device has no node left, or its driver is being unbound.
  private func describe(_ sysfsPath: String) -> DeviceDescription? {
    guard let (description, hasDriver) = read(sysfsPath) else {
      driven.remove(sysfsPath)
      return nil
    }
    if hasDriver { driven.insert(sysfsPath) }
    return hasDriver || !driven.contains(sysfsPath) ? description : nil
  }

  /// nil: no node. A node that udevd has not finished is left out, since its event will come.
  private func read(_ sysfsPath: String) -> (DeviceDescription, hasDriver: Bool)? {
    guard let raw = udev_device_new_from_syspath(udev, sysfsPath) else { return nil }
    defer { udev_device_unref(raw) }
    let parent = UdevDevice(raw)
    var draft = DeviceDraft(parent: parent, sysfsPath: sysfsPath)
    forEachNode(below: raw) { node in
      // A device below this one, as an auxiliary device, has its own nodes.
      guard Self.parentPath(ofNode: node.path) == sysfsPath, !hasDaemon || node.isInitialized else {
        return
      }
      draft.add(node: node)
    }
    return draft.description.map { ($0, parent.driver != nil) }
  }
}
