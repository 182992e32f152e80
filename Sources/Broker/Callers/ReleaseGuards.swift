// Release guards: a device stays released while any copy of the caller's fd is open.

internal import Bus
internal import CShims
internal import Glibc
internal import Linux

/// A guard is a pipe: the caller holds the writing end; primed sees the hang-up when its last copy
/// is closed.
final class ReleaseGuards {
  private final class Entry {
    let end: OwnedFD
    var source: EventSource?
    init(_ end: consuming OwnedFD) { self.end = end }

    /// What the caller writes into the guard is ignored; only end of file counts. Reads once per
    /// turn of the loop, so that a caller that writes without pause blocks nothing.
    func isClosed() -> Bool {
      withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) {
        read(end.rawValue, $0.baseAddress, $0.count) == 0
      }
    }
  }
  private let loop: EventLoop
  private var entries: [ObjectIdentifier: Entry] = [:]

  init(loop: EventLoop) { self.loop = loop }

  /// Calls `onGone` once, when the last copy of the returned end is closed.
  func make(onGone: @escaping () -> Void) throws(Errno) -> OwnedGuard {
    var (reading, writing): (Int32, Int32) = (-1, -1)
    try Errno.check(primed_pipe(&reading, &writing))
    let hold = OwnedGuard(OwnedFD(writing))
    let entry = Entry(OwnedFD(reading))
    entry.source = try loop.onReadable(reading) { [unowned self, unowned entry] in
      guard entry.isClosed() else { return }
      entries[ObjectIdentifier(entry)] = nil
      onGone()
    }
    entries[ObjectIdentifier(entry)] = entry
    return hold
  }
}
