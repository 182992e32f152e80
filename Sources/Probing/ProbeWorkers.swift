// Runs the engine's probes on real devices: a queue for each device, a deadline for each job, nodes
// closed when idle.
//
// Every job ends once for its caller: when it is done, at its deadline, or when its device is
// released or has gone. The call itself may still be in the driver then: the queue starts no other
// job until it returns. A job whose turn does not come before its deadline ends without a result,
// and so does one whose buffer is so large that its import takes longer: neither counts as the
// driver not answering.

internal import DRM
internal import Glibc
package import Linux
package import Placement
package import Ports

/// A job's number and result, on the way back to the loop.
struct JobReport: Sendable {
  var slot: DeviceSlot
  var job: UInt64
  var result: JobResult
}

/// The user of primed's own jobs.
let ourselves = UInt32.max

package final class ProbeWorkers: Prober {
  let loop: EventLoop
  private let mailbox: Mailbox<JobReport>
  private var inbox: EventSource?
  private var queues: [DeviceSlot: DeviceQueue] = [:]
  private var lastJob: UInt64 = 0
  private let complaints = Complaints()
  let plainBuffers: PlainBuffers
  /// Whether NO_MOVE is heeded, by import function: on one kernel a function always does the same.
  var noMoveVerdicts: [String: NoMove] = [:]
  let kernel = KernelVersion(kernelRelease())
  /// All devices that may be opened now.
  package var devices: () -> [(slot: DeviceSlot, device: DeviceDescription)] = { [] }
  /// A device answered after a deadline had passed.
  package var onAnswer: ((DeviceSlot) -> Void)?

  package init(loop: EventLoop) throws(Errno) {
    self.loop = loop
    plainBuffers = try PlainBuffers(loop: loop)
    mailbox = try Mailbox()
    inbox = try mailbox.deliver(on: loop) { [unowned self] report in finish(report) }
  }

  /// Its import function on the running kernel; nil: unknown, so nothing is shared with other
  /// drivers.
  func importFunction(of device: DeviceDescription) -> String? {
    device.row.info.importFunction(on: kernel)
  }

  // MARK: Prober

  package func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void)
  {
    run(
      slot, task.device, of: task.user, extraTime: timeForSize(task.size),
      exporters: task.exporters, work: task, { .probed(probeOnWorker($0, $1)) }
    ) { end in
      switch end {
      case .done(.probed(let outcome)): done(outcome)
      case .timedOut: done(.timedOut)
      case .exporterReleased: done(.exporterAway)
      case .gone, .done: done(.gone)
      }
    }
  }

  package func abandonImports(from exporter: DeviceSlot) {
    for queue in queues.values { tell(queue.abandonImports(from: exporter), .exporterReleased) }
  }

  package func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void) {
    guard let queue = queues[slot] else { return loop.soon { done(true) } }
    endAll(queue)
    do throws(Errno) {
      try submit(queue, slot, work: (), { node, _ in .closed(node.close()) }) { [self] end in
        if case .timedOut = end { return done(false) }
        // The device may be back and in use already.
        if queues[slot] === queue && queue.isIdle { queues[slot] = nil }
        done(true)
      }
    } catch {
      loop.soon { done(false) }
    }
  }

  // MARK: Jobs

  /// Runs `job` on the device's worker, if the device may be opened now.
  func run<Work: Sendable>(
    _ slot: DeviceSlot, _ device: DeviceDescription, of user: UInt32 = ourselves,
    extraTime: Milliseconds = 0, exporters: DeviceSet = DeviceSet(), work: Work,
    _ job: @escaping @Sendable (OpenNode, Work) -> JobResult,
    then: @escaping (JobEnd) -> Void
  ) {
    guard devices().contains(where: { $0.slot == slot && $0.device.sysfsPath == device.sysfsPath })
    else { return loop.soon { then(.gone) } }
    do throws(Errno) {
      let queue = try queue(slot, device)
      guard !queue.hangs else { return loop.soon { then(.timedOut) } }
      guard queue.slow == nil else { return loop.soon { then(.gone) } }
      try submit(
        queue, slot, of: user, extraTime: extraTime, exporters: exporters, work: work, job,
        then: then)
    } catch {
      Log.write(.warning, "no worker for \(device.stableID): \(error)")
      loop.soon { then(.timedOut) }
    }
  }

  private func submit<Work: Sendable>(
    _ queue: DeviceQueue, _ slot: DeviceSlot, of user: UInt32 = ourselves,
    extraTime: Milliseconds = 0, exporters: DeviceSet = DeviceSet(), work: Work,
    _ job: @escaping @Sendable (OpenNode, Work) -> JobResult,
    then: @escaping (JobEnd) -> Void
  ) throws(Errno) {
    lastJob += 1
    let (id, node, worker, mailbox) = (lastJob, queue.node, queue.worker, mailbox)
    let begin = {
      worker.submit { mailbox.post(JobReport(slot: slot, job: id, result: job(node, work))) }
    }
    let deadline = try makeDeadline(queue, id)
    queue.idle = nil
    queue.wait(
      for: id, of: user,
      DeviceQueue.Waiting(
        begin: begin, end: then, deadline: deadline, extraTime: extraTime, exporters: exporters))
    advance(queue)
  }

  private func makeDeadline(_ queue: DeviceQueue, _ job: UInt64) throws(Errno) -> EventSource {
    try loop.after(probeDeadline) { [unowned self, unowned queue] in expire(queue, job) }
  }

  private func advance(_ queue: DeviceQueue) { queue.advance { try? makeDeadline(queue, $0) } }

  private func queue(_ slot: DeviceSlot, _ device: DeviceDescription) throws(Errno) -> DeviceQueue {
    if let queue = queues[slot] {
      if queue.serves(device) { return queue }
      // The slot was given to another device, so the old device's queue ends.
      endAll(queue)
    }
    let queue = try DeviceQueue(device, complaints)
    queues[slot] = queue
    return queue
  }

  private func finish(_ report: JobReport) {
    guard let queue = queues[report.slot] else { return }
    let end = queue.finish(report.job)
    advance(queue)
    if queue.isIdle { closeWhenIdle(queue, report.slot, after: idleTime(of: queue.device)) }
    if queue.breaksSilence() { onAnswer?(report.slot) }
    end?(.done(report.result))
  }

  private func expire(_ queue: DeviceQueue, _ job: UInt64) {
    guard queue.running == job || queue.hangs else {
      queue.abandon(job)?(.gone)
      return
    }
    let extra = queue.extraTime(of: job)
    if extra > 0, let limit = try? loop.after(extra, { [unowned queue] in queue.giveUpSlow() }) {
      queue.letRun(job, until: limit)?(.gone)
      return
    }
    let isFirst = !queue.isLate
    let end = queue.expire(job)
    if isFirst {
      Log.write(
        .debug, "\(queue.device.node?.path ?? "?"): no answer after \(probeDeadline) ms",
        [("DEVICE", queue.device.stableID)])
    }
    end?(.timedOut)
  }

  /// Callers are told on the loop's next turn, since they may be in the middle of a change.
  private func endAll(_ queue: DeviceQueue) {
    queue.idle = nil
    tell(queue.abandonAll(), .gone)
  }

  private func tell(_ ends: [(JobEnd) -> Void], _ how: JobEnd) {
    if !ends.isEmpty { loop.soon { for end in ends { end(how) } } }
  }

  /// The node of a device that suspended sooner than its settings say stays open until the device
  /// is awake: closing it would wake the device. Checked at growing intervals.
  private func closeWhenIdle(_ queue: DeviceQueue, _ slot: DeviceSlot, after delay: Milliseconds) {
    queue.idle = try? loop.after(delay) { [unowned self, unowned queue] in
      guard queues[slot] === queue else { return }
      if !isAskable(queue.device) {
        closeWhenIdle(queue, slot, after: min(delay * 2, 60_000))
      } else {
        queues[slot] = nil
      }
    }
  }
}

// MARK: On the worker

private func probeOnWorker(_ node: OpenNode, _ task: ProbeTask) -> ProbeOutcome {
  let device = task.device
  let use = node.use(device, wake: task.wake) { node -> DeviceNode.Import? in
    // Right before the import: it may have waited for its turn.
    guard !task.mustBeAwake.contains(where: sleeps) else { return nil }
    return node.importBuffer(
      task.buffer.fd.rawValue, task.method == .noMoveImport ? .noMove : .none)
  }
  switch use {
  case .asleep: return .asleep
  case .unopened: return .unopened
  case .used(nil): return .exporterAway
  case .used(.reached(let record)?): return .reached(record)
  case .used(.failed(let errno)?):
    // ENODEV means both "unplugged" and "this device imports no such buffers" (virtio_gpu).
    if access(device.sysfsPath, F_OK) != 0 { return .gone }
    return task.method == .noMoveImport && errno.code == EINVAL
      ? .wouldMove : .refused(errno: errno.code)
  }
}
