// Whose questions may wake a device or open its card node: those of root, of primed's own user, and
// of users with an active session on the device's seat. Questions of users who are active on the
// seat of no device force no observations either.

internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

final class SeatUsers {
  /// Milliseconds for which what logind said (its files in /run/systemd/seats) is remembered.
  private static let memory: UInt64 = 1_000

  typealias Seated = (slot: DeviceSlot, seat: String)

  private var known: [uid_t: (devices: DeviceSet, generation: UInt64, at: UInt64)] = [:]
  private let isActive: (uid_t, _ seat: String) -> Bool

  init(isActive: @escaping (uid_t, String) -> Bool = { sd_uid_is_on_seat($0, 1, $1) > 0 }) {
    self.isActive = isActive
  }

  /// The devices that questions of this user may wake, and whose card nodes they may open.
  /// - Parameters:
  ///   - generation: that of `devices`; in another generation a slot may be another device's.
  func devices(
    of user: uid_t, in generation: UInt64, among devices: @autoclosure () -> [Seated]
  ) -> DeviceSet {
    if user == 0 || user == geteuid() { return .all }
    let now = bootMilliseconds()
    if let entry = known[user], entry.generation == generation, now - entry.at < Self.memory {
      return entry.devices
    }
    if known.count >= Limits.connectionsInAll { known = [:] }
    var found = DeviceSet()
    for device in devices() where isActive(user, device.seat) { found.insert(device.slot) }
    known[user] = (found, generation, now)
    return found
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
