// What the engine tells of its work: counters, and what it answered lately.

package import Placement
internal import Ports

extension QueryEngine {
  /// What was answered and what happened lately, the oldest first.
  package var told: [Told] { recent.told(at: time.now) }

  /// How many of the remembered buffers are this user's.
  package func cachedBuffers(of user: UInt32) -> Int { cache.count(of: user) }

  /// Counters by name, e.g. "queries", "hits", "looks", "imports", "timeouts", "cached-buffers".
  package var statistics: [(name: StaticString, value: UInt64)] {
    [
      ("queries", counters.queries), ("hits", counters.hits), ("looks", counters.looks),
      ("imports", counters.imports), ("seeded", counters.seeded),
      ("timeouts", keeper.timeouts), ("cached-buffers", UInt64(cache.count)),
      ("pending-queries", UInt64(askers)), ("sibling-groups", UInt64(siblings.count)),
    ]
  }
}
