// The machine's clock.

internal import CShims

/// Milliseconds of CLOCK_BOOTTIME, which counts the time in suspend: cached facts age in it.
package func bootMilliseconds() -> UInt64 { primed_boottime_ns() / 1_000_000 }
