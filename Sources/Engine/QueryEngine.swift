// The way of a query: look up, plan, probe, merge, decide. Owns the devices and the cache; lives on
// the loop's thread; knows no D-Bus and no driver.
//
// A hit is answered from plain records: no allocation, no system call but the clock's. A miss
// starts one look per buffer, which later askers join; every look ends, by the prober's deadlines.

package import Linux
package import Placement
package import Ports

package final class QueryEngine {
  /// Goes up with every change that can alter answers, from 1.
  package var generation: UInt64 { edition }
  /// Something in the registry changed; `generation` was bumped before.
  package var onDeviceChange: ((DeviceChange) -> Void)?
  /// Once per change that can alter answers: the nodes concerned, and whether all that happened to
  /// them is that they woke or fell asleep.
  package var onInvalidated: (([DeviceNumber], _ byPowerAlone: Bool) -> Void)?
  /// A look at this buffer has ended, and those who waited for it were answered: `reconsider` may
  /// now give another answer.
  package var onLooked: ((BufferIdentity) -> Void)?

  /// Apart from `generation`: a property that other modules see is checked for exclusive access at
  /// every read.
  var edition: UInt64 = 1
  let reader: any BufferReader
  private let prober: any Prober
  let time: any TimeSource
  let settings: EngineSettings
  let keeper: DeviceKeeper
  var cache: BufferCache
  var siblings: Siblings
  private(set) var looks: [BufferIdentity: PendingObservation] = [:] {
    didSet { looksUnderWay = looks.count }
  }
  /// Apart, since it is read at every question: reading the dictionary is checked for exclusive
  /// access.
  private var looksUnderWay = 0
  /// The latest of `looks` for each group of siblings.
  private var lookedAt: [SiblingKey: PendingObservation] = [:]
  private(set) var askers = 0
  /// Numbers in hints that name no device, so as not to search for them at every query.
  var unknownNumbers: [DeviceNumber] = []
  private(set) var counters = Counters()
  var recent = RecentAnswers()

  struct Counters {
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
    cache = BufferCache(limit: settings.cachedBuffers)
    siblings = Siblings(limit: settings.siblingGroups)
    keeper.onChange = { [unowned self] changes, before in
      self.devicesChanged(changes, before: before)
    }
  }

  /// Listens, then enumerates.
  package func start() throws(Errno) {
    try keeper.start()
    // Devices that were there before have not come.
    recent = RecentAnswers()
  }

  /// Enumerates again, as after lost events.
  package func rescan() { keeper.rescan() }

  /// A user's rows of the pair table, read anew. What was learnt by other rows is forgotten; a look
  /// that is under way goes by the new ones from its next round on.
  package func use(ownPairs: [PairRow]) {
    guard ownPairs != keeper.pairs.own else { return }
    keeper.use(keeper.pairs.with(own: ownPairs))
    forgetWhatWasLearnt()
  }

  /// What imports were seen to do on this machine, in place of what was given before.
  package func use(measuredPairs: [PairRow]) {
    let old = keeper.pairs.forbidden(kernel: settings.kernel)
    keeper.use(keeper.pairs.with(measured: measuredPairs))
    // Most measured rows forbid nothing that another row permits: then answers stay as they are,
    // and nothing has to be learnt anew.
    if keeper.pairs.forbidden(kernel: settings.kernel) != old { forgetWhatWasLearnt() }
  }

  /// The pair table in force.
  package var pairs: PairTable { keeper.pairs }

  /// The row that holds for these drivers and a buffer in dedicated memory.
  package func knownPair(_ exporter: String, _ importer: String) -> PairRow? {
    pairs.rows(of: DriverID(exporter), kernel: settings.kernel)
      .row(DriverID(importer), in: .dedicated)
  }

  /// The devices at the current generation.
  var table: DeviceTable { keeper.table }

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
    if recent.isNews(query, hit) { note(query, hit, first) }
    return hit
  }

  /// Apart from `answerNow`, most of whose answers are no news.
  @inline(never)
  private func note(_ query: Query, _ answer: Answer, _ facts: BufferFacts) {
    let exporter = KnownExporter(facts.exporters.candidates, among: table)
    recent.note(
      RecentAnswer(
        query, answer, exporter: exporter, home: facts.home, residency: facts.residency,
        at: time.now))
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
    keeper.retryFailed(for: query.hints)
    var looked = false
    let pending = Countdown(buffers.count + 1) { [unowned self] in
      self.askers -= 1
      let answer = self.decide(query, cached: !looked, stale: self.isLookedAt(query))
      if self.recent.isNews(query, answer) {
        self.note(query, answer, self.facts(of: query.planes[0]))
      }
      then(.success(answer))
    }
    for buffer in buffers {
      looked = look(at: buffer, query, then: pending.step) || looked
    }
    pending.step()
  }

  /// The power of devices, by which a look tells who may have exported the buffer. The power of a
  /// device that it asks is read again right before.
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

  func facts(of buffer: BufferIdentity) -> BufferFacts {
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

  /// The query that looks behind a stale answer to this one: what it finds reaches the asker as a
  /// change. nil: the answer is not stale, or a look is under way.
  package func refresh(of query: Query, after answer: Answer) -> Query? {
    guard answer.stale, !isLookedAt(query) else { return nil }
    var again = query
    again.hints.fresh = true
    return again
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
      // No device is left to be asked. That holds until the devices change: until then the next
      // question need not compute it again.
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
    if let look = looks[buffer.identity] {
      join(look, at: buffer, query, scope, then)
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
    if known == nil, introspection == nil, !hints.fresh, !hints.wake, let key,
      let isLookedAt = learnFromSiblings(key, at: buffer, label, query, then)
    {
      return isLookedAt
    }
    start(at: buffer, label, introspection, key, scope, hints, then)
    return true
  }

  /// Calls `then` once this look is over; or, if this query lets it wake or open a device that those
  /// before it don't, once another look after it is over: what they are told does not depend on who
  /// asks after them.
  private func join(
    _ look: PendingObservation, at buffer: HeldBuffer, _ query: Query, _ scope: ProbeScope,
    _ then: @escaping () -> Void
  ) {
    if look.scope.covers(scope) {
      look.join(fresh: query.hints.fresh)
      look.wait(then)
    } else {
      look.wait { [unowned self] in _ = self.look(at: buffer, query, then: then) }
    }
  }

  /// Answers a buffer that is not known by its siblings, if they know enough; waits for a sibling's
  /// look that is under way and may teach that, so that buffers that are asked about together are
  /// answered like buffers that are asked about in turn.
  /// - Returns: whether the buffer is looked at; nil: siblings don't help.
  private func learnFromSiblings(
    _ key: SiblingKey, at buffer: HeldBuffer, _ label: BufferLabel, _ query: Query,
    _ then: @escaping () -> Void
  ) -> Bool? {
    let exporters = table.exporters(of: buffer.identity, named: label.exporter)
    // Another plane of the same buffer is no sibling: all planes are looked at at once.
    if let sibling = lookedAt[key], !query.planes.contains(sibling.identity),
      siblings.mayTeach(exporters, among: table)
    {
      sibling.wait { [unowned self] in _ = self.look(at: buffer, query, then: then) }
      return true
    }
    guard seed(buffer, key, exporters, query.hints) else { return nil }
    then()
    return false
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
