// Keeps the registry current: applies device events, reads runtime power before a device is asked,
// finds out what each device can do before its first probe, and asks devices that did not answer
// again, with growing pauses.

internal import Linux
internal import Placement
internal import Ports

final class DeviceKeeper {
  private(set) var registry = Registry()
  private(set) var table: DeviceTable
  /// Called once per change, with `table` made anew: what changed, and the devices before it.
  var onChange: (([RegistryChange], DeviceTable) -> Void)?
  private(set) var timeouts: UInt64 = 0

  private let source: any DeviceSource
  private let reader: any BufferReader
  private let prober: any Prober
  private let time: any TimeSource
  /// When the power of all devices was last read.
  private var powerRead: Milliseconds?
  private(set) var pairs: PairTable
  private let kernel: KernelVersion?
  /// How often each slot was given to another device.
  private var incarnations = [UInt32](repeating: 0, count: DeviceSlot.limit)
  /// For each device that is being assessed, the callers that wait for the result.
  private var assessing: [DeviceSlot: [() -> Void]] = [:]
  private var retries: [DeviceSlot: Retry] = [:]

  /// When a device that did not answer is asked again.
  private struct Retry {
    var at: Milliseconds
    var interval: Milliseconds
  }

  init(
    source: any DeviceSource, reader: any BufferReader, prober: any Prober, time: any TimeSource,
    settings: EngineSettings
  ) {
    self.source = source
    self.reader = reader
    self.prober = prober
    self.time = time
    pairs = PairTable(own: settings.ownPairs)
    kernel = settings.kernel
    table = DeviceTable([], pairs: pairs, kernel: kernel)
  }

  private func makeTable() -> DeviceTable {
    DeviceTable(
      registry.entries, goneDrivers: registry.goneDrivers, goneBefore: registry.goneBefore,
      pairs: pairs, kernel: kernel)
  }

  /// Rebuilds `table` with other pair rows.
  func use(_ pairs: PairTable) {
    self.pairs = pairs
    table = makeTable()
  }

  /// Listens before it enumerates, so that no event is lost in between.
  func start() throws(Errno) {
    registry = Registry(counter: inodeCounter)
    try source.listen { [unowned self] event in self.apply(event) }
    rescan()
  }

  /// The lowest inode that a DMA-BUF made from now on can have; nil: not known.
  private var inodeCounter: UInt64? { reader.newestIdentity().map { $0.inode + 1 } }

  func incarnation(of slot: DeviceSlot) -> UInt32 { incarnations[Int(slot.index)] }

  // MARK: Events

  private func apply(_ event: DeviceEvent) {
    switch event {
    case .present(let description): commit(registry.apply(description))
    case .absent(let path): commit(registry.remove(sysfsPath: path))
    case .overrun: rescan()
    }
  }

  func rescan() {
    commit(registry.replaceAll(by: source.enumerate()))
    readPower()
  }

  private func commit(_ changes: [RegistryChange]) {
    guard !changes.isEmpty else { return }
    for change in changes where change.kind != .changed {
      incarnations[Int(change.slot.index)] &+= 1
      retries[change.slot] = nil
    }
    if changes.contains(where: { $0.kind == .removed }) {
      registry.noteGone(at: inodeCounter)
    }
    let before = table
    table = makeTable()
    onChange?(changes, before)
    // Ends the jobs of devices that have gone: their drivers may never answer.
    for change in changes where change.kind == .removed { prober.release(change.slot) { _ in } }
  }

  private func commit(_ change: RegistryChange?) { commit(change.map { [$0] } ?? []) }

  /// The device of this node. Looks for it in the system if its event has not come yet.
  func resolve(_ number: DeviceNumber) -> DeviceSlot? {
    if let slot = table.slot(of: number) { return slot }
    guard number != .none, let description = source.find(number) else { return nil }
    commit(registry.apply(description))
    return table.slot(of: number)
  }

  // MARK: Power and abilities

  /// Runtime power has no event: it is read while questions come, at most once a second.
  func refreshPower(at now: Milliseconds) {
    if let powerRead, now < powerRead + 1_000 { return }
    readPower()
  }

  /// Reads released devices as well, since an import into another device may wake an exporter.
  /// Reading wakes nothing.
  func readPower() {
    powerRead = time.now
    readPower(of: table.present)
  }

  /// Reads again whether the sleeping devices still sleep: a device that slept when a buffer was
  /// allocated is not its exporter.
  func readPowerOfSleepers() { readPower(of: table.present.subtracting(table.awake)) }

  private func readPower(of slots: DeviceSet) {
    for slot in slots {
      guard let entry = registry[slot] else { continue }
      let reading = source.power(of: entry.description)
      commit(
        registry.set(
          reading.power, activeTime: reading.activeTime,
          counter: { self.inodeCounter }, of: slot))
    }
  }

  /// Calls `done` once every device that `scope` permits has been assessed.
  func assess(_ scope: ProbeScope, done: @escaping () -> Void) {
    // A device that was awake at the last reading may sleep by now.
    if !table.toAssess(scope).isEmpty { readPower() }
    let open = table.toAssess(scope)
    let pending = Countdown(open.count + 1, done)
    for slot in open { assess(slot, wake: scope.wakeable.contains(slot), done: pending.step) }
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
    case .unopened: noteUnopened(slot)
    case .timedOut: noteTimeout(slot)
    }
  }

  func noteAsleep(_ slot: DeviceSlot) { commit(registry.set(.suspended, of: slot)) }

  /// The device went away before its event came, or its nodes were closed for a release.
  func noteGone(_ slot: DeviceSlot) {
    guard let entry = registry[slot], entry.state != .released,
      let node = entry.description.node, source.find(node.number) == nil
    else { return }
    commit(registry.remove(sysfsPath: entry.description.sysfsPath))
  }

  // MARK: Devices that don't answer, or can't be opened

  func noteTimeout(_ slot: DeviceSlot) {
    timeouts += 1
    guard let entry = registry[slot], entry.state == .ready || entry.state == .unresponsive else {
      return
    }
    retryLater(slot)
    commit(registry.set(.unresponsive, of: slot))
  }

  /// Its node can't be opened: the device has gone, or primed has no right to (EACCES), or the
  /// driver refuses. For a while no question has it tried again.
  func noteUnopened(_ slot: DeviceSlot) {
    noteGone(slot)
    guard registry[slot]?.state == .ready else { return }
    retryLater(slot)
    commit(registry.set(unopenable: true, of: slot))
  }

  private func retryLater(_ slot: DeviceSlot) {
    var retry = retries[slot] ?? Retry(at: 0, interval: Limits.firstRetry / 2)
    retry.interval = min(retry.interval * 2, Limits.longestRetry)
    retry.at = time.now + retry.interval
    retries[slot] = retry
  }

  /// The device answered, possibly long after the deadline.
  func noteAnswer(_ slot: DeviceSlot) {
    retries[slot] = nil
    commit(registry.set(unopenable: false, of: slot))
    if registry[slot]?.state == .unresponsive { commit(registry.set(.ready, of: slot)) }
  }

  /// Asks the devices whose retry is due whether they answer again. No query waits for the result.
  /// A node that could not be opened is left to the next query that may open it; a card node is
  /// opened only if this query may.
  func retryFailed(for hints: Hints) {
    let now = time.now
    for (slot, retry) in retries where retry.at <= now && assessing[slot] == nil {
      commit(registry.set(unopenable: false, of: slot))
      guard registry[slot]?.state == .unresponsive else { continue }
      let scope = ProbeScope(QueryContext(hints, among: table), among: table)
      guard !table.cardOnly.contains(slot) || scope.cards.contains(slot) else { continue }
      retries[slot]?.at = now + retry.interval
      assess(slot, wake: false) {}
    }
  }

  // MARK: Release

  /// Calls `then` with true once the device is released, with false if its nodes can't be closed
  /// now.
  func release(_ slot: DeviceSlot, then: @escaping (Bool) -> Void) {
    guard let stableID = registry[slot]?.description.stableID else { return then(false) }
    let incarnation = incarnation(of: slot)
    commit(registry.release(slot))
    prober.abandonImports(from: slot)
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

/// Calls `done` after `count` steps.
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
