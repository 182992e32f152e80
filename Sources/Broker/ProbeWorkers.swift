// Runs the engine's probes on real devices: a lane a device, a deadline a job, nodes closed when idle.

internal import DRM
internal import Glibc
internal import Kernel
internal import Linux
internal import Placement

/// Nodes are closed after this long without a job: before a GPU falls asleep by itself (5 s with
/// amdgpu and nouveau), since closing a sleeping GPU's node wakes it.
private let idleClose: Milliseconds = 1500

/// A job's number and what it came to, on its way back to the loop.
struct LaneReport: Sendable {
  var slot: DeviceSlot
  var job: UInt64
  var result: LaneResult
}

final class ProbeWorkers: Prober {
  let loop: EventLoop
  private let mailbox: Mailbox<LaneReport>
  private var inbox: EventSource?
  private var lanes: [DeviceSlot: Lane] = [:]
  private var lastJob: UInt64 = 0
  /// What NO_MOVE does in drivers that import through the DRM core: one kernel, one answer.
  var coreNoMove = NoMove.unknown
  /// All devices that may be opened, for choosing who gives a sacrificial buffer and who tries it.
  var devices: () -> [(slot: DeviceSlot, device: DeviceDescription)] = { [] }

  init(loop: EventLoop) throws(Errno) {
    self.loop = loop
    mailbox = try Mailbox()
    inbox = try mailbox.deliver(on: loop) { [unowned self] report in finish(report) }
  }

  // MARK: Prober

  func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void) {
    run(slot, task.device, work: task, { .probed(probeOnWorker($0, $1)) }) { result in
      guard case .probed(let outcome) = result else { return done(.timedOut) }
      done(outcome)
    }
  }

  func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    guard wake || runtimePower(sysfsPath: device.sysfsPath) != .suspended else {
      return loop.soon { done(.asleep) }
    }
    run(slot, device, work: device, { node, device in
      .assessed(node.use(device) { $0.abilities() })
    }) { [self] result in
      guard case .assessed(let result) = result else { return done(.timedOut) }
      switch result {
      case .failure: done(.gone)
      case .success(let abilities) where abilities.noMove == .unknown && abilities.imports:
        askWithSacrifice(device, slot) { noMove in
          done(.known(DeviceAbilities(noMove: noMove, imports: true)))
        }
      case .success(let abilities): done(.known(abilities))
      }
    }
  }

  func release(_ slot: DeviceSlot, done: @escaping () -> Void) {
    guard let lane = lanes[slot] else { return loop.soon(done) }
    lane.idle = nil
    // No deadline: released means closed.
    submit(lane, slot, work: (), { node, _ in .closed(node.close()) }, deadline: nil) {
      [self] _ in
      lanes[slot] = nil
      done()
    }
  }

  // MARK: Jobs

  /// Runs `job` on the device's worker; `done` gets nil at the deadline, or if there can be no worker.
  func run<Work: Sendable>(
    _ slot: DeviceSlot, _ device: DeviceDescription, work: Work,
    _ job: @escaping @Sendable (OpenNode, Work) -> LaneResult,
    done: @escaping (LaneResult?) -> Void
  ) {
    do throws(Errno) {
      let lane = try lane(slot, device)
      // One call at a time may hang in a driver: no more are sent after it.
      guard lane.overdue.isEmpty else { return loop.soon { done(nil) } }
      lane.idle = nil
      let id = lastJob + 1
      let deadline = try loop.after(probeDeadline) { [unowned self] in expire(slot, id) }
      submit(lane, slot, work: work, job, deadline: deadline, done: done)
    } catch {
      Log.write(.warning, "no worker for \(device.stableID): \(error)")
      loop.soon { done(nil) }
    }
  }

  private func submit<Work: Sendable>(
    _ lane: Lane, _ slot: DeviceSlot, work: Work,
    _ job: @escaping @Sendable (OpenNode, Work) -> LaneResult,
    deadline: EventSource?, done: @escaping (LaneResult?) -> Void
  ) {
    lastJob += 1
    let (id, ticket, node, mailbox) = (lastJob, Ticket(work), lane.node, mailbox)
    lane.waiting[id] = Lane.Waiting(
      done: done, cancel: { ticket.take() != nil }, deadline: deadline)
    lane.worker.submit {
      guard let work = ticket.take() else { return }
      mailbox.post(LaneReport(slot: slot, job: id, result: job(node, work)))
    }
  }

  private func lane(_ slot: DeviceSlot, _ device: DeviceDescription) throws(Errno) -> Lane {
    // A slot is used again after its device went: the new one gets a lane of its own.
    if let lane = lanes[slot], lane.device.sysfsPath == device.sysfsPath { return lane }
    let lane = try Lane(device)
    lanes[slot] = lane
    return lane
  }

  private func finish(_ report: LaneReport) {
    guard let lane = lanes[report.slot] else { return }
    lane.overdue.remove(report.job)
    let waiting = lane.waiting.removeValue(forKey: report.job)
    if lane.waiting.isEmpty, lane.overdue.isEmpty { closeWhenIdle(lane, report.slot) }
    waiting?.done(report.result)
  }

  private func expire(_ slot: DeviceSlot, _ id: UInt64) {
    guard let lane = lanes[slot], let waiting = lane.waiting.removeValue(forKey: id) else { return }
    if !waiting.cancel() {
      lane.overdue.insert(id)
      Log.write(
        .warning, "\(lane.device.node?.path ?? "?"): no answer after \(probeDeadline) ms",
        [("DEVICE", lane.device.stableID)])
    }
    waiting.done(nil)
  }

  /// A node of a device that fell asleep meanwhile stays open: closing would wake it. The next job, a
  /// release or the device's end closes it.
  private func closeWhenIdle(_ lane: Lane, _ slot: DeviceSlot) {
    lane.idle = try? loop.after(idleClose) { [unowned self, unowned lane] in
      guard lanes[slot] === lane,
        runtimePower(sysfsPath: lane.device.sysfsPath) != .suspended
      else { return }
      lanes[slot] = nil
    }
  }
}

/// One import, on the device's own worker.
private func probeOnWorker(_ node: OpenNode, _ task: ProbeTask) -> ProbeOutcome {
  let device = task.device
  guard task.wake || runtimePower(sysfsPath: device.sysfsPath) != .suspended else {
    return .asleep
  }
  let result = node.use(device) {
    $0.importBuffer(task.buffer.fd.rawValue, noMove: task.method == .noMoveImport)
  }
  switch result {
  case .failure: return .gone
  case .success(.reached(let record)): return .reached(record)
  case .success(.failed(let errno)):
    // ENODEV means both "unplugged" and "I don't import such buffers" (virtio_gpu).
    if access(device.sysfsPath, F_OK) != 0 { return .gone }
    return task.method == .noMoveImport && errno.code == EINVAL
      ? .wouldMove : .refused(errno: errno.code)
  }
}
