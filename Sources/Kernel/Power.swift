// Whether a device sleeps, read where reading wakes nothing.

internal import Linux
package import Placement

/// `power/runtime_status` of the parent device: a device without runtime power
/// management says `unsupported` and is always on.
package func runtimePower(sysfsPath: String) -> Power {
  switch readAttribute(sysfsPath + "/power/runtime_status") {
  case "active", "resuming", "unsupported": .active
  case "suspended", "suspending": .suspended
  default: .unknown
  }
}

/// Whether a device that was just used will be awake for `time` still, so that a node can be kept open
/// for so long and be closed without waking it. Reading this wakes nothing either.
package func staysAwake(sysfsPath: String, for time: Milliseconds) -> Bool {
  let power = sysfsPath + "/power/"
  // "on": never suspended. No such attribute: no runtime power management.
  if readAttribute(power + "control") != "auto" { return true }
  // EIO: suspended at once.
  guard let delay = Int64(readAttribute(power + "autosuspend_delay_ms")) else { return false }
  return delay < 0 || delay >= time
}
