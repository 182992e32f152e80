// The machine's clock.

internal import CShims

/// Milliseconds of CLOCK_BOOTTIME: goes on through suspend, so that old knowledge ages.
package func bootMilliseconds() -> UInt64 { primed_boottime_ns() / 1_000_000 }
