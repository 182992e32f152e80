// Programs that a command runs to read their output.

import Glibc
import Linux

/// The program is killed when this object is released before it has ended.
final class Child {
  let pid: pid_t
  /// Its standard output.
  let reading: OwnedFD

  /// - Parameters:
  ///   - quiet: its standard error is dropped.
  ///   - withErrors: its standard error is read as well.
  /// - Throws: if it can't be started.
  init(_ words: [String], quiet: Bool = false, withErrors: Bool = false) throws {
    var ends: [Int32] = [0, 0]
    try Errno.check(pipe(&ends))
    reading = OwnedFD(ends[0])
    let writing = OwnedFD(ends[1])
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, writing.rawValue, STDOUT_FILENO)
    if withErrors {
      posix_spawn_file_actions_adddup2(&actions, writing.rawValue, STDERR_FILENO)
    }
    if quiet {
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
    }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, words[0], &actions, nil, &arguments, environ)
    guard code == 0 else { throw Errno(code) }
    pid = child
  }

  deinit {
    kill(pid, SIGTERM)
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
  }

  /// nil: the output has ended without a complete line.
  func readLine() -> String? {
    var bytes: [UInt8] = []
    var byte: UInt8 = 0
    while read(reading.rawValue, &byte, 1) == 1 {
      if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
      bytes.append(byte)
    }
    return nil
  }
}

func output(of words: [String]) throws -> String {
  let child = try Child(words, quiet: true)
  return readAll(child.reading.rawValue)
}
