// Makes a `DeviceDescription` from udev and sysfs.

internal import DRM
internal import Glibc
internal import Linux
internal import Placement
internal import Ports
internal import Synchronization

/// Invalid settings that were logged, with their devices: devices are described often.
private let told = Mutex<Set<String>>([])

/// A description in the making: first the parent device, then each of its nodes.
struct DeviceDraft {
  private var draft: DeviceDescription
  private var declaredRole: Role?
  private var accelerates = false

  init(parent: UdevDevice, sysfsPath: String) {
    draft = DeviceDescription(
      stableID: Self.stableID(parent, sysfsPath), sysfsPath: sysfsPath,
      driver: Self.drmDriver(parent))
    draft.registration = Self.registration(sysfsPath)
    draft.bus = draft.row.info.kind == .software ? "" : Self.bus(parent)
    draft.vendor = Self.vendor(parent)
    draft.model = Self.model(parent)
    draft.driverVersion = Self.driverVersion(parent.driver ?? draft.driver)
    draft.bootVGA = parent.attribute("boot_vga") == "1"
    draft.bootDisplay = parent.attribute("boot_display") == "1"
    draft.integrated = isIntegrated(draft)
    (draft.dedicatedMemory, draft.dedicatedMemoryIsEstimate) = dedicatedMemory(draft)
    draft.power = runtimePower(of: draft)
  }

  mutating func add(node: UdevDevice) {
    guard let place = node.node else { return }
    if node.subsystem == "accel" {
      accelerates = true
      return
    }
    if node.name.hasPrefix("renderD") {
      draft.render = place
    } else {
      draft.primary = place
      (draft.connectors, draft.connected) = Self.connectors(node)
    }
    if let path = node.property("ID_PATH") { draft.stableID = path }
    if let seat = node.property("ID_SEAT") { draft.seat = seat }
    if isSet("PRIMED_PRIMARY", on: node) || node.has(tag: "mutter-device-preferred-primary") {
      draft.preferredPrimary = true
    }
    if isSet("PRIMED_IGNORE", on: node) || node.has(tag: "mutter-device-ignore") {
      draft.ignored = true
    }
    if let word = node.property("PRIMED_ROLE") {
      let role = Self.role(named: word)
      if role == nil {
        let choices = Role.allCases.map { "\($0)" }.joined(separator: ", ")
        complain("PRIMED_ROLE=\(word)", of: node, "one of \(choices)")
      }
      declaredRole = role ?? declaredRole
    }
  }

  // MARK: An administrator's settings

  private func isSet(_ property: String, on node: UdevDevice) -> Bool {
    switch node.property(property) {
    case "1": return true
    case "0", nil: return false
    case .some(let word):
      complain("\(property)=\(word)", of: node, "0 or 1")
      return false
    }
  }

  /// An invalid setting changes nothing, and is logged once.
  private func complain(_ setting: String, of node: UdevDevice, _ choices: String) {
    guard told.withLock({ $0.insert("\(setting) \(draft.stableID)").inserted }) else { return }
    Log.write(
      .warning, "udev says \(setting) of \(node.name), which means nothing: give \(choices)",
      [("DEVICE", draft.stableID)])
  }

  /// nil: it has no node. A device with only an accelerator's node can export buffers that look
  /// like a DRM device's, but no answer names it: it is described without a node.
  var description: DeviceDescription? {
    guard draft.node != nil || accelerates else { return nil }
    var done = draft
    done.role = declaredRole ?? usualRole(of: done)
    if draft.node == nil {
      done.ignored = true
      done.imports = false
    }
    return done
  }

  /// The directory of its nodes is made when a driver registers the device, with an inode number
  /// that sysfs does not use again.
  private static func registration(_ sysfsPath: String) -> UInt64 {
    var status = stat()
    return stat(sysfsPath + "/drm", &status) == 0 ? UInt64(status.st_ino) : 0
  }

  private static func bus(_ parent: UdevDevice) -> String {
    let place = parent.subsystem == "usb" ? parent.usbDevice ?? parent : parent
    return "\(place.subsystem):\(place.name)"
  }

  private static func vendor(_ parent: UdevDevice) -> String {
    parent.property("ID_VENDOR_FROM_DATABASE") ?? parent.usbDevice?.attribute("manufacturer") ?? ""
  }

  private static func model(_ parent: UdevDevice) -> String {
    parent.property("ID_MODEL_FROM_DATABASE") ?? parent.usbDevice?.attribute("product")
      ?? parent.property("ID_MODEL") ?? ""
  }

  private static func stableID(_ parent: UdevDevice, _ sysfsPath: String) -> String {
    parent.property("ID_PATH") ?? String(sysfsPath.dropFirst("/sys/devices/".count))
  }

  /// The DRM name of the driver. The parent may be bound to a driver of another name: a transport's
  /// (virtio), the module below (nvidia), or the bus's half of the same driver (vc4-drm).
  private static func drmDriver(_ parent: UdevDevice) -> String {
    switch parent.driver {
    // On the faux bus the driver shows the bus's name; the device's name is the driver's.
    case "faux_driver", nil: parent.name
    case .some(let name): DriverInfo.drmName(ofBusName: name)
    }
  }

  /// Modules from outside the kernel tree have a version; for others it is the kernel's.
  private static func driverVersion(_ driver: String) -> String {
    let own = readAttribute("/sys/module/\(driver)/version")
    return own.isEmpty ? kernelRelease() : own
  }

  private static func role(named word: String) -> Role? {
    switch word {
    case "render": .render
    case "display": .display
    case "split": .split
    case "sink": .sink
    case "software": .software
    default: nil
    }
  }

  /// `card0-eDP-1` is connector `eDP-1`. `status` is the state that the driver last saw: reading it
  /// does not probe the connector (drm_sysfs.c, status_show).
  private static func connectors(_ card: UdevDevice) -> (all: [String], connected: [String]) {
    let prefix = card.name + "-"
    let all = namesIn(card.path).filter { $0.hasPrefix(prefix) }.sorted()
      .map { String($0.dropFirst(prefix.count)) }
    let connected = all.filter {
      readAttribute("\(card.path)/\(prefix)\($0)/status") == "connected"
    }
    return (connected + all.filter { !connected.contains($0) }, connected)
  }
}

private func usualRole(of device: DeviceDescription) -> Role {
  switch device.row.info.kind {
  case .software: .software
  case .sink: .sink
  case .gpu, .renderer, .display, .accelerator: device.render == nil ? .display : .render
  }
}

/// Whether this device may be half of a pair, so that another device's description depends on it.
func mayBePaired(_ device: DeviceDescription) -> Bool {
  isSplitRenderer(device) || isSplitDisplay(device)
}

private func isSplitRenderer(_ device: DeviceDescription) -> Bool {
  guard !device.ignored, device.render != nil else { return false }
  return device.role == .split || device.row.info.kind == .renderer
}

private func isSplitDisplay(_ device: DeviceDescription) -> Bool {
  guard !device.ignored, device.render == nil else { return false }
  return device.role == .split || device.role == .display && device.bus.hasPrefix("platform:")
}

/// On an SoC a renderer and the only display device beside it are a pair.
func pairSplitDevices(_ all: [DeviceDescription]) -> [DeviceDescription] {
  let renderers = all.indices.filter { isSplitRenderer(all[$0]) }
  let displays = all.indices.filter { isSplitDisplay(all[$0]) }
  guard renderers.count == 1, displays.count == 1 else { return all }
  var paired = all
  let (r, d) = (renderers[0], displays[0])
  paired[r].role = .split
  paired[r].pairedWith = all[d].stableID
  paired[d].role = .split
  paired[d].pairedWith = all[r].stableID
  return paired
}

/// Whether it is integrated, as far as PCI says without waking it. nil: unknown.
private func isIntegrated(_ device: DeviceDescription) -> Bool? {
  guard let processor = device.row.info.processorVendor,
    let dot = device.sysfsPath.lastIndex(of: "."),
    let slash = device.sysfsPath.lastIndex(of: "/"), slash < dot
  else { return device.isIntegrated }
  let slot = device.sysfsPath[device.sysfsPath.index(after: slash)...dot]
  let bus = String(device.sysfsPath[..<slash])
  return namesIn(bus).contains {
    $0.hasPrefix(slot) && readAttribute("\(bus)/\($0)/vendor") == processor
  }
}

/// Bytes of dedicated memory (0: none or unknown), and whether that is only the size of the PCI
/// window on it. Neither source wakes the device: amdgpu shows what it read at start
/// (amdgpu_vram_mgr.c, amdgpu_mem_info_vram_total_show); for xe, i915, nouveau and radeon sysfs has
/// no such attribute [6.12].
private func dedicatedMemory(_ device: DeviceDescription) -> (UInt64, isEstimate: Bool) {
  if let bytes = UInt64(readAttribute(device.sysfsPath + "/mem_info_vram_total")), bytes > 0 {
    return (bytes, false)
  }
  // On an integrated Intel GPU that BAR is an aperture.
  guard device.row.info.hasVideoMemoryBAR(isIntegrated: device.isIntegrated == true) else {
    return (0, false)
  }
  let window = largestPrefetchableBAR(readText(device.sysfsPath + "/resource"))
  return (window, window > 0)
}

/// Bytes; 0: there is none. `resource` has one line per BAR: first address, last address and flags,
/// in hexadecimal.
func largestPrefetchableBAR(_ resource: String) -> UInt64 {
  let prefetchable: UInt64 = 0x2000
  return resource.split(separator: "\n").prefix(6).map { line in
    let words = line.split(separator: " ").compactMap { UInt64($0.dropFirst(2), radix: 16) }
    guard words.count == 3, words[2] & prefetchable != 0, words[1] > words[0] else { return 0 }
    let (size, overflows) = (words[1] - words[0]).addingReportingOverflow(1)
    return overflows ? 0 : size
  }.max() ?? 0
}
