// Runs the engine's probes on real devices: a lane a device, a deadline a job, nodes closed when idle.
//
// Every job ends once for the one who waits for it: when it is done, at its deadline, or when its device
// is released or goes. The call itself may still be in the driver then: its lane gets no other job until
// it is back. A job whose turn does not come in time ends too, and tells nothing of the driver.

internal import DRM
internal import Glibc
internal import Kernel
internal import Linux
internal import Placement

/// A job's number and what it came to, on its way back to the loop.
struct LaneReport: Sendable {
  var slot: DeviceSlot
  var job: UInt64
  var result: LaneResult
}

/// No user: jobs of primed's own.
let ourselves = UInt32.max

final class ProbeWorkers: Prober {
  let loop: EventLoop
  private let mailbox: Mailbox<LaneReport>
  private var inbox: EventSource?
  private var lanes: [DeviceSlot: Lane] = [:]
  private var lastJob: UInt64 = 0
  private let complaints = Complaints()
  /// What NO_MOVE does in drivers that import through the DRM core: one kernel, one answer.
  var coreNoMove = NoMove.unknown
  /// All devices that may be opened now.
  var devices: () -> [(slot: DeviceSlot, device: DeviceDescription)] = { [] }
  /// A device that let a deadline pass has answered after all.
  var onAnswer: ((DeviceSlot) -> Void)?

  init(loop: EventLoop) throws(Errno) {
    self.loop = loop
    mailbox = try Mailbox()
    inbox = try mailbox.deliver(on: loop) { [unowned self] report in finish(report) }
  }

  // MARK: Prober

  func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void) {
    run(slot, task.device, of: task.user, work: task, { .probed(probeOnWorker($0, $1)) }) { end in
      switch end {
      case .done(.probed(let outcome)): done(outcome)
      case .timedOut: done(.timedOut)
      case .gone, .done: done(.gone)
      }
    }
  }

  func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    run(slot, device, work: device, { .assessed(assessOnWorker($0, $1, wake: wake)) }) {
      [self] end in
      switch end {
      case .done(.assessed(.known(let abilities)))
      where abilities.noMove == .unknown && abilities.imports:
        askWithSacrifice(device, slot) { noMove in
          done(.known(DeviceAbilities(noMove: noMove, imports: true)))
        }
      case .done(.assessed(let outcome)): done(outcome)
      case .timedOut: done(.timedOut)
      case .gone, .done: done(.gone)
      }
    }
  }

  func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void) {
    guard let lane = lanes[slot] else { return loop.soon { done(true) } }
    endAll(lane)
    do throws(Errno) {
      try submit(lane, slot, work: (), { node, _ in .closed(node.close()) }) { [self] end in
        if case .timedOut = end { return done(false) }
        // The device may be back, and asked already.
        if lanes[slot] === lane && lane.isIdle { lanes[slot] = nil }
        done(true)
      }
    } catch {
      loop.soon { done(false) }
    }
  }

  // MARK: Jobs

  /// Runs `job` on the device's worker, if the device may be opened now.
  func run<Work: Sendable>(
    _ slot: DeviceSlot, _ device: DeviceDescription, of user: UInt32 = ourselves, work: Work,
    _ job: @escaping @Sendable (OpenNode, Work) -> LaneResult,
    then: @escaping (JobEnd) -> Void
  ) {
    guard devices().contains(where: { $0.slot == slot && $0.device.sysfsPath == device.sysfsPath })
    else { return loop.soon { then(.gone) } }
    do throws(Errno) {
      let lane = try lane(slot, device)
      guard !lane.hangs else { return loop.soon { then(.timedOut) } }
      try submit(lane, slot, of: user, work: work, job, then: then)
    } catch {
      Log.write(.warning, "no worker for \(device.stableID): \(error)")
      loop.soon { then(.timedOut) }
    }
  }

  private func submit<Work: Sendable>(
    _ lane: Lane, _ slot: DeviceSlot, of user: UInt32 = ourselves, work: Work,
    _ job: @escaping @Sendable (OpenNode, Work) -> LaneResult,
    then: @escaping (JobEnd) -> Void
  ) throws(Errno) {
    lastJob += 1
    let (id, node, worker, mailbox) = (lastJob, lane.node, lane.worker, mailbox)
    let begin = {
      worker.submit { mailbox.post(LaneReport(slot: slot, job: id, result: job(node, work))) }
    }
    let deadline = try makeDeadline(lane, id)
    lane.idle = nil
    lane.wait(for: id, of: user, Lane.Waiting(begin: begin, end: then, deadline: deadline))
    advance(lane)
  }

  private func makeDeadline(_ lane: Lane, _ job: UInt64) throws(Errno) -> EventSource {
    try loop.after(probeDeadline) { [unowned self, unowned lane] in expire(lane, job) }
  }

  private func advance(_ lane: Lane) { lane.advance { try? makeDeadline(lane, $0) } }

  private func lane(_ slot: DeviceSlot, _ device: DeviceDescription) throws(Errno) -> Lane {
    if let lane = lanes[slot] {
      if lane.serves(device) { return lane }
      // The slot was given to another device: a lane's end is its device's.
      endAll(lane)
    }
    let lane = try Lane(device, complaints)
    lanes[slot] = lane
    return lane
  }

  private func finish(_ report: LaneReport) {
    guard let lane = lanes[report.slot] else { return }
    let end = lane.finish(report.job)
    advance(lane)
    if lane.isIdle { closeWhenIdle(lane, report.slot, after: idleClose) }
    if lane.breaksSilence() { onAnswer?(report.slot) }
    end?(.done(report.result))
  }

  private func expire(_ lane: Lane, _ job: UInt64) {
    guard lane.running == job || lane.hangs else {
      lane.abandon(job)?(.gone)
      return
    }
    let isFirst = !lane.isLate
    let end = lane.expire(job)
    if isFirst {
      Log.write(
        .debug, "\(lane.device.node?.path ?? "?"): no answer after \(probeDeadline) ms",
        [("DEVICE", lane.device.stableID)])
    }
    end?(.timedOut)
  }

  /// Ends are told on the next turn of the loop: who waits may be in the middle of a change.
  private func endAll(_ lane: Lane) {
    lane.idle = nil
    let ends = lane.abandonAll()
    if !ends.isEmpty { loop.soon { for end in ends { end(.gone) } } }
  }

  /// The node of a device that fell asleep sooner than it said stays open until it is awake again:
  /// closing it would wake it. That is looked for less and less often.
  private func closeWhenIdle(_ lane: Lane, _ slot: DeviceSlot, after delay: Milliseconds) {
    lane.idle = try? loop.after(delay) { [unowned self, unowned lane] in
      guard lanes[slot] === lane else { return }
      if runtimePower(sysfsPath: lane.device.sysfsPath) == .suspended {
        closeWhenIdle(lane, slot, after: min(delay * 2, 60_000))
      } else {
        lanes[slot] = nil
      }
    }
  }
}

// MARK: On the worker

private func assessOnWorker(
  _ node: OpenNode, _ device: DeviceDescription, wake: Bool
) -> AbilityOutcome {
  switch node.use(device, wake: wake, { $0.abilities() }) {
  case .used(let abilities): return .known(abilities)
  case .asleep: return .asleep
  case .unopened: return .gone
  }
}

private func probeOnWorker(_ node: OpenNode, _ task: ProbeTask) -> ProbeOutcome {
  let device = task.device
  let use = node.use(device, wake: task.wake) {
    $0.importBuffer(task.buffer.fd.rawValue, noMove: task.method == .noMoveImport)
  }
  switch use {
  case .asleep: return .asleep
  case .unopened: return .gone
  case .used(.reached(let record)): return .reached(record)
  case .used(.failed(let errno)):
    // ENODEV means both "unplugged" and "I don't import such buffers" (virtio_gpu).
    if access(device.sysfsPath, F_OK) != 0 { return .gone }
    return task.method == .noMoveImport && errno.code == EINVAL
      ? .wouldMove : .refused(errno: errno.code)
  }
}
