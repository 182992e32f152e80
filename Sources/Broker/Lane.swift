// One device's worker: the thread that makes its blocking calls, and the node that it keeps open.

internal import DRM
internal import Glibc
internal import Kernel
internal import Linux
internal import Placement
internal import Synchronization

/// Nodes are closed after this long without a job: before a GPU falls asleep by itself (5 s with
/// amdgpu and nouveau), since closing a sleeping GPU's node wakes it.
let idleClose: Milliseconds = 1500

/// What came of using a device's node.
enum NodeUse<Result> {
  case used(Result)
  /// It sleeps, and was not to be woken.
  case asleep
  /// ENOENT, EACCES, ENODEV, ...: there is no node, or it is not for us.
  case unopened
}

/// The node, touched by the lane's own thread only; the lock is there for the compiler's proof and is
/// never contended.
final class OpenNode: Sendable {
  private let node = Mutex<DeviceNode?>(nil)
  private let complaints: Complaints

  init(_ complaints: Complaints) { self.complaints = complaints }

  /// Opens it if need be. `body` may block for as long as the driver likes.
  func use<R>(
    _ device: DeviceDescription, wake: Bool, _ body: (borrowing DeviceNode) -> R
  ) -> NodeUse<R> {
    guard wake || runtimePower(sysfsPath: device.sysfsPath) != .suspended else { return .asleep }
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

  /// A card node is DRM master's door: never kept open behind a compositor's back. A device that is
  /// about to fall asleep would have to be woken for the close.
  private static func mayStayOpen(_ device: DeviceDescription) -> Bool {
    device.render != nil && staysAwake(sysfsPath: device.sysfsPath, for: 2 * idleClose)
  }
}

/// Devices whose nodes can't be opened, so that each is complained of once and not at every query.
final class Complaints: Sendable {
  private let devices = Mutex<Set<String>>([])

  func begin(_ device: DeviceDescription, _ errno: Errno) {
    // One that is going away is nobody's fault.
    guard errno.code != ENODEV, errno.code != ENXIO,
      devices.withLock({ $0.insert(device.sysfsPath).inserted })
    else { return }
    Log.write(
      .warning,
      "\(device.node?.path ?? "?") can't be opened, so that primed knows little of it: \(errno)",
      [("DEVICE", device.stableID)])
  }

  func end(_ device: DeviceDescription) {
    devices.withLock { _ = $0.remove(device.sysfsPath) }
  }
}

/// What a worker's job came to.
enum LaneResult: Sendable {
  case probed(ProbeOutcome)
  case assessed(AbilityOutcome)
  case heeds(NoMove)
  case sacrifice(Sacrifice?)
  /// nil: it was not tried.
  case imported(DeviceNode.Import?)
  case closed(Void)
}

/// How a job ended for the one who waits for it.
enum JobEnd {
  case done(LaneResult)
  /// The deadline passed.
  case timedOut
  /// The device went, or was released.
  case gone
}

/// A buffer of our own on a device.
final class Sacrifice: Sendable {
  let fd: OwnedFD
  /// What it was allocated for.
  let memory: Memory
  init(_ fd: consuming OwnedFD, in memory: Memory) {
    self.fd = fd
    self.memory = memory
  }
}

/// Lives on the loop; its jobs run on its worker one by one, users taking turns. What waits for its turn is
/// not the worker's yet, so that what is behind a hung call can be ended, and holds no fd.
final class Lane {
  let device: DeviceDescription
  let node: OpenNode
  let worker: Worker
  /// Jobs that someone waits for, by number: the one that runs, and those in `turns`.
  private(set) var waiting: [UInt64: Waiting] = [:]
  /// May name jobs that nobody waits for any more.
  private var turns = Turns<UInt64>()
  /// The job that the worker has.
  private(set) var running: UInt64?
  /// Jobs that the driver has and nobody waits for any more.
  private(set) var abandoned: Set<UInt64> = []
  /// A deadline passed, and nothing came back since.
  private(set) var isLate = false
  /// Closes the node after a time without jobs.
  var idle: EventSource?

  struct Waiting {
    /// Gives it to the worker.
    var begin: () -> Void
    var end: (JobEnd) -> Void
    /// Of its turn, then of its end.
    var deadline: EventSource
  }

  init(_ device: DeviceDescription, _ complaints: Complaints) throws(Errno) {
    self.device = device
    node = OpenNode(complaints)
    let name = device.node?.path.split(separator: "/").last.map(String.init)
    worker = try Worker(name: name ?? "device")
  }

  /// The worker closes the node: closing may block, too.
  deinit {
    assert(waiting.isEmpty, "jobs that nobody will end")
    worker.submit { [node] in node.close() }
    worker.end()
  }

  var isIdle: Bool { waiting.isEmpty && abandoned.isEmpty }
  /// One call at a time may hang in a driver: no more are sent after it.
  var hangs: Bool { !abandoned.isEmpty }

  /// Of the same device, as the kernel registered it.
  func serves(_ other: DeviceDescription) -> Bool {
    device.sysfsPath == other.sysfsPath && device.registration == other.registration
  }

  func wait(for job: UInt64, of user: UInt32, _ entry: Waiting) {
    waiting[job] = entry
    turns.add(job, of: user)
  }

  /// Begins the job whose turn it is, if the worker is free.
  func advance(_ makeDeadline: (UInt64) -> EventSource?) {
    while running == nil, let job = turns.next() {
      guard let begin = waiting[job]?.begin else { continue }
      if let deadline = makeDeadline(job) { waiting[job]?.deadline = deadline }
      running = job
      begin()
    }
  }

  /// The worker is through with a job: returns who is to be told, if anyone still waits.
  func finish(_ job: UInt64) -> ((JobEnd) -> Void)? {
    if running == job { running = nil }
    abandoned.remove(job)
    return waiting.removeValue(forKey: job)?.end
  }

  /// Nobody waits for this job any more. Returns who did.
  func abandon(_ job: UInt64) -> ((JobEnd) -> Void)? {
    guard let entry = waiting.removeValue(forKey: job) else { return nil }
    if running == job { abandoned.insert(job) }
    return entry.end
  }

  func expire(_ job: UInt64) -> ((JobEnd) -> Void)? {
    isLate = true
    return abandon(job)
  }

  /// Whether an answer just now was the end of a silence.
  func breaksSilence() -> Bool {
    guard isLate, abandoned.isEmpty else { return false }
    isLate = false
    return true
  }

  func abandonAll() -> [(JobEnd) -> Void] { waiting.keys.sorted().compactMap(abandon) }
}
