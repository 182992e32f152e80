// A device's job queue: the thread that makes blocking calls, and the node that it keeps open.

internal import DRM
internal import Glibc
internal import Linux
internal import Placement
internal import Ports
internal import Synchronization

/// How long a device's node stays open without a job.
func idleTime(of device: DeviceDescription) -> Milliseconds {
  device.render == nil ? Limits.idleCardNode : Limits.idleNode
}

/// The result of using a device's node.
enum NodeUse<Result: Sendable>: Sendable {
  case used(Result)
  /// The device sleeps and may not be woken.
  case asleep
  /// There is no node, or primed may not open it: ENOENT, EACCES, ENODEV, ...
  case unopened
}

/// The open node. Only the queue's own thread touches it; the lock satisfies the compiler and is
/// never contended.
final class OpenNode: Sendable {
  private let node = Mutex<DeviceNode?>(nil)
  private let complaints: Complaints

  init(_ complaints: Complaints) { self.complaints = complaints }

  /// Opens the node if needed. `body` may block as long as the driver does.
  func use<R: Sendable>(
    _ device: DeviceDescription, wake: Bool, _ body: (borrowing DeviceNode) -> R
  ) -> NodeUse<R> {
    guard wake || isAskable(device) else { return .asleep }
    return node.withLock { held in
      do throws(Errno) {
        if held == nil { held = try DeviceNode(opening: device) }
        complaints.end(device)
      } catch {
        complaints.begin(device, error)
        return .unopened
      }
      let result = body(held!)
      if !Self.mayStayOpen(device) { held = nil }
      return .used(result)
    }
  }

  func close() { node.withLock { $0 = nil } }

  /// False for a device that is about to suspend: closing its node then would wake it.
  private static func mayStayOpen(_ device: DeviceDescription) -> Bool {
    device.render == nil && neverSleeps(device)
      || staysAwake(device, for: 2 * idleTime(of: device))
  }
}

/// Devices whose nodes can't be opened: each is logged once, not at every query.
final class Complaints: Sendable {
  private let devices = Mutex<Set<String>>([])

  func begin(_ device: DeviceDescription, _ errno: Errno) {
    // A device that is going away is no reason for a warning.
    guard errno.code != ENODEV, errno.code != ENXIO,
      devices.withLock({ $0.insert(device.sysfsPath).inserted })
    else { return }
    Log.write(
      .warning,
      "\(device.node?.path ?? "?") can't be opened, so primed knows little of it: \(errno)",
      [("DEVICE", device.stableID)])
  }

  func end(_ device: DeviceDescription) {
    devices.withLock { _ = $0.remove(device.sysfsPath) }
  }
}

/// The result of a worker's job.
enum JobResult: Sendable {
  case probed(ProbeOutcome)
  case scratch(ScratchBuffer?)
  /// nil: there was no buffer to import.
  case imported(NodeUse<DeviceNode.Import?>)
  case closed(Void)
}

/// How a job ended for its caller.
enum JobEnd {
  case done(JobResult)
  /// The deadline passed.
  case timedOut
  /// The device has gone or was released.
  case gone
  /// A device whose buffer it was to import was released before it began.
  case exporterReleased
}

/// A buffer of primed's own.
final class ScratchBuffer: Sendable {
  let fd: OwnedFD
  /// What it was allocated for.
  let memory: Memory
  /// nil: no device.
  let exporter: DeviceDescription?

  init(_ fd: consuming OwnedFD, in memory: Memory, of exporter: DeviceDescription?) {
    self.fd = fd
    self.memory = memory
    self.exporter = exporter
  }

  /// nil: this kernel can't make one.
  static func ofNoDevice() -> ScratchBuffer? {
    guard let fd = try? DeviceNode.systemBuffer() else { return nil }
    return ScratchBuffer(fd, in: .system, of: nil)
  }
}

/// Lives on the loop's thread. Its worker runs jobs one at a time, users taking turns. A waiting
/// job is not given to the worker before its turn: it can then be ended while another call hangs,
/// and the worker holds no fd of it.
final class DeviceQueue {
  let device: DeviceDescription
  let node: OpenNode
  let worker: Worker
  /// Jobs with a waiting caller, by number: the one that runs, and those in `turns`.
  private(set) var waiting: [UInt64: Waiting] = [:]
  /// May contain jobs that have no waiting caller any more.
  private var turns = FairQueue()
  /// The job that was given to the worker.
  private(set) var running: UInt64?
  /// Jobs that are still in the driver and have no waiting caller any more.
  private(set) var abandoned: Set<UInt64> = []
  /// A job whose buffer is so large that it may pass its deadline: its caller was answered, and
  /// until `limit` it does not count as the driver not answering.
  private(set) var slow: (job: UInt64, limit: EventSource)?
  /// A deadline passed, and no job has returned since.
  private(set) var isLate = false
  /// Closes the node after a time without jobs.
  var idle: EventSource?

  struct Waiting {
    /// Gives the job to the worker.
    var begin: () -> Void
    var end: (JobEnd) -> Void
    /// Until the job begins; after that, until it ends.
    var deadline: EventSource
    /// How long after its deadline it may take before the driver counts as not answering.
    var extraTime: Milliseconds = 0
    /// Other devices that may have exported the buffer that it imports.
    var exporters = DeviceSet()
  }

  init(_ device: DeviceDescription, _ complaints: Complaints) throws(Errno) {
    self.device = device
    node = OpenNode(complaints)
    let name = device.node?.path.split(separator: "/").last.map(String.init)
    worker = try Worker(name: name ?? "device")
  }

  /// The worker closes the node, since closing may block, too.
  deinit {
    assert(waiting.isEmpty, "jobs that nobody will end")
    worker.submit { [node] in node.close() }
    worker.end()
  }

  var isIdle: Bool { waiting.isEmpty && abandoned.isEmpty && slow == nil }
  /// A call hangs in the driver: no other is made before it returns.
  var hangs: Bool { !abandoned.isEmpty }

  /// Whether `other` is the same device in the same registration with the kernel.
  func serves(_ other: DeviceDescription) -> Bool {
    device.sysfsPath == other.sysfsPath && device.registration == other.registration
  }

  func wait(for job: UInt64, of user: UInt32, _ entry: Waiting) {
    waiting[job] = entry
    turns.add(job, of: user)
  }

  /// Begins the next job, if the worker is free.
  func advance(_ makeDeadline: (UInt64) -> EventSource?) {
    while running == nil, let job = turns.next() {
      guard let begin = waiting[job]?.begin else { continue }
      if let deadline = makeDeadline(job) { waiting[job]?.deadline = deadline }
      running = job
      begin()
    }
  }

  /// The worker has finished a job. Returns its caller, if one still waits.
  func finish(_ job: UInt64) -> ((JobEnd) -> Void)? {
    if running == job { running = nil }
    if slow?.job == job { slow = nil }
    abandoned.remove(job)
    return waiting.removeValue(forKey: job)?.end
  }

  /// Ends the wait for this job. Returns its caller.
  func abandon(_ job: UInt64) -> ((JobEnd) -> Void)? {
    guard let entry = waiting.removeValue(forKey: job) else { return nil }
    if running == job { abandoned.insert(job) }
    return entry.end
  }

  /// 0: at its deadline the driver counts as not answering.
  func extraTime(of job: UInt64) -> Milliseconds {
    running == job ? waiting[job]?.extraTime ?? 0 : 0
  }

  /// Lets the job run until `limit` fires, which calls `giveUpSlow`. Returns its caller.
  func letRun(_ job: UInt64, until limit: EventSource) -> ((JobEnd) -> Void)? {
    slow = (job, limit)
    return waiting.removeValue(forKey: job)?.end
  }

  func giveUpSlow() {
    guard let slow else { return }
    abandoned.insert(slow.job)
    isLate = true
    self.slow = nil
  }

  func expire(_ job: UInt64) -> ((JobEnd) -> Void)? {
    isLate = true
    return abandon(job)
  }

  /// Whether the device answered just now for the first time since a deadline passed.
  func breaksSilence() -> Bool {
    guard isLate, abandoned.isEmpty else { return false }
    isLate = false
    return true
  }

  /// Ends the wait for all jobs that have not begun to import a buffer that this device may have
  /// exported.
  func abandonImports(from exporter: DeviceSlot) -> [(JobEnd) -> Void] {
    waiting.filter { $0.key != running && $0.value.exporters.contains(exporter) }
      .keys.sorted().compactMap(abandon)
  }

  func abandonAll() -> [(JobEnd) -> Void] {
    giveUpSlow()
    return waiting.keys.sorted().compactMap(abandon)
  }
}
