// Messages from worker threads to the loop. They are values, not closures, so that no other thread
// touches what the loop owns.

internal import CShims
internal import Glibc
internal import Synchronization

/// Messages posted on any thread, received in order on the loop's thread.
package final class Mailbox<Message: Sendable>: Sendable {
  private let wake: OwnedFD
  private let messages = Mutex<[Message]>([])

  package init() throws(Errno) {
    wake = OwnedFD(try Errno.check(primed_eventfd(false)))
  }

  /// May be called on any thread.
  package func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    var one: UInt64 = 1
    _ = Glibc.write(wake.rawValue, &one, 8)
  }

  /// On the loop's thread. Calls `receive` for each message until the returned source is released.
  package func deliver(
    on loop: EventLoop, to receive: @escaping (Message) -> Void
  ) throws(Errno) -> EventSource {
    try loop.onReadable(wake.rawValue) { [self] in
      var count: UInt64 = 0
      _ = Glibc.read(wake.rawValue, &count, 8)
      let batch = messages.withLock { list in
        defer { list = [] }
        return list
      }
      for message in batch { receive(message) }
    }
  }
}
