// What is known of one dma-buf, merged over all looks at it. Plain data, kept by the thousand.
//
// A look shows the *state* of a buffer; what is wanted is its *home*, the memory where its exporter
// has the best access to it. An evicted buffer lies in system memory, where more devices reach it
// than at home, never fewer. So the devices that reached it at every look are those that reach it
// at home, and a device that would have moved it at one look is never counted among them again.

/// How often to look again at what isn't settled.
package enum Recheck {
  package static let first: UInt32 = 250
  package static let last: UInt32 = 8_000
  /// A settled answer older than this is served at once, and the buffer is looked at again.
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
  /// The number of the user whose share of the cache it takes. The cache keeps it here because
  /// these bytes would else be padding.
  var share: UInt16 = 0
  /// Milliseconds from `observed` to the next observation; 0: settled.
  private var wait: UInt16 = 0
  /// The devices' epoch at which no device was left to be asked.
  package var epoch: UInt32 = 0
  /// Devices that could use it in place when it lay in dedicated memory, and when it did not.
  private var reachedDedicated = DeviceSet()
  private var reachedElsewhere = DeviceSet()
  /// Devices that would have moved it at one look or another.
  package private(set) var refused = DeviceSet()
  /// Devices that could not use it at all.
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
  /// Copied from a sibling, and not observed itself. That is enough for an answer, but not to
  /// decide that an import moves nothing: that the two are siblings is only the asker's claim.
  package internal(set) var seeded: Bool {
    get { marks.contains(.seeded) }
    set { if newValue { marks.insert(.seeded) } else { marks.remove(.seeded) } }
  }
  /// An importer used it in its exporter's own memory when it was last observed. For people only.
  package internal(set) var hasPeer: Bool {
    get { marks.contains(.hasPeer) }
    set { if newValue { marks.insert(.hasPeer) } else { marks.remove(.hasPeer) } }
  }
  /// The possible exporters whose own record says system memory. Such a record does not tell the
  /// exporter from an importer: a driver records system memory for what it imports, too.
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
  /// Devices that reach it at home. Reach counts for the memory in which it was seen: a device that
  /// reached it while it was evicted would keep it from going home. If its exporter has gone, it
  /// can no longer go home, and all that reached it count.
  package var reachedAtHome: DeviceSet {
    switch home {
    case .dedicated where !exporters.candidates.devices.isEmpty:
      return reachedDedicated.subtracting(refused).subtracting(failing)
    // Whoever would have moved it out of its exporter's memory still reaches it in system memory.
    case .system: return reached.subtracting(failing)
    case .dedicated, .unknown: return reachedAlways
    }
  }
  package var asked: DeviceSet { reached.union(refused).union(failing) }
  package var settled: Bool { interval == 0 }
  package var recheckTime: Milliseconds { observed + Milliseconds(interval) }
  package func isDue(at now: Milliseconds) -> Bool { interval != 0 && now >= recheckTime }
  /// The answer is settled, but so old that a new look may change it.
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
  /// Merges one look, taken at `now`. It confirms what earlier looks showed only if it comes a
  /// recheck interval after the last one, or was asked for as `fresh`: looks in quick succession
  /// all see the same eviction.
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

  /// The first look at a buffer whose facts were copied from a sibling. They count as earlier looks
  /// from now on, unless this look contradicts them: a device that would move this buffer, and
  /// reached the sibling at home, shows that the two are no siblings.
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

  /// The home is certain if the exporter recorded it, or has system memory only.
  private mutating func settleByIntention(_ look: Observation, among devices: DeviceTable) -> Bool {
    let intended = look.intention(exporters: exporters.candidates)
    if intended != .unknown {
      (home, confidence) = (intended, .intent)
    } else if homeIsCertain {
      // By an earlier look.
    } else if look.isOfSystemMemory(exporters: exporters.candidates, among: devices) {
      (home, confidence) = (.system, .state)
    } else {
      return false
    }
    homeIsCertain = true
    interval = 0
    return true
  }

  /// If only one device was asked, and introspection did not show the memory, a later look would
  /// see the same whether the buffer is evicted or not.
  private mutating func settleWithoutComparison() -> Bool {
    guard seen.isEmpty && asked.count <= 1 else { return false }
    confidence = exporters.candidates.certain == nil && reached.isEmpty ? .guess : .state
    interval = 0
    return true
  }

  /// `state` or `stable`, by whether the looks agree, and for how long.
  private mutating func weigh(against before: BufferFacts, among devices: DeviceTable) {
    // While its exporter sleeps, a buffer lies in system memory at every look.
    let mayBeEvicted = !exporters.candidates.devices.subtracting(devices.awake).isEmpty
    if !refused.isEmpty || seen.contains(.dedicated) {
      // It was seen in dedicated memory, so it was not evicted then.
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

  /// Adds what earlier siblings showed to what this one showed. If no device can have exported
  /// both, they were no siblings, and only this one counts.
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

  /// The facts of a new sibling that has not been observed: `state` at most, and with a recheck
  /// that comes only if it lives longer than a window's resize. Siblings share an exporter and its
  /// dedicated memory as home, and nothing else: a copy in system memory looks like a sibling. nil:
  /// this buffer does not have such a home, or its exporter is not one of `safe`.
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
