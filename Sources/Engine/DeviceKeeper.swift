// Keeps the registry true: applies events, reads power before anyone is asked, finds out what each
// device can do before its first probe, and watches over those that don't answer.

internal import Kernel
internal import Linux
internal import Placement

final class DeviceKeeper {
  private(set) var registry = Registry()
  private(set) var table: DeviceTable
  /// Called once per change, with `table` made anew.
  var onChange: (([RegistryChange]) -> Void)?
  private(set) var timeouts: UInt64 = 0

  private let source: any DeviceSource
  private let prober: any Prober
  private let time: any TimeSource
  private(set) var pairs: PairTable
  private let kernel: KernelVersion?
  /// How often each slot was given to another device.
  private var incarnations = [UInt32](repeating: 0, count: DeviceSlot.limit)
  /// Those who wait for the abilities of a device that is being asked.
  private var assessing: [DeviceSlot: [() -> Void]] = [:]
  private var retries: [DeviceSlot: Retry] = [:]

  /// When a device that didn't answer is asked again.
  private struct Retry {
    static let first: Milliseconds = 1_000
    static let last: Milliseconds = 64_000
    var at: Milliseconds
    var interval: Milliseconds
  }

  init(
    source: any DeviceSource, prober: any Prober, time: any TimeSource, settings: EngineSettings
  ) {
    self.source = source
    self.prober = prober
    self.time = time
    pairs = PairTable(own: settings.ownPairs)
    kernel = settings.kernel
    table = DeviceTable([], pairs: pairs, kernel: kernel)
  }

  private func makeTable() -> DeviceTable {
    DeviceTable(registry.entries, goneDrivers: registry.goneDrivers, pairs: pairs, kernel: kernel)
  }

  /// `table` goes by other rows from now on.
  func use(_ pairs: PairTable) {
    self.pairs = pairs
    table = makeTable()
  }

  /// Listens first, so that nothing is lost between.
  func start() throws(Errno) {
    try source.listen { [unowned self] event in self.apply(event) }
    rescan()
  }

  func incarnation(of slot: DeviceSlot) -> UInt32 { incarnations[Int(slot.index)] }

  // MARK: What is told

  private func apply(_ event: DeviceEvent) {
    switch event {
    case .present(let description): commit(registry.apply(description))
    case .absent(let path): commit(registry.remove(sysfsPath: path))
    case .overrun: rescan()
    }
  }

  func rescan() { commit(registry.replaceAll(by: source.enumerate())) }

  private func commit(_ changes: [RegistryChange]) {
    guard !changes.isEmpty else { return }
    for change in changes where change.kind != .changed {
      incarnations[Int(change.slot.index)] &+= 1
      retries[change.slot] = nil
    }
    table = makeTable()
    onChange?(changes)
    // Nobody waits for the driver of a device that has gone.
    for change in changes where change.kind == .removed { prober.release(change.slot) { _ in } }
  }

  private func commit(_ change: RegistryChange?) { commit(change.map { [$0] } ?? []) }

  /// The device of this node, though its event may not have come yet.
  func resolve(_ number: DeviceNumber) -> DeviceSlot? {
    if let slot = table.slot(of: number) { return slot }
    guard number != .none, let description = source.find(number) else { return nil }
    commit(registry.apply(description))
    return table.slot(of: number)
  }

  // MARK: What is found out

  /// There is no event for runtime power: read it before a look. Wakes nothing.
  func refreshPower() {
    for slot in table.ready {
      guard let entry = registry[slot] else { continue }
      commit(registry.set(source.power(of: entry.description), of: slot))
    }
  }

  /// Calls `done` once every device that may be asked has said what it can do.
  func assess(_ scope: ProbeScope, done: @escaping () -> Void) {
    let open = table.toAssess(scope)
    let pending = Countdown(open.count + 1, done)
    for slot in open { assess(slot, wake: scope.wake, done: pending.step) }
    pending.step()
  }

  private func assess(_ slot: DeviceSlot, wake: Bool, done: @escaping () -> Void) {
    if assessing[slot] != nil {
      assessing[slot]?.append(done)
      return
    }
    guard let entry = registry[slot] else { return done() }
    assessing[slot] = [done]
    let incarnation = incarnation(of: slot)
    prober.assess(entry.description, at: slot, wake: wake) { [unowned self] outcome in
      if incarnation == self.incarnation(of: slot) { self.note(outcome, of: slot) }
      for waiter in self.assessing.removeValue(forKey: slot) ?? [] { waiter() }
    }
  }

  private func note(_ outcome: AbilityOutcome, of slot: DeviceSlot) {
    switch outcome {
    case .known(let abilities):
      commit(registry.set(noMove: abilities.noMove, imports: abilities.imports, of: slot))
      noteAnswer(slot)
    case .asleep: noteAsleep(slot)
    case .gone: noteGone(slot)
    case .timedOut: noteTimeout(slot)
    }
  }

  func noteAsleep(_ slot: DeviceSlot) { commit(registry.set(.suspended, of: slot)) }

  /// It went away before its event came, or its nodes were closed for a release.
  func noteGone(_ slot: DeviceSlot) {
    guard let entry = registry[slot], entry.state != .released,
      let node = entry.description.node, source.find(node.number) == nil
    else { return }
    commit(registry.remove(sysfsPath: entry.description.sysfsPath))
  }

  // MARK: Unresponsive devices

  func noteTimeout(_ slot: DeviceSlot) {
    timeouts += 1
    guard let entry = registry[slot], entry.state == .ready || entry.state == .unresponsive else {
      return
    }
    var retry = retries[slot] ?? Retry(at: 0, interval: Retry.first / 2)
    retry.interval = min(retry.interval * 2, Retry.last)
    retry.at = time.now + retry.interval
    retries[slot] = retry
    commit(registry.set(.unresponsive, of: slot))
  }

  /// It answered, be it long after its deadline.
  func noteAnswer(_ slot: DeviceSlot) {
    retries[slot] = nil
    if registry[slot]?.state == .unresponsive { commit(registry.set(.ready, of: slot)) }
  }

  /// Asks those whose time has come whether they answer again. Nobody waits for it.
  func retryUnresponsive() {
    let now = time.now
    for (slot, retry) in retries where retry.at <= now && assessing[slot] == nil {
      guard registry[slot]?.state == .unresponsive else { continue }
      retries[slot]?.at = now + retry.interval
      assess(slot, wake: false) {}
    }
  }

  // MARK: Release

  /// `then` with whether it is released; a device whose nodes can't be closed now is not.
  func release(_ slot: DeviceSlot, then: @escaping (Bool) -> Void) {
    guard let stableID = registry[slot]?.description.stableID else { return then(false) }
    let incarnation = incarnation(of: slot)
    commit(registry.release(slot))
    prober.release(slot) { [unowned self] closed in
      if !closed {
        self.commit(self.registry.unrelease(stableID, as: .unresponsive))
        if incarnation == self.incarnation(of: slot) { self.noteTimeout(slot) }
      }
      then(closed)
    }
  }

  func unrelease(_ stableID: String) { commit(registry.unrelease(stableID)) }
}

/// Calls `done` at the last of `count` steps.
final class Countdown {
  private var left: Int
  private let done: () -> Void
  init(_ count: Int, _ done: @escaping () -> Void) {
    left = count
    self.done = done
  }
  func step() {
    left -= 1
    if left == 0 { done() }
  }
}
