// Messages to the service manager.

internal import CSystemd
internal import Glibc

package enum Notify {
  /// Sends variables of sd_notify(3), one a line. Does nothing without a service manager.
  package static func state(_ variables: String) { sd_notify(0, variables) }

  /// Milliseconds within which the service manager expects WATCHDOG=1 each time; nil: it expects
  /// none.
  package static var watchdogInterval: UInt64? {
    var microseconds: UInt64 = 0
    return sd_watchdog_enabled(0, &microseconds) > 0 ? microseconds / 1000 : nil
  }

  /// MONOTONIC_USEC, which must be sent with RELOADING=1.
  package static var monotonicMicroseconds: UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
  }
}
