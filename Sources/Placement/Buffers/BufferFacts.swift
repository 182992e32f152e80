// What is known of one dma-buf, merged over all looks at it. Plain data, kept by the thousand.
//
// A look tells the *state*; what is wanted is the *home*, where the exporter gives the buffer its
// best access. The devices that could reach it at every look are those that reach it at home: a
// buffer that was evicted is reached by more devices than at home, never by fewer. So a device that
// once would have moved it stays out, and one look more can only narrow the home set.

/// How often to look again at what isn't settled.
package enum Recheck {
  package static let first: UInt32 = 250
  package static let last: UInt32 = 8_000
  /// A settled answer older than this is served at once and observed at again behind.
  package static let refreshAfter: Milliseconds = 60_000
}

package struct BufferFacts: Sendable, Equatable {
  package var exporters: ExporterEvidence
  package internal(set) var confidence = Confidence.guess
  /// Where it belongs, and where it was when it was last observed.
  package internal(set) var home = Memory.unknown
  package internal(set) var residency = Memory.unknown
  /// Importers when it was last observed, 255 where introspection did not tell. For people only.
  private var importers = UInt8.max
  private var marks: Marks = []
  /// Whose share of the cache it takes; the cache's own, and here since there is room.
  var share: UInt16 = 0
  /// Milliseconds from `observed` to the next observation; 0: settled.
  private var wait: UInt16 = 0
  /// Of the devices, when it was last seen that none is left to be asked.
  package var epoch: UInt32 = 0
  /// Could use it in place while it was seen in dedicated memory; while it was not.
  private var reachedDedicated = DeviceSet()
  private var reachedElsewhere = DeviceSet()
  /// Would have moved it at some time.
  package private(set) var refused = DeviceSet()
  /// Could not use it at all.
  package private(set) var failing = DeviceSet()
  package internal(set) var observed: Milliseconds = 0

  private struct Marks: OptionSet, Sendable, Equatable {
    var rawValue: UInt8
    /// Memories that it was seen in.
    static let dedicated = Marks(rawValue: 1)
    static let system = Marks(rawValue: 2)
    static let homeIsCertain = Marks(rawValue: 4)
    static let seeded = Marks(rawValue: 8)
    static let hasPeer = Marks(rawValue: 16)
    static let recordsSaySystem = Marks(rawValue: 32)
  }

  /// Nothing is known of this buffer yet, but how old it is.
  package init(of buffer: BufferIdentity, among devices: DeviceTable) {
    exporters = ExporterEvidence(of: buffer, among: devices)
  }

  /// Of a buffer that this device will allocate, and that stays in this memory.
  init(exportedBy slot: DeviceSlot, in memory: Memory, among devices: DeviceTable) {
    self.init(of: BufferIdentity(inode: 0), among: devices)
    exporters.narrow(to: ExporterSet(DeviceSet(slot)), by: .record)
    (home, confidence) = (memory, .intent)
    homeIsCertain = true
  }

  /// nil: not told.
  package internal(set) var attached: UInt8? {
    get { importers == .max ? nil : importers }
    set { importers = min(newValue ?? .max, newValue == nil ? .max : .max - 1) }
  }
  package internal(set) var interval: UInt32 {
    get { UInt32(wait) }
    set { wait = UInt16(newValue) }
  }
  /// Nothing that a later observation could show would change `home`.
  package private(set) var homeIsCertain: Bool {
    get { marks.contains(.homeIsCertain) }
    set { if newValue { marks.insert(.homeIsCertain) } else { marks.remove(.homeIsCertain) } }
  }
  /// Taught by a sibling, not observed itself: good for an answer, but that they are siblings is
  /// the asker's word, so no import may rest on it.
  package internal(set) var seeded: Bool {
    get { marks.contains(.seeded) }
    set { if newValue { marks.insert(.seeded) } else { marks.remove(.seeded) } }
  }
  /// An importer used it in its exporter's own memory when it was last observed. For people only.
  package internal(set) var hasPeer: Bool {
    get { marks.contains(.hasPeer) }
    set { if newValue { marks.insert(.hasPeer) } else { marks.remove(.hasPeer) } }
  }
  /// Of those that may have exported it, whose it would be in system memory by their own records:
  /// what a device imports, and what it exported from there, it records alike.
  package func recordedSystem(among devices: DeviceTable) -> DeviceSet {
    marks.contains(.recordsSaySystem) ? recording(among: devices) : DeviceSet()
  }
  private func recording(among devices: DeviceTable) -> DeviceSet {
    exporters.candidates.devices.intersection(devices.keepsRecord).intersection(devices.awake)
  }
  private var seen: Marks { marks.intersection([.dedicated, .system]) }

  private var reached: DeviceSet { reachedDedicated.union(reachedElsewhere) }
  /// Reached it every time.
  package var reachedAlways: DeviceSet { reached.subtracting(refused).subtracting(failing) }
  /// Those that reach it at home without being its exporter, as far as is known. Reach counts for
  /// the memory that it was seen in: who reached it while it was evicted would keep it from going
  /// home. Only where its exporter is gone is its home gone, too.
  package var reachedAtHome: DeviceSet {
    switch home {
    case .dedicated where !exporters.candidates.devices.isEmpty:
      return reachedDedicated.subtracting(refused).subtracting(failing)
    // Who reaches it in memory of its exporter's own is in no need of that.
    case .system: return reached.subtracting(failing)
    case .dedicated, .unknown: return reachedAlways
    }
  }
  package var asked: DeviceSet { reached.union(refused).union(failing) }
  package var settled: Bool { interval == 0 }
  package var recheckTime: Milliseconds { observed + Milliseconds(interval) }
  package func isDue(at now: Milliseconds) -> Bool { interval != 0 && now >= recheckTime }
  /// A new observation could tell something, though the answer is settled.
  package func isStale(at now: Milliseconds) -> Bool {
    settled && !homeIsCertain && (asked.count > 1 || residency != .unknown)
      && now >= observed + Recheck.refreshAfter
  }

  /// Whether an answer may differ between the two.
  package func decidesAs(_ other: BufferFacts) -> Bool {
    exporters.candidates == other.exporters.candidates && reachedAtHome == other.reachedAtHome
      && refused == other.refused && failing == other.failing && home == other.home
      && confidence == other.confidence
      && marks.contains(.recordsSaySystem) == other.marks.contains(.recordsSaySystem)
  }

  /// The device in this slot has gone.
  package mutating func scrub(_ slot: DeviceSlot) {
    exporters.scrub(slot)
    reachedDedicated.remove(slot)
    reachedElsewhere.remove(slot)
    refused.remove(slot)
    failing.remove(slot)
  }
}

extension BufferFacts {
  /// Merges one look, taken at `now`. Only a look a recheck interval after the one before, or one
  /// that was asked for as `fresh`, says something about time.
  package mutating func merge(
    _ look: Observation, of buffer: BufferIdentity, among devices: DeviceTable,
    at now: Milliseconds, fresh: Bool = false
  ) {
    let any = devices.possibleExporters(of: buffer)
    if seeded { keepWhatAgrees(with: look, of: buffer, among: devices) }
    let before = self
    gather(look, any: any, among: devices)
    if settleByIntention(look, among: devices) || settleWithoutComparison() {
      observed = now
    } else if before.asked.isEmpty && before.seen.isEmpty {
      (confidence, interval, observed) = (.state, Recheck.first, now)
    } else if fresh || before.settled || before.isDue(at: now) {
      weigh(against: before, among: devices)
      observed = now
    }
  }

  private mutating func gather(
    _ look: Observation, any: ExporterSet, among devices: DeviceTable
  ) {
    look.narrow(&exporters, any: any, among: devices)
    let reaching = look.reaching(exporters: exporters.candidates, among: devices)
    residency = look.residency(exporters: exporters.candidates, among: devices)
    if residency == .dedicated {
      reachedDedicated = reachedDedicated.union(reaching)
    } else {
      reachedElsewhere = reachedElsewhere.union(reaching)
    }
    refused = refused.union(look.wouldMove)
    failing = failing.subtracting(reaching).subtracting(look.wouldMove).union(look.failing)
    attached = look.introspection?.attached
    hasPeer = residency == .dedicated && look.introspection?.peers ?? 0 > 0
    if residency == .dedicated {
      marks.insert(.dedicated)
      home = .dedicated
    }
    if residency == .system { marks.insert(.system) }
    if !look.recordedSystem.isEmpty {
      let isOfAll = recording(among: devices).subtracting(look.recordedSystem).isEmpty
      if isOfAll { marks.insert(.recordsSaySystem) } else { marks.remove(.recordsSaySystem) }
    }
    seeded = false
  }

  /// Now that it was seen itself, a sibling's word counts only as more looks, and not even that if
  /// the look shows that it was none: what a sibling reached at home is not moved by reaching this
  /// one.
  private mutating func keepWhatAgrees(
    with look: Observation, of buffer: BufferIdentity, among devices: DeviceTable
  ) {
    let own = share
    if !look.wouldMove.intersection(reachedAlways).isEmpty {
      self = BufferFacts(of: buffer, among: devices)
      share = own
    }
    exporters = ExporterEvidence(of: buffer, among: devices)
  }

  /// The exporter's word, or its nature, ends all doubt about the home.
  private mutating func settleByIntention(_ look: Observation, among devices: DeviceTable) -> Bool {
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
      // Narrowed by this look or confirmed by it: no eviction can have observed like this.
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

  /// What one sibling showed, added to what others did before. Those that no one device can have
  /// exported were no siblings, and the latest counts.
  package mutating func add(earlier: BufferFacts) {
    let common = exporters.candidates.intersection(earlier.exporters.candidates)
    guard !common.isEmpty, !homeIsCertain else { return }
    exporters.narrow(to: common, by: .siblings)
    reachedDedicated = reachedDedicated.union(earlier.reachedDedicated)
    reachedElsewhere = reachedElsewhere.union(earlier.reachedElsewhere)
    refused = refused.union(earlier.refused)
    failing = failing.union(earlier.failing)
    marks = marks.union(earlier.seen)
    if home == .unknown { home = earlier.home }
    confidence = max(confidence, earlier.confidence)
    interval = min(interval, earlier.interval)
  }

  /// What a sibling's observation taught, for a buffer not observed itself: never above `state`,
  /// and to be observed once it has outlived a resize. Only that one device exported it and that it
  /// belongs in that one's dedicated memory is taught: a copy in system memory is told apart by no
  /// sibling. nil: nothing of that, or the exporter is not one of `safe`.
  package func seed(safeOn safe: DeviceSet, at now: Milliseconds) -> BufferFacts? {
    guard home == .dedicated, let exporter = exporters.candidates.certain, safe.contains(exporter)
    else { return nil }
    var facts = self
    facts.reachedDedicated = reachedDedicated.intersection(safe)
    facts.reachedElsewhere = reachedElsewhere.intersection(safe)
    facts.seeded = true
    facts.attached = nil
    facts.hasPeer = false
    facts.homeIsCertain = false
    facts.confidence = min(confidence, .state)
    facts.interval = settled ? Recheck.last : Recheck.first
    facts.observed = now
    return facts
  }
}
