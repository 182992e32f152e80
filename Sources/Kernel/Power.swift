// Whether a device sleeps, read where reading wakes nothing.

internal import Linux
package import Placement

/// `power/runtime_status` of the parent device (KERNEL.md, "Devices"): a device without runtime power
/// management says `unsupported` and is always on.
package func runtimePower(sysfsPath: String) -> Power {
  switch readAttribute(sysfsPath + "/power/runtime_status") {
  case "active", "resuming", "unsupported": .active
  case "suspended", "suspending": .suspended
  default: .unknown
  }
}
