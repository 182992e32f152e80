// The daemon's log: to the journal with fields, or to stderr as plain lines.

internal import CSystemd
internal import Glibc
internal import Synchronization

/// syslog's levels, with systemd's names.
package enum LogLevel: Int32, CaseIterable, Sendable {
  case emerg, alert, crit, err, warning, notice, info, debug

  package var name: String {
    switch self {
    case .emerg: "emerg"
    case .alert: "alert"
    case .crit: "crit"
    case .err: "err"
    case .warning: "warning"
    case .notice: "notice"
    case .info: "info"
    case .debug: "debug"
    }
  }
  package init?(name: String) {
    guard let level = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = level
  }
}

/// Where lines go, with systemd's names of log targets.
package enum LogTarget: String, Sendable { case console, journal }

package enum Log {
  private static let threshold = Atomic(LogLevel.info.rawValue)
  private static let toJournal = Atomic(stderrIsJournal())

  package static var level: LogLevel {
    get { LogLevel(rawValue: threshold.load(ordering: .relaxed))! }
    set { threshold.store(newValue.rawValue, ordering: .relaxed) }
  }
  package static var target: LogTarget {
    get { toJournal.load(ordering: .relaxed) ? .journal : .console }
    set { toJournal.store(newValue == .journal, ordering: .relaxed) }
  }

  /// Whether lines of this level are written, for callers that do some work to make one.
  package static func writes(_ level: LogLevel) -> Bool {
    level.rawValue <= threshold.load(ordering: .relaxed)
  }

  /// One line. `fields` reach the journal as PRIMED_<NAME>=value.
  package static func write(
    _ level: LogLevel, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> [(name: StaticString, value: String)] = []
  ) {
    guard writes(level) else { return }
    if toJournal.load(ordering: .relaxed) {
      sendToJournal(
        ["MESSAGE=\(message())", "PRIORITY=\(level.rawValue)", "SYSLOG_IDENTIFIER=primed"]
          + fields().map { "PRIMED_\($0.name)=\($0.value)" })
    } else {
      let line = "primed: \(level == .info ? "" : level.name + ": ")\(message())\n"
      _ = Glibc.write(STDERR_FILENO, line, line.utf8.count)
    }
  }

  private static func sendToJournal(_ entries: [String]) {
    let copies = entries.map { strdup($0)! }
    defer { for copy in copies { free(copy) } }
    let vector = copies.map { iovec(iov_base: $0, iov_len: strlen($0)) }
    _ = sd_journal_sendv(vector, Int32(vector.count))
  }

  /// systemd sets JOURNAL_STREAM to the DEVICE:INODE of the stream that it connected to stderr.
  private static func stderrIsJournal() -> Bool {
    guard let stream = getenv("JOURNAL_STREAM") else { return false }
    var status = stat()
    guard fstat(2, &status) == 0 else { return false }
    return String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
  }
}
