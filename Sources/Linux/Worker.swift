// A thread that runs jobs which may block, one after the other.

internal import CShims
internal import Glibc
internal import Synchronization

/// Ends when `end` was called and its queue is empty. A job that never returns keeps its thread:
/// the caller must watch a deadline and submit no more jobs.
package final class Worker: Sendable {
  private struct Queue {
    var jobs: [@Sendable () -> Void] = []
    var ending = false
  }
  private let queue = Mutex(Queue())
  private let available: OwnedFD
  private let name: String

  /// Starts the thread, with all signals blocked: the loop's thread handles them.
  package init(name: String) throws(Errno) {
    self.name = String(name.prefix(15))
    available = OwnedFD(try Errno.check(primed_eventfd(true)))
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 256 * 1024)
    defer { pthread_attr_destroy(&attributes) }
    let me = Unmanaged.passRetained(self)
    let code = pthread_create(
      &thread, &attributes,
      { raw in
        Unmanaged<Worker>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, me.toOpaque())
    guard code == 0 else {
      me.release()
      throw Errno(code)
    }
  }

  package func submit(_ job: @escaping @Sendable () -> Void) {
    queue.withLock { $0.jobs.append(job) }
    signal()
  }

  /// The thread ends after the jobs that were submitted before.
  package func end() {
    queue.withLock { $0.ending = true }
    signal()
  }

  private func signal() {
    var one: UInt64 = 1
    _ = Glibc.write(available.rawValue, &one, 8)
  }

  private func run() {
    primed_name_thread(name)
    primed_block_signal(0)
    while true {
      var count: UInt64 = 0
      _ = Glibc.read(available.rawValue, &count, 8)
      let (job, ended) = queue.withLock { q in
        (q.jobs.isEmpty ? nil : q.jobs.removeFirst(), q.jobs.isEmpty && q.ending)
      }
      if let job { job() } else if ended { return }
    }
  }
}
