// Whether a device sleeps, read without waking it.

internal import Glibc
internal import Linux
package import Placement
package import Ports

/// `power/runtime_status` of the parent device: a device without runtime power
/// management says `unsupported` and is always on.
package func runtimePower(of device: DeviceDescription) -> Power {
  power(fromStatus: readAttribute(device.powerPath + "/power/runtime_status"))
}

private func power(fromStatus status: String) -> Power {
  switch status {
  case "active", "resuming", "unsupported": .active
  case "suspended", "suspending": .suspended
  default: .unknown
  }
}

/// Whether it is runtime suspended now. Reading this wakes nothing.
package func sleeps(_ device: DeviceDescription) -> Bool { runtimePower(of: device) == .suspended }

/// Whether a device that was just used stays awake for `time` at least, so that its node can be
/// kept open for so long and then be closed without waking it. Reading this wakes nothing.
package func staysAwake(_ device: DeviceDescription, for time: Milliseconds) -> Bool {
  let power = device.powerPath + "/power/"
  // "on": never suspended. No such attribute: no runtime power management.
  if readAttribute(power + "control") != "auto" { return true }
  // EIO: the device suspends at once.
  guard let delay = Int64(readAttribute(power + "autosuspend_delay_ms")) else { return false }
  return delay < 0 || delay >= time
}

/// Whether it has no runtime power management, so that closing its node wakes nothing.
package func neverSleeps(_ device: DeviceDescription) -> Bool {
  readAttribute(device.powerPath + "/power/runtime_status") == "unsupported"
}

/// Whether primed may open the device and import into it without resuming it.
package func isAskable(_ device: DeviceDescription) -> Bool {
  !device.row.info.wakesWhenAsked || !sleeps(device)
}

extension DeviceDescription {
  /// The device whose runtime power management applies (for nova-drm that of its PCI device).
  package var powerPath: String {
    guard row.info.powerIsParents, let slash = sysfsPath.lastIndex(of: "/") else {
      return sysfsPath
    }
    return String(sysfsPath[..<slash])
  }
}

/// The power attributes of devices, kept open: runtime power has no event and is read once a second
/// while questions come. An open attribute holds neither the device nor its driver; after the
/// device has gone, reading it fails with ENODEV.
package final class PowerFiles {
  private final class Entry {
    let status: OwnedFD
    /// nil: the kernel has no such attribute (no runtime power management).
    let activeTime: OwnedFD?
    init(status: consuming OwnedFD, activeTime: consuming OwnedFD?) {
      self.status = status
      self.activeTime = activeTime
    }
    var activeTimeFD: Int32? {
      switch activeTime {
      case .some(let file): file.rawValue
      case .none: nil
      }
    }
  }
  /// By the device's sysfs path.
  private var entries: [String: Entry] = [:]

  package init() {}

  package func read(of device: DeviceDescription) -> PowerReading {
    let path = device.sysfsPath
    if let entry = entries[path], let reading = Self.reading(of: entry) { return reading }
    guard let entry = Self.open(device.powerPath), let reading = Self.reading(of: entry) else {
      entries[path] = nil
      return PowerReading(.unknown)
    }
    entries[path] = entry
    return reading
  }

  /// The device has gone.
  package func close(sysfsPath: String) { entries[sysfsPath] = nil }

  /// Closes the attributes of all devices but these.
  package func keep(only paths: Set<String>) { entries = entries.filter { paths.contains($0.key) } }

  private static func open(_ powerPath: String) -> Entry? {
    func attribute(_ name: String) -> OwnedFD? {
      let fd = Glibc.open("\(powerPath)/power/\(name)", O_RDONLY | O_CLOEXEC)
      return fd < 0 ? nil : OwnedFD(fd)
    }
    guard let status = attribute("runtime_status") else { return nil }
    return Entry(status: status, activeTime: attribute("runtime_active_time"))
  }

  /// nil: the device has gone.
  private static func reading(of entry: Entry) -> PowerReading? {
    guard let status = line(fd: entry.status.rawValue) else { return nil }
    let power = power(fromStatus: status)
    guard power == .suspended, let file = entry.activeTimeFD else { return PowerReading(power) }
    return PowerReading(power, activeTime: line(fd: file).flatMap { Milliseconds($0) })
  }

  private static func line(fd: Int32) -> String? {
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      let n = pread(fd, buffer.baseAddress, buffer.count, 0)
      guard n >= 0 else { return nil }
      let end = buffer[..<n].firstIndex(of: UInt8(ascii: "\n")) ?? n
      return String(decoding: buffer[..<end], as: UTF8.self)
    }
  }
}
