// Limits the log lines about refused calls, so that a misbehaving client can't fill the log.

internal import Placement

/// Decides which refusals are logged. In each `window` one line is written for a caller and `lines`
/// for all callers together. The others are counted, and the next line gives their number.
struct RefusalPace {
  static let window = Limits.refusalWindow
  static let lines = Limits.refusalLines

  private var end: UInt64 = 0
  private var named: Set<Caller> = []
  private var unsaid: UInt64 = 0

  /// - Parameter now: milliseconds.
  /// - Returns: nil: don't log it; else how many were not logged since the last line.
  mutating func note(_ caller: Caller, at now: UInt64) -> UInt64? {
    if now >= end { (end, named) = (now + Self.window, []) }
    guard named.count < Self.lines, named.insert(caller).inserted else {
      unsaid += 1
      return nil
    }
    defer { unsaid = 0 }
    return unsaid
  }
}
