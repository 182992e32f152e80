// Work that takes long on the loop's thread and has not begun: observations of buffers, and long
// answers. All messages that have arrived are read before the next one begins, because the bus
// refuses everybody's calls while its queue to primed is full (dbus-daemon: at 64 fds). Users take
// turns.

internal import Linux
internal import Placement
internal import Probing

final class Looks {
  private var turns = FairQueue()
  private var waiting: [UInt64: () -> Void] = [:]
  private var latest: UInt64 = 0
  private var turn: EventSource?

  init(loop: EventLoop) throws(Errno) {
    turn = try loop.whenIdle(atLatestAfter: Limits.messagesBeforeALook) { [unowned self] in
      beginNext()
      if !waiting.isEmpty { turn?.again() }
    }
  }

  func add(of user: UInt32, _ look: @escaping () -> Void) {
    latest += 1
    waiting[latest] = look
    turns.add(latest, of: user)
    turn?.again()
  }

  func beginNext() { turns.next().flatMap { waiting.removeValue(forKey: $0) }?() }
}
