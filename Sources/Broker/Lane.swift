// One device's worker: the thread that makes its blocking calls, and the node that it keeps open.

internal import DRM
internal import Glibc
internal import Kernel
internal import Linux
internal import Placement
internal import Synchronization

/// The node, touched by the lane's own thread only; the lock is there for the compiler's proof and is
/// never contended.
final class OpenNode: Sendable {
  private let node = Mutex<DeviceNode?>(nil)

  /// Opens it if need be. `body` may block for as long as the driver likes.
  func use<R>(
    _ device: DeviceDescription, _ body: (borrowing DeviceNode) -> R
  ) -> Result<R, Errno> {
    node.withLock { held in
      do throws(Errno) {
        if held == nil { held = try DeviceNode(opening: device) }
      } catch {
        return .failure(error)
      }
      let result = body(held!)
      // A card node is DRM master's door: never kept open behind a compositor's back.
      if device.render == nil { held = nil }
      return .success(result)
    }
  }

  func close() { node.withLock { $0 = nil } }
}

/// A job as the loop sees it: who waits for it, and until when. The loop may take the work back
/// before the worker has begun, so that what is queued behind a hung call holds no fd.
final class Ticket<Work: Sendable>: Sendable {
  private let work: Mutex<Work?>
  init(_ work: Work) { self.work = Mutex(work) }
  func take() -> Work? {
    work.withLock { held in
      defer { held = nil }
      return held
    }
  }
}

/// What a worker's job came to.
enum LaneResult: Sendable {
  case probed(ProbeOutcome)
  case assessed(Result<DeviceAbilities, Errno>)
  case heeds(Result<NoMove, Errno>)
  case sacrifice(Sacrifice?)
  case closed(Void)
}

/// A buffer of our own in a device's dedicated memory.
final class Sacrifice: Sendable {
  let fd: OwnedFD
  init(_ fd: consuming OwnedFD) { self.fd = fd }
}

/// Lives on the loop; its jobs run on its worker, in order.
final class Lane {
  let device: DeviceDescription
  let node = OpenNode()
  let worker: Worker
  /// Jobs that were not answered yet, by number; a job that passed its deadline is here no more.
  var waiting: [UInt64: Waiting] = [:]
  /// Jobs that passed their deadline while the driver had them, and have not come back.
  var overdue: Set<UInt64> = []
  /// Closes the node after a time without jobs.
  var idle: EventSource?

  struct Waiting {
    /// Gets nil at the deadline.
    var done: (LaneResult?) -> Void
    /// Takes the work back; false: the worker has begun.
    var cancel: () -> Bool
    /// nil: waits for as long as it takes.
    var deadline: EventSource?
  }

  init(_ device: DeviceDescription) throws(Errno) {
    self.device = device
    let name = device.node?.path.split(separator: "/").last.map(String.init)
    worker = try Worker(name: name ?? "device")
  }

  /// The worker closes the node: closing may block, too.
  deinit {
    worker.submit { [node] in node.close() }
    worker.end()
  }
}
