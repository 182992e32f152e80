// What the engine tells of its work: counters, and what it answered lately.

package import Placement
internal import Ports

extension QueryEngine {
  /// What was answered lately, the oldest first, with what is known of the buffers now.
  package var toldAnswers: [ToldAnswer] {
    let now = time.now
    return recent.all.map { answer in
      let facts = facts(of: answer.planes[0])
      return ToldAnswer(
        answer, age: now > answer.at ? now - answer.at : 0,
        exporter: facts.exporters.candidates.certain.map { table.number(of: $0) } ?? .none,
        home: facts.home, residency: facts.residency)
    }
  }

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
