// The way of a query: look up, plan, probe, merge, decide. Owns the devices and the cache; lives on
// the loop's thread; knows no D-Bus and no driver.
//
// A hit is answered from plain records: no allocation, no system call but the clock's. A miss
// starts one look per buffer, which later askers join; every look ends, by the prober's deadlines.

package import Linux
package import Placement
package import Ports

/// What changed in the registry, for those who show it.
package struct DeviceChange: Sendable {
  package enum Kind: Sendable { case added, changed, removed }
  package var kind: Kind
  package var device: DeviceView
}

/// A device as it is shown: what it is and how it is doing.
package struct DeviceView: Sendable, Equatable {
  package var slot: DeviceSlot
  package var description: DeviceDescription
  package var state: DeviceState
  package var noMove: NoMove
  package var imports: Bool
  package var isPrimary: Bool
}

package enum EngineError: Error, Sendable, Equatable {
  /// No device has this number.
  case unknownDevice
  /// It is released already.
  case released
  /// The bound on questions under way is reached.
  case limitsExceeded
}

package struct EngineSettings: Sendable {
  package var cachedBuffers = Limits.cachedBuffers
  package var pendingQueries = Limits.questionsInAll
  package var siblingGroups = Limits.siblingGroups
  package var largestImport = Limits.largestImport
  /// A user's rows of the pair table.
  package var ownPairs: [PairRow] = []
  /// The running kernel; nil: unknown, and rows bound to versions don't hold.
  package var kernel: KernelVersion?
  package init() {}
}

package final class QueryEngine {
  /// Goes up with every change that can alter answers, from 1.
  package var generation: UInt64 { edition }
  /// Something in the registry changed; `generation` was bumped before.
  package var onDeviceChange: ((DeviceChange) -> Void)?
  /// Once per change that can alter answers: the nodes concerned, and whether all that happened to
  /// them is that they woke or fell asleep.
  package var onInvalidated: (([DeviceNumber], _ byPowerAlone: Bool) -> Void)?
  /// A look at this buffer is over, and who asked for it was answered: `reconsider` may now answer
  /// otherwise.
  package var onLooked: ((BufferIdentity) -> Void)?

  /// Apart from the property: one that other modules see is checked for exclusive access at every
  /// read.
  private var edition: UInt64 = 1
  private let reader: any BufferReader
  private let prober: any Prober
  private let time: any TimeSource
  private var settings: EngineSettings
  private var measuredPairs: [PairRow] = []
  private let keeper: DeviceKeeper
  /// The keeper's, as of the last change.
  private var table: DeviceTable
  private var cache: BufferCache
  private var siblings: Siblings
  private var looks: [BufferIdentity: PendingObservation] = [:] {
    didSet { looksUnderWay = looks.count }
  }
  /// Apart, since it is read at every question: reading the dictionary is checked for exclusive
  /// access.
  private var looksUnderWay = 0
  /// The latest of `looks` for each group of siblings.
  private var lookedAt: [SiblingKey: PendingObservation] = [:]
  private var askers = 0
  /// Numbers in hints that name no device, so as not to search for them at every query.
  private var unknownNumbers: [DeviceNumber] = []
  private var counters = Counters()
  private var recent = RecentAnswers()

  private struct Counters {
    var queries: UInt64 = 0
    var hits: UInt64 = 0
    var looks: UInt64 = 0
    var imports: UInt64 = 0
    var seeded: UInt64 = 0
  }

  package init(
    devices: any DeviceSource, reader: any BufferReader, prober: any Prober, time: any TimeSource,
    settings: EngineSettings = EngineSettings()
  ) {
    self.reader = reader
    self.prober = prober
    self.time = time
    self.settings = settings
    keeper = DeviceKeeper(
      source: devices, reader: reader, prober: prober, time: time, settings: settings)
    table = keeper.table
    cache = BufferCache(limit: settings.cachedBuffers)
    siblings = Siblings(limit: settings.siblingGroups)
    keeper.onChange = { [unowned self] changes in self.devicesChanged(changes) }
  }

  /// Listens, then enumerates.
  package func start() throws(Errno) { try keeper.start() }

  /// Enumerates again, as after lost events.
  package func rescan() { keeper.rescan() }

  /// A user's rows of the pair table, read anew. What was learnt by other rows is forgotten; a look
  /// that is under way goes by the new ones from its next round on.
  package func use(ownPairs: [PairRow]) {
    guard ownPairs != settings.ownPairs else { return }
    settings.ownPairs = ownPairs
    usePairs()
  }

  /// What imports were seen to do on this machine, in place of what was given before.
  package func use(measuredPairs: [PairRow]) {
    let old = keeper.pairs.forbidden(kernel: settings.kernel)
    self.measuredPairs = measuredPairs
    let new = PairTable(own: settings.ownPairs, measured: measuredPairs)
    // Most rows only confirm what is known: no answer is another one by them.
    if new.forbidden(kernel: settings.kernel) == old { keeper.use(new) } else { usePairs() }
  }

  /// The pair table in force.
  package var pairs: PairTable { keeper.pairs }

  /// The row that holds for these drivers and a buffer in dedicated memory.
  package func knownPair(_ exporter: String, _ importer: String) -> PairRow? {
    pairs.rows(of: DriverID(exporter), kernel: settings.kernel)
      .row(DriverID(importer), in: .dedicated)
  }

  private func usePairs() {
    keeper.use(PairTable(own: settings.ownPairs, measured: measuredPairs))
    table = keeper.table
    forgetWhatWasLearnt()
  }

  /// Nobody waits for a look.
  package var isIdle: Bool { looks.isEmpty }

  // MARK: Queries

  /// The answer from what is cached; nil when the buffer has to be looked at first (never seen,
  /// `fresh`, or an unsettled answer whose recheck time has come). Allocates nothing on a hit.
  package func answerNow(_ query: Query) -> Answer? {
    counters.queries += 1
    guard !query.hints.fresh else { return nil }
    let now = time.now
    keeper.refreshPower(at: now)
    let devices = table
    let asker = QueryContext(query.hints, among: devices)
    if namesUnsearched(query.hints, asker) { return nil }
    var stale = false
    guard let first = recall(query.planes[0], asker, devices, now, &stale) else { return nil }
    var input = PolicyInput(first, asker, among: devices)
    var recheck = first.recheck(at: now)
    for i in 1..<max(query.planes.count, 1) {
      guard let plane = recall(query.planes[i], asker, devices, now, &stale) else { return nil }
      input.add(plane, among: devices)
      recheck = sooner(recheck, plane.recheck(at: now))
    }
    counters.hits += 1
    let hit = answer(
      input, query, devices, recheck, cached: true, stale: stale || isLookedAt(query))
    recent.note(query, hit, at: now)
    return hit
  }

  /// A look at one of its planes is under way.
  package func isLookedAt(_ query: Query) -> Bool {
    if looksUnderWay == 0 { return false }
    for i in 0..<query.planes.count where looks[query.planes[i]] != nil { return true }
    return false
  }

  /// The answer by what is known now, however old, for who was told another one; nil where a plane
  /// is not remembered.
  package func reconsider(_ query: Query) -> Answer? {
    let asker = QueryContext(query.hints, among: table)
    var stale = isLookedAt(query)
    for i in 0..<query.planes.count {
      guard let found = cache.find(query.planes[i]) else { return nil }
      stale = stale || standing(cache[found], asker, table, time.now) == .stale
    }
    return decide(query, cached: true, stale: stale)
  }

  /// Whether each plane was looked at less than so long ago.
  package func wasLookedAt(_ query: Query, within age: Milliseconds) -> Bool {
    let now = time.now
    return (0..<query.planes.count).allSatisfy { i in
      guard let found = cache.find(query.planes[i]) else { return false }
      return !cache[found].seeded && now < cache[found].observed + age
    }
  }

  /// Looks at the buffer first. `buffers` are the distinct dma-bufs of the planes, held until the
  /// probes are over and no longer. Questions about a buffer that is being probed join that probe.
  package func answer(
    _ query: Query, holding buffers: [HeldBuffer],
    then: @escaping (Result<Answer, EngineError>) -> Void
  ) {
    guard askers < settings.pendingQueries else { return then(.failure(.limitsExceeded)) }
    askers += 1
    search(query.hints)
    readPower(for: query.hints)
    keeper.retryUnresponsive()
    var looked = false
    let pending = Countdown(buffers.count + 1) { [unowned self] in
      self.askers -= 1
      let answer = self.decide(query, cached: !looked, stale: self.isLookedAt(query))
      self.recent.note(query, answer, at: self.time.now)
      then(.success(answer))
    }
    for buffer in buffers {
      looked = look(at: buffer, query, then: pending.step) || looked
    }
    pending.step()
  }

  /// What a look must know of power, where it asks no device: what it asks is read right before
  /// that.
  private func readPower(for hints: Hints) {
    if hints.fresh || hints.wake { return keeper.readPower() }
    keeper.refreshPower(at: time.now)
    keeper.readPowerOfSleepers()
  }

  /// Where to allocate a buffer that these will use. Touches nothing.
  /// - Precondition: `device` knows each user.
  package func advise(_ users: [AdviceUser], _ hints: Hints) -> Advice {
    var advice = Advisor.advise(users, hints, among: table)
    advice.generation = generation
    return advice
  }

  /// Reasons and details of an answer just given to the same query.
  package func explain(_ query: Query, _ answer: Answer) -> Explanation {
    let planes = (0..<query.planes.count).map { facts(of: query.planes[$0]) }
    var text = Explainer.explain(planes, query.hints, among: table)
    text.cached = answer.cached
    return text
  }

  /// The client has gone, and its swapchains with it.
  package func forget(client: UInt32) { siblings.forget(client: client) }

  private func facts(of buffer: BufferIdentity) -> BufferFacts {
    cache.find(buffer).map { cache[$0] } ?? BufferFacts(of: buffer, among: table)
  }

  private func decide(_ query: Query, cached: Bool, stale: Bool) -> Answer {
    let devices = table
    let asker = QueryContext(query.hints, among: devices)
    let first = facts(of: query.planes[0])
    var input = PolicyInput(first, asker, among: devices)
    var recheck = first.recheck(at: time.now)
    for i in 1..<max(query.planes.count, 1) {
      let plane = facts(of: query.planes[i])
      input.add(plane, among: devices)
      recheck = sooner(recheck, plane.recheck(at: time.now))
    }
    return answer(input, query, devices, recheck, cached: cached, stale: stale)
  }

  private func answer(
    _ input: PolicyInput, _ query: Query, _ devices: DeviceTable, _ recheck: UInt32, cached: Bool,
    stale: Bool
  ) -> Answer {
    let decision = Policy.decide(input, among: devices)
    var answer = Answer(
      device: decision.device.map { devices.number(of: $0) } ?? .none, access: decision.access,
      confidence: decision.confidence, buffer: query.planes[0], generation: edition,
      recheck: recheck, cached: cached, stale: stale)
    if query.hints.verdicts { answer.verdicts = input.verdicts(among: devices) }
    return answer
  }

  // MARK: Looks

  /// What is known of a plane, if that may be answered from.
  private func recall(
    _ buffer: BufferIdentity, _ asker: QueryContext, _ devices: DeviceTable, _ now: Milliseconds,
    _ stale: inout Bool
  ) -> BufferFacts? {
    guard let facts = cache.recall(buffer) else { return nil }
    switch standing(facts, asker, devices, now) {
    case .due: return nil
    case .stale: stale = true
    case .good:
      // None is left to be asked: not to be worked out again until the devices change.
      if facts.epoch != epoch { cache.note(epoch, of: buffer) }
    }
    return facts
  }

  private enum Standing {
    case good
    /// May be served, and should be looked at behind.
    case stale
    case due
  }

  private func standing(
    _ facts: BufferFacts, _ asker: QueryContext, _ devices: DeviceTable, _ now: Milliseconds
  ) -> Standing {
    if facts.isDue(at: now) { return .due }
    let scope = ProbeScope(asker, among: devices)
    let asksMore = scope.wake || !scope.cards.subtracting(facts.asked).isEmpty
    if asksMore || facts.epoch != epoch {
      let unasked = ProbePlan.unasked(facts, among: devices, scope)
      let mustKnow = scope.wake ? unasked : unasked.intersection(asker.named)
      if !mustKnow.isEmpty { return .due }
      if !unasked.isEmpty { return .stale }
    }
    return facts.isStale(at: now) ? .stale : .good
  }

  private var epoch: UInt32 { UInt32(truncatingIfNeeded: edition) }

  /// Joins the look at this buffer or starts one, if one is needed; calls `then` once it is over.
  /// Returns whether the buffer is looked at.
  private func look(
    at buffer: HeldBuffer, _ query: Query, then: @escaping () -> Void
  ) -> Bool {
    let hints = query.hints
    let scope = ProbeScope(QueryContext(hints, among: table), among: table)
    if let look = looks[buffer.identity], scope.wakeable.subtracting(look.scope.wakeable).isEmpty {
      look.join(scope, fresh: hints.fresh)
      look.wait(then)
      return true
    }
    if let look = looks[buffer.identity] {
      // This asker lets it wake a device that those before it don't: one more after it.
      look.wait { [unowned self] in _ = self.look(at: buffer, query, then: then) }
      return true
    }
    let known = cache.find(buffer.identity).map { cache[$0] }
    if let known, !hints.fresh,
      standing(known, QueryContext(hints, among: table), table, time.now) == .good
    {
      then()
      return false
    }
    let label = reader.label(of: buffer.fd.rawValue)
    let key = SiblingKey(hints: hints, size: label.size, exporter: label.exporter)
    let introspection = reader.introspect(buffer)
    if known == nil, introspection == nil, !hints.fresh, !hints.wake, let key {
      let exporters = table.exporters(of: buffer.identity, named: label.exporter)
      // What a sibling's look is about to teach is waited for: asked together, they are answered
      // as one after the other. The planes of one buffer are asked about at once.
      if let sibling = lookedAt[key], !query.planes.contains(sibling.identity),
        siblings.mayTeach(exporters, among: table)
      {
        sibling.wait { [unowned self] in _ = self.look(at: buffer, query, then: then) }
        return true
      }
      if seed(buffer, key, exporters, hints) {
        then()
        return false
      }
    }
    start(at: buffer, label, introspection, key, scope, hints, then)
    return true
  }

  private func seed(
    _ buffer: HeldBuffer, _ key: SiblingKey, _ exporters: ExporterSet, _ hints: Hints
  ) -> Bool {
    guard var seed = siblings.seed(for: key, mayBeOf: exporters, among: table, at: time.now) else {
      return false
    }
    counters.seeded += 1
    seed.epoch = epoch
    cache.store(seed, of: buffer.identity, for: hints.user)
    return true
  }

  private func start(
    at buffer: HeldBuffer, _ label: BufferLabel, _ introspection: Introspection?,
    _ key: SiblingKey?, _ scope: ProbeScope, _ hints: Hints, _ then: @escaping () -> Void
  ) {
    counters.looks += 1
    let identity = buffer.identity
    let look = PendingObservation(
      at: buffer, known: facts(of: identity), label: label,
      introspection: introspection, siblings: key, scope: scope,
      fresh: hints.fresh, user: hints.user, largestImport: settings.largestImport,
      keeper: keeper, prober: prober,
      count: { [unowned self] in self.counters.imports += 1 },
      conclude: { [unowned self] look in self.conclude(look, of: identity) })
    look.wait(then)
    looks[identity] = look
    if let key { lookedAt[key] = look }
    look.start()
  }

  private func conclude(_ look: PendingObservation, of buffer: BufferIdentity) {
    looks[buffer] = nil
    if look.scope.wake { keeper.readPower() }
    var facts = self.facts(of: buffer)
    facts.merge(look.look, of: buffer, among: table, at: time.now, fresh: look.fresh)
    facts.epoch = epoch
    cache.store(facts, of: buffer, for: look.user)
    if let key = look.siblings {
      siblings.learn(facts, from: key)
      if lookedAt[key] === look { lookedAt[key] = nil }
    }
    // After the replies to those who asked for this very look.
    look.wait { [unowned self] in self.onLooked?(buffer) }
  }

  // MARK: Hints

  private func namesUnsearched(_ hints: Hints, _ asker: QueryContext) -> Bool {
    guard asker.namesUnknown else { return false }
    return asker.declared == nil && isUnsearched(hints.samplingDevice)
      || asker.target == nil && isUnsearched(hints.targetDevice)
      || asker.primary == nil && isUnsearched(hints.primaryDevice)
  }

  private func isUnsearched(_ number: DeviceNumber) -> Bool {
    number != .none && !unknownNumbers.contains(number)
  }

  /// A compositor may name a device before its event was handled.
  private func search(_ hints: Hints) {
    hints.forEachUnknown(among: table) { _, number in
      guard isUnsearched(number), keeper.resolve(number) == nil else { return }
      if unknownNumbers.count == 16 { unknownNumbers.removeFirst() }
      unknownNumbers.append(number)
    }
  }

  // MARK: Devices

  private func devicesChanged(_ changes: [RegistryChange]) {
    table = keeper.table
    for change in changes where change.kind == .removed { scrub(change.slot) }
    let matters = changes.contains { $0.matters }
    if matters {
      edition += 1
      unknownNumbers.removeAll(keepingCapacity: true)
    }
    for change in changes {
      let kind: DeviceChange.Kind =
        switch change.kind {
        case .added: .added
        case .changed: .changed
        case .removed: .removed
        }
      onDeviceChange?(DeviceChange(kind: kind, device: view(change.slot, change.entry)))
    }
    if matters {
      let those = changes.filter(\.matters)
      onInvalidated?(
        those.compactMap { $0.entry.description.node?.number }, those.allSatisfy(\.isOfPowerAlone))
    }
  }

  /// The sources of evidence are others than before: every buffer is to be looked at anew.
  package func forgetBuffers() {
    for look in looks.values { look.forgetIntrospection() }
    forgetWhatWasLearnt()
  }

  private func forgetWhatWasLearnt() {
    cache = BufferCache(limit: settings.cachedBuffers)
    siblings = Siblings(limit: settings.siblingGroups)
    edition += 1
    onInvalidated?(devices.compactMap { $0.description.node?.number }, false)
  }

  /// What was learnt of the device in this slot is not true of the next one.
  private func scrub(_ slot: DeviceSlot) {
    cache.updateAll { $0.scrub(slot) }
    siblings.scrub(slot)
    for look in looks.values { look.scrub(slot) }
  }

  private func view(_ slot: DeviceSlot, _ entry: DeviceEntry) -> DeviceView {
    DeviceView(
      slot: slot, description: entry.description, state: entry.state, noMove: entry.noMove,
      imports: entry.imports, isPrimary: table.primary == slot)
  }

  private func view(_ slot: DeviceSlot) -> DeviceView? {
    keeper.registry[slot].map { view(slot, $0) }
  }

  /// In stable order.
  package var devices: [DeviceView] {
    table.stableOrder(table.present).compactMap(view)
  }
  package var primary: DeviceView? { table.primary.flatMap(view) }
  /// Either node's number names the device. Applies an event that has not come yet.
  package func device(_ number: DeviceNumber) -> DeviceView? {
    keeper.resolve(number).flatMap(view)
  }
  /// For the whole machine: `honoured` if any device heeds it, `ignored` if all that were asked
  /// don't.
  package var noMove: NoMove {
    let asked = devices.map(\.noMove).filter { $0 != .unknown }
    if asked.contains(.honoured) { return .honoured }
    return asked.isEmpty ? .unknown : .ignored
  }

  /// Closes every node of it and stops probing; `then` with true once they are closed, or with
  /// false if its driver did not let go of them in time: nothing is changed then.
  package func release(
    _ number: DeviceNumber, then: @escaping (Bool) -> Void
  ) throws(EngineError) {
    guard let slot = keeper.resolve(number) else { throw .unknownDevice }
    guard keeper.registry[slot]?.state != .released else { throw .released }
    keeper.release(slot, then: then)
  }
  package func unrelease(_ stableID: String) { keeper.unrelease(stableID) }

  /// A device that let a deadline pass has answered after all.
  package func answered(_ slot: DeviceSlot) { keeper.noteAnswer(slot) }

  // MARK: Statistics

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

extension BufferFacts {
  /// Milliseconds until the next look is due, at least 1; 0: settled.
  fileprivate func recheck(at now: Milliseconds) -> UInt32 {
    guard !settled else { return 0 }
    return recheckTime > now ? UInt32(truncatingIfNeeded: recheckTime - now) : 1
  }
}

/// The sooner of two recheck times, 0 being never.
private func sooner(_ a: UInt32, _ b: UInt32) -> UInt32 {
  a == 0 || b == 0 ? max(a, b) : min(a, b)
}
