// From worker threads back to the loop: values, not closures, so that nothing that the loop owns is
// ever touched by another thread.

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

  /// Any thread.
  package func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    var one: UInt64 = 1
    _ = Glibc.write(wake.rawValue, &one, 8)
  }

  /// Loop's thread. `receive` is called for each message until the returned source goes.
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
