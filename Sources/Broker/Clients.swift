// Whose swapchains are remembered: forgotten when the client's process has gone, before its pid can
// name another.

internal import CShims
internal import Linux

final class Clients {
  private final class Watched {
    let pidfd: OwnedFD
    var gone: EventSource?
    init(_ pidfd: consuming OwnedFD) { self.pidfd = pidfd }
  }
  private let loop: EventLoop
  private let forget: (UInt32) -> Void
  private var watched: [UInt32: Watched] = [:]
  /// An fd each. A client beyond that teaches its buffers' siblings until they are crowded out.
  private let limit = 256

  init(loop: EventLoop, forget: @escaping (UInt32) -> Void) {
    self.loop = loop
    self.forget = forget
  }

  /// 0 and processes that are gone already are passed over.
  func watch(_ pid: UInt32) {
    guard pid != 0, pid <= Int32.max, watched[pid] == nil, watched.count < limit else { return }
    do throws(Errno) {
      let entry = Watched(OwnedFD(try Errno.check(primed_pidfd_open(Int32(pid)))))
      entry.gone = try loop.onReadable(entry.pidfd.rawValue) { [unowned self] in
        watched[pid] = nil
        forget(pid)
      }
      watched[pid] = entry
    } catch {
      return
    }
  }
}
