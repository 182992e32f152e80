// sd-event: the one thread that owns all state sleeps here.

internal import CShims
internal import CSystemd
internal import Glibc

/// The daemon's loop. Every handler runs on the thread that calls `run`.
package final class EventLoop {
  /// For sd-bus to attach to; borrowed.
  package let raw: OpaquePointer

  package init() throws(Errno) {
    var event: OpaquePointer?
    try Errno.checkNegative(sd_event_new(&event))
    raw = event!
  }

  deinit { sd_event_unref(raw) }

  /// Runs until `exit`. Returns its code.
  package func run() throws(Errno) -> Int32 {
    try Errno.checkNegative(sd_event_loop(raw))
  }

  package func exit(_ code: Int32) { sd_event_exit(raw, code) }

  /// Pings systemd's watchdog, where the unit asks for one.
  package func keepWatchdogFed() { sd_event_set_watchdog(raw, 1) }

  /// Calls `handler` whenever `fd` is readable, until the returned source goes. Borrows `fd`. What is
  /// `first` is read to its end before anything else is done.
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

  /// Calls `handler` once after `delay` milliseconds, unless the returned source goes before.
  package func after(_ delay: UInt64, _ handler: @escaping () -> Void) throws(Errno) -> EventSource
  {
    let box = EventSource(handler)
    try Errno.checkNegative(
      sd_event_add_time_relative(
        raw, &box.raw, clockid_t(CLOCK_BOOTTIME), delay * 1000, 1000,
        { _, _, userdata in EventSource.fire(userdata) }, box.unretained))
    return box
  }

  /// Calls `handler` once, on the loop's next turn or `delay` milliseconds later, whatever happens.
  package func soon(after delay: UInt64 = 0, _ handler: @escaping () -> Void) {
    let box = EventSource(handler)
    let kept = Unmanaged.passRetained(box)
    let code = sd_event_add_time_relative(
      raw, &box.raw, clockid_t(CLOCK_BOOTTIME), delay * 1000, 1000,
      { _, _, userdata in
        Unmanaged<EventSource>.fromOpaque(userdata!).takeRetainedValue().handler()
        return 0
      }, kept.toOpaque())
    // Only without memory; then there is no going on.
    precondition(code >= 0, "sd_event_add_time_relative: \(Errno(-code))")
  }

  /// Calls `handler` for a signal, which is blocked here: call before any thread starts.
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

  fileprivate init(_ handler: @escaping () -> Void) { self.handler = handler }

  deinit { sd_event_source_disable_unref(raw) }

  fileprivate var unretained: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  /// The handler may drop the last reference to its own source. That ends it at once: an fd that is
  /// closed in the handler may be another's when it returns, and epoll would be told to forget that
  /// one. So it is the handler that is held here, and not the source.
  fileprivate static func fire(_ userdata: UnsafeMutableRawPointer?) -> Int32 {
    let handler = Unmanaged<EventSource>.fromOpaque(userdata!)._withUnsafeGuaranteedRef {
      $0.handler
    }
    handler()
    return 0
  }
}
