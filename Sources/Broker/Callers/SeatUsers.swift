// Users whose questions may use hardware beyond a first observation of a buffer: root, primed's own
// user, and users with an active session on a seat. Questions of other users wake no device, open
// no card node, and force no observations.

internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

final class SeatUsers {
  /// Milliseconds for which what logind said (its files in /run/systemd/seats) is remembered.
  private static let memory: UInt64 = 1_000

  private var known: [uid_t: (isActive: Bool, at: UInt64)] = [:]

  /// Whether the user's session is active on one of these seats. A user may not wake a device of
  /// another seat.
  func isActive(_ user: uid_t, on seats: @autoclosure () -> Set<String>) -> Bool {
    if user == 0 || user == geteuid() { return true }
    let now = bootMilliseconds()
    if let entry = known[user], now - entry.at < Self.memory { return entry.isActive }
    if known.count >= Limits.connectionsInAll { known = [:] }
    let isActive = seats().allSatisfy { sd_uid_is_on_seat(user, 1, $0) > 0 }
    known[user] = (isActive, now)
    return isActive
  }
}

/// How many observations a user may force with `fresh`: so many at once, and so many per second.
/// Beyond that the answer comes from the last observation.
struct FreshLooks {
  private var left: [uid_t: (count: Double, at: UInt64)] = [:]

  mutating func take(_ user: uid_t, at now: UInt64) -> Bool {
    let burst = Double(Limits.freshLooksPerSecond)
    if left.count >= Limits.connectionsInAll { left = left.filter { now - $0.value.at < 1_000 } }
    let old = left[user] ?? (burst, now)
    let count = min(burst, old.count + Double(now - old.at) * burst / 1_000)
    left[user] = (count < 1 ? count : count - 1, now)
    return count >= 1
  }
}
