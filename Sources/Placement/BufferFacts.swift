// What is known of one dma-buf, merged over all looks at it. Plain data, kept by the thousand.
//
// A look tells the *state*; what is wanted is the *home*, where the exporter gives the buffer its best
// access. The devices that could reach it at every look are those that reach it at home: a buffer that
// was evicted is reached by more devices than at home, never by fewer. So a device that once would have
// moved it stays out, and one look more can only narrow the home set.

/// How often to look again at what isn't settled.
package enum Recheck {
  package static let first: UInt32 = 250
  package static let last: UInt32 = 8_000
  /// A settled answer older than this is served at once and looked at again behind.
  package static let refreshAfter: Milliseconds = 60_000
}

package struct BufferFacts: Sendable, Equatable {
  package var exporters: ExporterEvidence
  package internal(set) var confidence = Confidence.guess
  /// Where it belongs, and where it was at the last look.
  package internal(set) var home = Memory.unknown
  package internal(set) var residency = Memory.unknown
  /// Importers at the last look, where introspection told of them. For people only.
  package internal(set) var attached: UInt8?
  /// Memories that some look saw it in.
  private var seen: Seen = []
  /// Nothing that a later look could show would change `home`.
  package private(set) var homeIsCertain = false
  /// Taught by a sibling, not seen itself: good for an answer, but that they are siblings is the
  /// asker's word, so no import may rest on it.
  package internal(set) var seeded = false
  /// Whose share of the cache it takes; the cache's own, and here since there is room.
  var share: UInt16 = 0
  /// Milliseconds from `looked` to the next look; 0: settled.
  package internal(set) var interval: UInt32 = 0
  /// Of the devices, when it was last seen that none is left to be asked.
  package var epoch: UInt32 = 0
  /// Could use it in place at some look.
  package private(set) var reached = DeviceSet()
  /// Would have moved it at some look.
  package private(set) var refused = DeviceSet()
  /// Could not use it at all.
  package private(set) var failing = DeviceSet()
  package internal(set) var looked: Milliseconds = 0

  private struct Seen: OptionSet, Sendable, Equatable {
    var rawValue: UInt8
    static let dedicated = Seen(rawValue: 1)
    static let system = Seen(rawValue: 2)
  }

  /// Nothing is known yet.
  package init(among devices: DeviceTable) { exporters = ExporterEvidence(anyOf: devices) }

  /// Reached it every time.
  package var reachedAlways: DeviceSet { reached.subtracting(refused).subtracting(failing) }
  /// Those that reach it at home without being its exporter, as far as is known. Where it belongs in
  /// dedicated memory and was only seen in system memory, it was evicted: who reached it then would
  /// keep it from going home, unless its exporter is gone and its home with it.
  package var reachedAtHome: DeviceSet {
    let wasEvicted = home == .dedicated && seen == .system
    return wasEvicted && !exporters.candidates.devices.isEmpty ? DeviceSet() : reachedAlways
  }
  package var asked: DeviceSet { reached.union(refused).union(failing) }
  package var settled: Bool { interval == 0 }
  package var recheckTime: Milliseconds { looked + Milliseconds(interval) }
  package func isDue(at now: Milliseconds) -> Bool { interval != 0 && now >= recheckTime }
  /// A new look could tell something, though the answer is settled.
  package func isStale(at now: Milliseconds) -> Bool {
    settled && !homeIsCertain && (asked.count > 1 || residency != .unknown)
      && now >= looked + Recheck.refreshAfter
  }

  /// Whether an answer may differ between the two.
  package func decidesAs(_ other: BufferFacts) -> Bool {
    exporters.candidates == other.exporters.candidates && reachedAlways == other.reachedAlways
      && refused == other.refused && failing == other.failing && home == other.home
      && confidence == other.confidence
  }

  /// The device in this slot has gone.
  package mutating func scrub(_ slot: DeviceSlot) {
    exporters.scrub(slot)
    reached.remove(slot)
    refused.remove(slot)
    failing.remove(slot)
  }
}

extension BufferFacts {
  /// Merges one look, taken at `now`. Only a look a recheck interval after the one before, or one
  /// that was asked for as `fresh`, says something about time.
  package mutating func merge(
    _ look: Look, among devices: DeviceTable, at now: Milliseconds, fresh: Bool = false
  ) {
    if seeded { keepWhatAgrees(with: look, among: devices) }
    let before = self
    gather(look, among: devices)
    if settleByIntention(look, among: devices) || settleWithoutComparison() {
      looked = now
    } else if before.asked.isEmpty && before.seen.isEmpty {
      (confidence, interval, looked) = (.state, Recheck.first, now)
    } else if fresh || before.settled || before.isDue(at: now) {
      weigh(against: before, among: devices)
      looked = now
    }
  }

  private mutating func gather(_ look: Look, among devices: DeviceTable) {
    look.narrow(&exporters, among: devices)
    let reaching = look.reaching(exporters: exporters.candidates, among: devices)
    reached = reached.union(reaching)
    refused = refused.union(look.wouldMove)
    failing = failing.subtracting(reaching).subtracting(look.wouldMove).union(look.failing)
    residency = look.residency(exporters: exporters.candidates, among: devices)
    attached = look.introspection?.attached
    if residency == .dedicated { (seen, home) = (seen.union(.dedicated), .dedicated) }
    if residency == .system { seen.insert(.system) }
    seeded = false
  }

  /// Now that it was seen itself, a sibling's word counts only as more looks, and not even that if the look
  /// shows that it was none: what a sibling reached at home is not moved by reaching this one.
  private mutating func keepWhatAgrees(with look: Look, among devices: DeviceTable) {
    if !look.wouldMove.intersection(reachedAlways).isEmpty { self = BufferFacts(among: devices) }
    exporters = ExporterEvidence(anyOf: devices)
  }

  /// The exporter's word, or its nature, ends all doubt about the home.
  private mutating func settleByIntention(_ look: Look, among devices: DeviceTable) -> Bool {
    let intended = look.intention(exporters: exporters.candidates)
    if intended != .unknown {
      (home, confidence) = (intended, .intent)
    } else if homeIsCertain {
      // Said by an earlier look.
    } else if look.isOfSystemMemory(exporters: exporters.candidates, among: devices) {
      (home, confidence) = (.system, .state)
    } else {
      return false
    }
    homeIsCertain = true
    interval = 0
    return true
  }

  /// With no second device to compare with, and the memory not seen, a later look tells no more.
  private mutating func settleWithoutComparison() -> Bool {
    guard seen.isEmpty && asked.count <= 1 else { return false }
    confidence = exporters.candidates.certain == nil && reached.isEmpty ? .guess : .state
    interval = 0
    return true
  }

  /// State or stable, by whether the looks agree and since when.
  private mutating func weigh(against before: BufferFacts, among devices: DeviceTable) {
    // A sleeping exporter keeps nothing in its own memory: such looks agree on an eviction.
    let mayBeEvicted = !exporters.candidates.devices.subtracting(devices.awake).isEmpty
    if !refused.isEmpty || seen.contains(.dedicated) {
      // Narrowed by this look or confirmed by it: no eviction can have looked like this.
      (confidence, interval) = (.stable, 0)
    } else if reachedAlways != before.reachedAlways || failing != before.failing {
      (confidence, interval) = (.state, Recheck.first)
    } else if mayBeEvicted {
      (confidence, interval) = (.state, min(max(before.interval * 2, Recheck.first), Recheck.last))
    } else if before.settled || before.interval >= Recheck.last {
      (confidence, interval) = (.stable, 0)
      if seen == .system { home = .system }
    } else {
      (confidence, interval) = (.state, max(before.interval * 2, Recheck.first))
    }
  }

  /// What one sibling showed, added to what others did before. Those that no one device can have exported
  /// were no siblings, and the latest counts.
  package mutating func add(earlier: BufferFacts) {
    let common = exporters.candidates.intersection(earlier.exporters.candidates)
    guard !common.isEmpty, !homeIsCertain else { return }
    exporters.narrow(to: common, by: .siblings)
    reached = reached.union(earlier.reached)
    refused = refused.union(earlier.refused)
    failing = failing.union(earlier.failing)
    seen = seen.union(earlier.seen)
    if home == .unknown { home = earlier.home }
    confidence = max(confidence, earlier.confidence)
    interval = min(interval, earlier.interval)
  }

  /// What a sibling's look taught, for a buffer not looked at itself: never above `state`, and to be
  /// looked at once it has outlived a resize.
  package func seed(at now: Milliseconds) -> BufferFacts {
    var facts = self
    facts.seeded = true
    facts.attached = nil
    facts.homeIsCertain = false
    facts.confidence = min(confidence, .state)
    facts.interval = settled ? Recheck.last : Recheck.first
    facts.looked = now
    return facts
  }
}
