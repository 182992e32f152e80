// A clock that moves only when it is told to.

package import Placement
internal import Ports

package final class VirtualClock: TimeSource {
  /// Not 0, so that times before the start can be expressed.
  package private(set) var now: Milliseconds = 3_600_000
  package init() {}
  package func advance(to then: Milliseconds) { now = max(now, then) }
}
