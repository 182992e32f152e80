// Which refused calls become a line in the log: who sends nonsense can't fill it.

internal import Placement

/// Decides which refusals become a line. In a window a caller gets one line, and all callers
/// together a few; what goes unsaid is counted and told with the next line.
struct RefusalPace {
  static let window = Limits.refusalWindow
  static let lines = Limits.refusalLines

  private var end: UInt64 = 0
  private var named: Set<Caller> = []
  private var unsaid: UInt64 = 0

  /// - Parameter now: milliseconds.
  /// - Returns: nil: say nothing; else how many were not said before.
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
