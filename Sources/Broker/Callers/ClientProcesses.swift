// The client processes whose swapchains are remembered. Those of a process are forgotten when it
// ends, before its pid can name another process.

internal import CShims
internal import Linux

final class ClientProcesses {
  private final class Watched {
    let pidfd: OwnedFD
    var gone: EventSource?
    init(_ pidfd: consuming OwnedFD) { self.pidfd = pidfd }
  }
  private let loop: EventLoop
  private let forget: (UInt32) -> Void
  private var watched: [UInt32: Watched] = [:]

  init(loop: EventLoop, forget: @escaping (UInt32) -> Void) {
    self.loop = loop
    self.forget = forget
  }

  /// Whether the end of this process will be noticed, so that its swapchains may be remembered:
  /// false for pid 0 and for processes that have ended. Each takes an fd: `take` asks for it,
  /// `giveBack` is called when it is closed.
  func watch(_ pid: UInt32, take: () -> Bool, giveBack: @escaping () -> Void) -> Bool {
    if watched[pid] != nil { return true }
    guard pid != 0, pid <= Int32.max, take() else { return false }
    do throws(Errno) {
      let entry = Watched(OwnedFD(try Errno.check(primed_pidfd_open(Int32(pid)))))
      entry.gone = try loop.onReadable(entry.pidfd.rawValue) { [unowned self] in
        watched[pid] = nil
        giveBack()
        forget(pid)
      }
      watched[pid] = entry
      return true
    } catch {
      giveBack()
      return false
    }
  }
}
