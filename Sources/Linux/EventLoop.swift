// The daemon's main loop, over sd-event. Its thread owns all state.

internal import CShims
internal import CSystemd
internal import Glibc

/// The daemon's loop. Every handler runs on the thread that calls `run`.
package final class EventLoop {
  /// For sd-bus to attach to; borrowed.
  package let raw: OpaquePointer
  private var hasFailed = false

  package init() throws(Errno) {
    var event: OpaquePointer?
    try Errno.checkNegative(sd_event_new(&event))
    raw = event!
    // The first timer of a clock opens a timerfd. Later ones can fail for lack of memory only.
    _ = try after(.max / 2000) {}
  }

  deinit { sd_event_unref(raw) }

  /// Runs until `exit`. Returns its code.
  package func run() throws(Errno) -> Int32 {
    try Errno.checkNegative(sd_event_loop(raw))
  }

  package func exit(_ code: Int32) { sd_event_exit(raw, code) }

  /// Ends the daemon after an error that it can't recover from; the service manager starts it
  /// again.
  package func fail(_ reason: @autoclosure () -> String) {
    guard !hasFailed else { return }
    hasFailed = true
    Log.write(.err, "\(reason()); primed ends, to be started again")
    exit(1)
  }

  /// Calls `handler` whenever `fd` is readable, until the returned source is released. Borrows
  /// `fd`. A source that is `first` is handled before all others.
  package func onReadable(_ fd: Int32, first: Bool = false, _ handler: @escaping () -> Void)
    throws(Errno) -> EventSource
  {
    let box = EventSource(handler)
    try Errno.checkNegative(
      sd_event_add_io(
        raw, &box.raw, fd, UInt32(EPOLLIN.rawValue),
        { _, _, _, userdata in EventSource.fire(userdata) }, box.unretained))
    if first { sd_event_source_set_priority(box.raw, Int64(SD_EVENT_PRIORITY_IMPORTANT)) }
    return box
  }

  /// Calls `handler` once after `delay` milliseconds, unless the returned source is released
  /// before. Does not count the time in which the machine is suspended: drivers were suspended as
  /// well.
  package func after(_ delay: UInt64, _ handler: @escaping () -> Void) throws(Errno) -> EventSource
  {
    let box = EventSource(handler)
    try Errno.checkNegative(
      sd_event_add_time_relative(
        raw, &box.raw, clockid_t(CLOCK_MONOTONIC), delay * 1000, 1000,
        { _, _, userdata in EventSource.fire(userdata) }, box.unretained))
    return box
  }

  /// Calls `handler` once, on the loop's next turn or `delay` milliseconds later. It can't be
  /// cancelled.
  package func soon(after delay: UInt64 = 0, _ handler: @escaping () -> Void) {
    let box = EventSource(handler)
    let kept = Unmanaged.passRetained(box)
    let code = sd_event_add_time_relative(
      raw, &box.raw, clockid_t(CLOCK_MONOTONIC), delay * 1000, 1000,
      { _, _, userdata in
        Unmanaged<EventSource>.fromOpaque(userdata!).takeRetainedValue().handler()
        return 0
      }, kept.toOpaque())
    if code < 0 {
      kept.release()
      fail("a timer can't be made: \(Errno(-code))")
    }
  }

  /// After `again()` on the returned source, calls `handler` once no other source is pending, at
  /// the latest after `turns` turns of the loop.
  package func whenIdle(atLatestAfter turns: Int, _ handler: @escaping () -> Void) throws(Errno)
    -> EventSource
  {
    let box = EventSource(handler)
    box.patience = turns
    try Errno.checkNegative(
      sd_event_add_defer(
        raw, &box.raw, { _, userdata in EventSource.fireLate(userdata) }, box.unretained))
    sd_event_source_set_enabled(box.raw, Int32(SD_EVENT_OFF))
    sd_event_source_set_priority(box.raw, EventSource.late)
    try Errno.checkNegative(
      sd_event_source_set_prepare(box.raw) { _, userdata in EventSource.countTurn(userdata) })
    return box
  }

  /// Calls `handler` for a signal, which this blocks in the calling thread: call it before any
  /// thread starts.
  package func onSignal(_ signal: Int32, _ handler: @escaping () -> Void) throws(Errno)
    -> EventSource
  {
    primed_block_signal(signal)
    let box = EventSource(handler)
    try Errno.checkNegative(
      sd_event_add_signal(
        raw, &box.raw, signal, { _, _, userdata in EventSource.fire(userdata) }, box.unretained))
    return box
  }
}

/// Keeps a handler registered for as long as it lives.
package final class EventSource {
  fileprivate var raw: OpaquePointer?
  fileprivate let handler: () -> Void
  /// For sources made by `whenIdle`: after how many turns of the loop the handler is called at the
  /// latest, and how many there were since `again()`.
  fileprivate var patience = 0
  private var turns = 0

  fileprivate init(_ handler: @escaping () -> Void) { self.handler = handler }

  deinit { sd_event_source_disable_unref(raw) }

  /// For sources made by `whenIdle`.
  package func again() { sd_event_source_set_enabled(raw, Int32(SD_EVENT_ONESHOT)) }

  /// Lower than the priority of all other sources.
  fileprivate static let late = Int64(SD_EVENT_PRIORITY_NORMAL) + 1

  /// The source's prepare callback, which sd-event calls before each turn while it is enabled.
  fileprivate static func countTurn(_ userdata: UnsafeMutableRawPointer?) -> Int32 {
    Unmanaged<EventSource>.fromOpaque(userdata!)._withUnsafeGuaranteedRef { source in
      // Of sources with the same priority, a deferred one is dispatched before those of fds.
      if source.turns == source.patience {
        sd_event_source_set_priority(source.raw, Int64(SD_EVENT_PRIORITY_NORMAL))
      } else {
        source.turns += 1
      }
    }
    return 0
  }

  fileprivate static func fireLate(_ userdata: UnsafeMutableRawPointer?) -> Int32 {
    Unmanaged<EventSource>.fromOpaque(userdata!)._withUnsafeGuaranteedRef { source in
      if source.turns == source.patience { sd_event_source_set_priority(source.raw, late) }
      source.turns = 0
    }
    return fire(userdata)
  }

  fileprivate var unretained: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  /// The handler may drop the last reference to its own source, which must end at once: an fd that
  /// the handler closes may have been reused when it returns, and epoll would then remove the wrong
  /// one. Therefore the handler is retained here, not the source.
  fileprivate static func fire(_ userdata: UnsafeMutableRawPointer?) -> Int32 {
    let handler = Unmanaged<EventSource>.fromOpaque(userdata!)._withUnsafeGuaranteedRef {
      $0.handler
    }
    handler()
    return 0
  }
}
