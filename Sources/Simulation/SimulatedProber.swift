// The prober of a simulated machine. It is as careful as the real workers (opens no sleeping device
// unless allowed, DROP_MASTER first, everything closed before the result), but makes its calls in
// `runPending`. Calls nothing back from inside `assess`, `probe` or `release`.

internal import Glibc
internal import Linux
package import Placement
package import Ports

package final class SimulatedProber: Prober {
  /// There is work for `runPending`. Called for every job, so possibly several times.
  package var onWork: (() -> Void)?
  private let kernel: SimulatedKernel
  private let time: any TimeSource
  private var calls: [Call] = []
  /// Calls in hung drivers whose callers are not waiting any more.
  private var stuck: [Call] = []

  package init(_ kernel: SimulatedKernel, time: any TimeSource) {
    self.kernel = kernel
    self.time = time
  }

  package func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    enqueue(Call(slot, device, .assess(wake: wake, done), deadline: time.now + probeDeadline))
  }

  package func probe(
    _ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void
  ) {
    kernel.watch(task.buffer)
    enqueue(Call(slot, task.device, .probe(task, done), deadline: time.now + probeDeadline))
  }

  package func abandonImports(from exporter: DeviceSlot) {
    for call in calls where call.file == nil && call.over == nil {
      if call.attaches(toBuffersOf: exporter) { call.exporterReleased = true }
    }
  }

  package func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void) {
    for call in calls where call.slot == slot { call.cancelled = true }
    let waitsForHung = (calls + stuck).contains { $0.slot == slot && $0.file != nil }
    let deadline = waitsForHung ? time.now + probeDeadline : time.now
    enqueue(Call(slot, nil, .release(done), deadline: deadline))
  }

  private func enqueue(_ call: Call) {
    calls.append(call)
    onWork?()
  }

  /// Makes every call that can be made now and delivers the results, and so on with the calls that
  /// follow from them.
  package func runPending() {
    letGoOfTheGone()
    enterDrivers()
    while let index = calls.firstIndex(where: isReady) {
      finish(calls.remove(at: index))
      enterDrivers()
    }
  }

  /// When `runPending` must be called again; nil: no call is in progress.
  package var nextDue: Milliseconds? {
    calls.compactMap { isReady($0) ? time.now : takesTime($0) ? $0.over : $0.deadline }.min()
  }

  // MARK: inside

  /// One call, from the request to the result.
  private final class Call {
    enum Work {
      case assess(wake: Bool, (AbilityOutcome) -> Void)
      case probe(ProbeTask, (ProbeOutcome) -> Void)
      case release((Bool) -> Void)
    }
    let slot: DeviceSlot
    let device: DeviceDescription?
    let work: Work
    let deadline: Milliseconds
    var cancelled = false
    var exporterReleased = false
    /// Open while the call hangs in the driver.
    var file: SimulatedFile?
    /// When its import is over; nil: it has not begun.
    var over: Milliseconds?

    init(_ slot: DeviceSlot, _ device: DeviceDescription?, _ work: Work, deadline: Milliseconds) {
      self.slot = slot
      self.device = device
      self.work = work
      self.deadline = deadline
    }

    var mayWake: Bool {
      switch work {
      case .assess(let wake, _): wake
      case .probe(let task, _): task.wake
      case .release: false
      }
    }

    func attaches(toBuffersOf exporter: DeviceSlot) -> Bool {
      if case .probe(let task, _) = work { task.exporters.contains(exporter) } else { false }
    }
  }

  private func isReady(_ call: Call) -> Bool {
    if case .release = call.work { return time.now >= call.deadline }
    if call.cancelled || call.exporterReleased { return true }
    if takesTime(call) { return call.over.map { time.now >= $0 } ?? false }
    return !hangs(call) || time.now >= call.deadline
  }

  private func takesTime(_ call: Call) -> Bool { importTime(of: call) > 0 && !hangs(call) }

  private func importTime(of call: Call) -> Milliseconds {
    guard case .probe(let task, _) = call.work, let index = kernel.index(of: task.device) else {
      return 0
    }
    return kernel.scenario.devices[index].importTime
  }

  /// A sleeping device is not opened, so its driver can't hang.
  private func hangs(_ call: Call) -> Bool {
    guard let index = call.device.flatMap(kernel.index(of:)), kernel.devices[index].hung else {
      return false
    }
    return call.mayWake || !kernel.devices[index].suspended
  }

  private func enterDrivers() {
    enterHungDrivers()
    beginImports()
  }

  /// One a device: the next begins when it is over.
  private func beginImports() {
    var busy = DeviceSet()
    for call in calls where takesTime(call) && !call.cancelled && !busy.contains(call.slot) {
      busy.insert(call.slot)
      call.over = call.over ?? time.now + importTime(of: call)
    }
  }

  /// A hung device's worker makes its first call, which does not return; the others wait behind it.
  private func enterHungDrivers() {
    for (position, call) in calls.enumerated()
    where call.file == nil && hangs(call) && !call.cancelled {
      let isBusy = (stuck + calls[..<position]).contains { $0.slot == call.slot && $0.file != nil }
      if !isBusy { call.file = openedNode(of: call) }
    }
  }

  private func openedNode(of call: Call) -> SimulatedFile? {
    guard let index = call.device.flatMap(kernel.index(of:)), let file = try? kernel.open(index)
    else { return nil }
    kernel.dropMaster(file)
    return file
  }

  /// The driver of a device that was unplugged returns from its calls.
  private func letGoOfTheGone() {
    stuck.removeAll { call in
      guard !hangs(call) else { return false }
      closeNode(of: call)
      return true
    }
  }

  private func isStuck(_ slot: DeviceSlot) -> Bool { stuck.contains { $0.slot == slot } }

  private func closeNode(of call: Call) {
    if let file = call.file { kernel.close(file) }
    call.file = nil
  }

  private func finish(_ call: Call) {
    let timedOut = !call.cancelled && hangs(call)
    if call.file != nil, hangs(call) { stuck.append(call) } else { closeNode(of: call) }
    switch call.work {
    case .release(let done): done(!isStuck(call.slot))
    case .assess(let wake, let done):
      done(timedOut ? .timedOut : call.cancelled ? .gone : abilities(call.device!, wake: wake))
    case .probe(let task, let done):
      if call.exporterReleased { return done(.exporterAway) }
      done(timedOut ? .timedOut : call.cancelled ? .gone : outcome(of: task))
    }
  }

  /// Opens the device's node while `body` runs, unless that would wake the device without
  /// permission.
  private func withNode<T>(
    of device: DeviceDescription, wake: Bool, gone: T, asleep: T, unopened: T,
    _ body: (SimulatedFile) -> T
  ) -> T {
    guard let index = kernel.index(of: device), kernel.devices[index].plugged else { return gone }
    if kernel.devices[index].suspended, !wake, kernel.devices[index].facts.openWakes {
      return asleep
    }
    guard let file = try? kernel.open(index) else { return unopened }
    defer { kernel.close(file) }
    kernel.dropMaster(file)
    return body(file)
  }

  private func outcome(of task: ProbeTask) -> ProbeOutcome {
    withNode(
      of: task.device, wake: task.wake, gone: ProbeOutcome.gone, asleep: .asleep,
      unopened: .unopened
    ) { file in
      let sleeps = task.mustBeAwake.contains { device in
        kernel.index(of: device).map { kernel.devices[$0].suspended } ?? false
      }
      if sleeps { return .exporterAway }
      guard let dmabuf = kernel.dmabuf(task.buffer.identity) else { return .refused(errno: EBADF) }
      return importOnce(dmabuf, task.method, file)
    }
  }

  private func importOnce(
    _ dmabuf: SimulatedDMABuf, _ method: ProbeMethod, _ file: SimulatedFile
  ) -> ProbeOutcome {
    do {
      try kernel.primeImport(dmabuf, into: file, flags: method == .noMoveImport ? noMoveFlag : 0)
    } catch {
      let heeds = method == .noMoveImport && kernel.scenario.kernel.noMove != .ignored
      let wouldMove = heeds && error.code == EINVAL && kernel.scenario.devices[file.device].imports
      return wouldMove ? .wouldMove : .refused(errno: error.code)
    }
    defer { kernel.gemClose(dmabuf, in: file) }
    return .reached(kernel.record(of: dmabuf, in: file))
  }

  // MARK: abilities, asked with sacrificial buffers

  private func abilities(_ device: DeviceDescription, wake: Bool) -> AbilityOutcome {
    withNode(
      of: device, wake: wake, gone: AbilityOutcome.gone, asleep: .asleep, unopened: .unopened
    ) { file in
      let plain = scratch(.nobody, in: .system)
      guard accepts(plain, file, flags: 0) else {
        return .known(DeviceAbilities(noMove: .ignored, imports: false))
      }
      let checksFlags = !accepts(plain, file, flags: 1 << 31)
      let heeds =
        checksFlags || !accepts(scratch(.scratch, in: .dedicated), file, flags: noMoveFlag)
      return .known(DeviceAbilities(noMove: heeds ? .honoured : .ignored, imports: true))
    }
  }

  private func scratch(_ exporter: SimulatedDMABuf.Exporter, in memory: Memory) -> SimulatedDMABuf {
    SimulatedDMABuf(
      identity: BufferIdentity(inode: 1), exporter: exporter, home: memory, residency: memory)
  }

  private func accepts(_ dmabuf: SimulatedDMABuf, _ file: SimulatedFile, flags: UInt32) -> Bool {
    guard (try? kernel.primeImport(dmabuf, into: file, flags: flags)) != nil else { return false }
    kernel.gemClose(dmabuf, in: file)
    return true
  }
}
