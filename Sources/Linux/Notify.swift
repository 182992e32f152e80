// Words to the service manager.

internal import CSystemd
internal import Glibc

package enum Notify {
  /// Variables of sd_notify(3), a line each. Does nothing without a manager.
  package static func state(_ variables: String) { sd_notify(0, variables) }

  /// What RELOADING=1 goes with.
  package static var monotonicMicroseconds: UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
  }
}
