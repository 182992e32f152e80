// Release guards: a device stays released for as long as any copy of the caller's fd is open.

internal import Bus
internal import CShims
internal import Glibc
internal import Linux

/// A pipe a guard: the caller holds the writing end, we see the hang-up of its last copy.
final class Guards {
  private final class Entry {
    let end: OwnedFD
    var source: EventSource?
    init(_ end: consuming OwnedFD) { self.end = end }

    /// What a caller writes into its guard says nothing; only the end of file does. One read a turn of
    /// the loop, so that a writer holds up nobody.
    func isClosed() -> Bool {
      withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) {
        read(end.rawValue, $0.baseAddress, $0.count) == 0
      }
    }
  }
  private let loop: EventLoop
  private var entries: [ObjectIdentifier: Entry] = [:]

  init(loop: EventLoop) { self.loop = loop }

  /// `onGone` is called once, when the last copy of the returned end is closed.
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
