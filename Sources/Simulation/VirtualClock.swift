// A clock that goes only when it is told to.

internal import Kernel
package import Placement

package final class VirtualClock: TimeSource {
  /// Not 0, so that "long ago" can be said.
  package private(set) var now: Milliseconds = 3_600_000
  package init() {}
  package func advance(to then: Milliseconds) { now = max(now, then) }
}
