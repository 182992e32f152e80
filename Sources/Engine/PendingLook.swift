// One look at one dma-buf, under way: rounds of plan and probes until nothing more may be asked. What a
// device says counts only if it is still the same device; one that comes in between is asked as well.

internal import Kernel
internal import Placement

final class PendingLook {
  /// Each round asks someone new, so that rounds end; this bounds them against a storm of hotplugs.
  private static let roundLimit = 8

  private(set) var scope: ProbeScope
  /// Who asked first.
  let user: UInt32
  private(set) var fresh: Bool
  private(set) var look = Look()
  let siblings: SiblingKey?
  private var buffer: HeldBuffer?
  private let identity: BufferIdentity
  private let keeper: DeviceKeeper
  private let prober: any Prober
  private var evidence: ExporterEvidence
  private var intentionKnown: Bool
  private var rounds = 0
  private var waiters: [() -> Void] = []
  private let conclude: (PendingLook) -> Void
  private let count: () -> Void

  /// - Parameters:
  ///   - known: what earlier looks left.
  ///   - count: called for each import.
  ///   - conclude: called once, before those who wait.
  init(
    at buffer: HeldBuffer, known: BufferFacts, label: BufferLabel, introspection: Introspection?,
    siblings: SiblingKey?, scope: ProbeScope, fresh: Bool, user: UInt32, keeper: DeviceKeeper,
    prober: any Prober, count: @escaping () -> Void, conclude: @escaping (PendingLook) -> Void
  ) {
    self.buffer = buffer
    identity = buffer.identity
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
    evidence = known.seeded ? ExporterEvidence(anyOf: keeper.table) : known.exporters
    intentionKnown =
      known.confidence == .intent || introspection.map { $0.preferred != .unknown } ?? false
  }

  func wait(_ waiter: @escaping () -> Void) { waiters.append(waiter) }

  /// Someone joined who may want it to count as a look of its own, or names other cards.
  func join(_ other: ProbeScope, fresh: Bool) {
    self.fresh = self.fresh || fresh
    scope.cards = scope.cards.union(other.cards)
  }

  func start() { nextRound() }

  /// Another device has this slot now, or none.
  func scrub(_ slot: DeviceSlot) {
    look.scrub(slot)
    evidence.scrub(slot)
  }

  /// What introspection said, now and in earlier looks, no longer counts.
  func forgetIntrospection() {
    look.introspection = nil
    evidence = ExporterEvidence(anyOf: keeper.table)
    intentionKnown = false
  }

  private func nextRound() { keeper.assess(scope) { self.ask() } }

  private func ask() {
    let devices = keeper.table
    var exporters = evidence
    look.narrow(&exporters, among: devices)
    let plan = ProbePlan(
      exporters: devices.exporters(forImportsBy: exporters), among: devices, asked: look.asked,
      intentionKnown: intentionKnown, scope)
    guard let buffer, !plan.isEmpty, rounds < Self.roundLimit else { return finish() }
    rounds += 1
    let pending = Countdown(plan.all.count + 1) { self.nextRound() }
    for slot in plan.noMove { probe(slot, buffer, .noMoveImport, pending) }
    for slot in plan.safe { probe(slot, buffer, .safeImport, pending) }
    for slot in plan.records {
      probe(slot, buffer, .safeImport, pending, forRecord: true)
    }
    pending.step()
  }

  private func probe(
    _ slot: DeviceSlot, _ buffer: HeldBuffer, _ method: ProbeMethod, _ pending: Countdown,
    forRecord: Bool = false
  ) {
    guard let entry = keeper.registry[slot] else { return pending.step() }
    let incarnation = keeper.incarnation(of: slot)
    let task = ProbeTask(
      device: entry.description, buffer: buffer, method: method, wake: scope.wake, user: user)
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
    case .gone: keeper.noteGone(slot)
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
