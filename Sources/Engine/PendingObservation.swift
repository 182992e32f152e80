// One observation of one DMA-BUF in progress: rounds of plan and probes until nothing more may be
// asked. A device's outcome counts only if the device is still the same one; devices that appear
// meanwhile are asked as well.

internal import Placement
internal import Ports

final class PendingObservation {
  private(set) var scope: ProbeScope
  /// The user whose query started it.
  let user: UInt32
  private(set) var fresh: Bool
  private(set) var look = Observation()
  let siblings: SiblingKey?
  private var buffer: HeldBuffer?
  let identity: BufferIdentity
  private let size: UInt64
  private let largestImport: UInt64
  private let keeper: DeviceKeeper
  private let prober: any Prober
  private var evidence: ExporterEvidence
  private var intentionKnown: Bool
  private var rounds = 0
  private var waiters: [() -> Void] = []
  private let conclude: (PendingObservation) -> Void
  private let count: () -> Void

  /// - Parameters:
  ///   - known: what earlier observations found.
  ///   - largestImport: bytes; no device is asked about a larger buffer.
  ///   - count: called at each import.
  ///   - conclude: called once, before the waiting callers.
  init(
    at buffer: HeldBuffer, known: BufferFacts, label: BufferLabel, introspection: Introspection?,
    siblings: SiblingKey?, scope: ProbeScope, fresh: Bool, user: UInt32, largestImport: UInt64,
    keeper: DeviceKeeper, prober: any Prober, count: @escaping () -> Void,
    conclude: @escaping (PendingObservation) -> Void
  ) {
    self.buffer = buffer
    identity = buffer.identity
    size = label.size
    self.largestImport = largestImport
    self.siblings = siblings
    self.keeper = keeper
    self.prober = prober
    self.conclude = conclude
    self.count = count
    self.scope = scope
    self.fresh = fresh
    self.user = user
    look.name = label.exporter
    look.introspection = introspection
    evidence =
      known.seeded ? ExporterEvidence(of: buffer.identity, among: keeper.table) : known.exporters
    intentionKnown = known.confidence == .intent || Self.isIntentionKnown(by: introspection)
  }

  func wait(_ waiter: @escaping () -> Void) { waiters.append(waiter) }

  /// Another query for the same buffer joined, which asks no more devices.
  func join(fresh: Bool) { self.fresh = self.fresh || fresh }

  func start() { nextRound() }

  /// The slot now belongs to another device, or to none.
  func scrub(_ slot: DeviceSlot) {
    scope.scrub(slot)
    look.scrub(slot)
    evidence.scrub(slot)
  }

  /// Puts what introspection says now in the place of what it said, now and in earlier
  /// observations. `introspect` borrows the buffer.
  func introspectAgain(_ introspect: (HeldBuffer) -> Introspection?) {
    look.introspection = buffer.flatMap(introspect)
    evidence = ExporterEvidence(of: identity, among: keeper.table)
    intentionKnown = Self.isIntentionKnown(by: look.introspection)
  }

  private static func isIntentionKnown(by introspection: Introspection?) -> Bool {
    introspection.map { $0.preferred != .unknown } ?? false
  }

  private func nextRound() { keeper.assess(scope) { self.ask() } }

  private func ask() {
    if rounds < Limits.roundsOfALook, !keeper.table.toAssess(scope).isEmpty {
      // A device appeared meanwhile.
      rounds += 1
      return nextRound()
    }
    var (plan, possible) = self.plan()
    if !plan.isEmpty {
      // A device that was awake at the last reading may sleep by now, and what is planned could
      // wake it.
      keeper.readPower()
      (plan, possible) = self.plan()
    }
    guard let buffer, !plan.isEmpty, rounds < Limits.roundsOfALook else { return finish() }
    rounds += 1
    guard size <= largestImport else {
      // The buffer is too large to be imported: no device says anything about it.
      for slot in plan.all { look.add(.gone, of: slot) }
      return nextRound()
    }
    let pending = Countdown(plan.all.count + 1) { self.nextRound() }
    for slot in plan.noMove { probe(slot, buffer, .noMoveImport, of: possible, pending) }
    for slot in plan.safe { probe(slot, buffer, .safeImport, of: possible, pending) }
    for slot in plan.records {
      probe(slot, buffer, .safeImport, of: possible, pending, forRecord: true)
    }
    pending.step()
  }

  /// The devices to ask next, and the possible exporters.
  private func plan() -> (ProbePlan, ExporterSet) {
    let devices = keeper.table
    var exporters = evidence
    look.narrow(
      &exporters, any: devices.possibleExporters(of: identity), among: devices)
    let possible = devices.exporters(forImportsBy: exporters)
    let plan = ProbePlan(
      exporters: possible, among: devices,
      inSystemMemory: look.inSystemMemory(among: devices), asked: look.asked,
      intentionKnown: intentionKnown, scope)
    return (plan, possible)
  }

  private func probe(
    _ slot: DeviceSlot, _ buffer: HeldBuffer, _ method: ProbeMethod, of exporters: ExporterSet,
    _ pending: Countdown, forRecord: Bool = false
  ) {
    guard let entry = keeper.registry[slot] else { return pending.step() }
    let incarnation = keeper.incarnation(of: slot)
    var task = ProbeTask(
      device: entry.description, buffer: buffer, method: method,
      wake: scope.wakeable.contains(slot), user: user, size: size)
    // An import into the exporter itself attaches nothing.
    let others = exporters.without(slot)
    task.exporters = others.devices
    task.mustBeAwake = keeper.table.wokenByAttachment(others).subtracting(scope.wakeable)
      .compactMap { keeper.registry[$0]?.description }
    count()
    prober.probe(task, at: slot) { outcome in
      if incarnation == self.keeper.incarnation(of: slot) {
        self.look.add(outcome, of: slot, forRecord: forRecord)
        self.note(outcome, of: slot)
      }
      pending.step()
    }
  }

  private func note(_ outcome: ProbeOutcome, of slot: DeviceSlot) {
    switch outcome {
    case .asleep: keeper.noteAsleep(slot)
    case .exporterAway: keeper.readPower()
    case .gone: keeper.noteGone(slot)
    case .unopened: keeper.noteUnopened(slot)
    case .timedOut: keeper.noteTimeout(slot)
    case .reached, .wouldMove, .refused: break
    }
  }

  private func finish() {
    buffer = nil
    conclude(self)
    for waiter in waiters { waiter() }
    waiters = []
  }
}
