// primed's log, and the recent answers that primed writes to it on request.

import ArgumentParser
import Bus
import Glibc
import Inspection
import Linux
import Placement

struct LogOptions: ParsableArguments {
  @Option(
    help: "primed's log, where it is a file and not in the journal.", completion: .file())
  var log: String?

  /// Empty if they can't be read, after a line that says why.
  func told(of client: BrokerClient) throws -> [Told] {
    let pid = try client.processID()
    let before = lists(in: lines()).count
    guard kill(pid, SIGUSR2) == 0 else {
      complain("primed's last answers are root's to read: without them")
      return []
    }
    for _ in 0..<Self.patience {
      if let list = lists(in: lines()).dropFirst(before).last, list.isWhole { return list.told }
      // Each call takes one turn of primed's loop, in which it also writes its log.
      _ = try client.brokerProperties()
    }
    complain(
      "primed's last answers are not in its log, so they are left out; is it in a file? --log FILE")
    return []
  }

  /// The number of turns after which to give up.
  private static let patience = 50

  /// The last lines, the oldest first, without those that contain a caller's bus name.
  func tail(_ count: Int) -> [String] {
    lines().filter { !$0.contains(" :1.") && Told(line: $0) == nil }
      .suffix(count).map { $0 }
  }

  private func lines() -> [String] {
    if let log {
      return ((try? readLongFile(log)) ?? "").split(separator: "\n").map { line in
        var line = String(line)
        for prefix in ["primed: ", "notice: "] where line.hasPrefix(prefix) {
          line.removeFirst(prefix.count)
        }
        return line
      }
    }
    _ = try? output(of: ["journalctl", "--sync"])
    let journal = try? output(of: [
      "journalctl", "--quiet", "--boot", "--identifier=primed", "--output=cat", "--lines=2000",
    ])
    return (journal ?? "").split(separator: "\n").map(String.init)
  }

  private func lists(in lines: [String]) -> [(told: [Told], isWhole: Bool)] {
    var lists: [(told: [Told], count: Int)] = []
    for line in lines {
      if line.hasPrefix(Told.headStart),
        let count = Int(line.split(separator: " ").last ?? "")
      {
        lists.append(([], count))
      } else if !lists.isEmpty, let told = Told(line: line) {
        lists[lists.count - 1].told.append(told)
      }
    }
    return lists.map { ($0.told, $0.told.count == $0.count) }
  }
}

/// Reads a file of any length.
private func readLongFile(_ path: String) throws -> String {
  let file = OwnedFD(try Errno.check(open(path, O_RDONLY | O_CLOEXEC)))
  return readAll(file.rawValue)
}

func readAll(_ fd: Int32) -> String {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65536)
  while true {
    let n = read(fd, &chunk, chunk.count)
    if n < 0 && errno == EINTR { continue }
    guard n > 0 else { return String(decoding: bytes, as: UTF8.self) }
    bytes += chunk.prefix(n)
  }
}
