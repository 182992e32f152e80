// primectl guard: runs a program in which imports that would move a buffer fail. libprimed-guard.so
// does the work inside the program (Sources/CPrimedClient/guard).

import ArgumentParser
import Bus
import Glibc
import Linux

struct GuardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "guard",
    abstract: "Run a program in which imports that would move a buffer fail.",
    discussion: """
      PRIME imports with the no-move flag mean what its RFC says, on every kernel. With --all, \
      imports without it fail, too, where primed knows that they would move the buffer or hang; \
      what it does not know goes through as ever. With --log alone nothing else fails, and one \
      sees what moves. There is no --json: what is printed is the program's. See primed-guard(1).

      Examples:
        primectl guard --all --log -- weston
      """)

  @Flag(help: "Imports without the flag, too: for programs that nobody changed.")
  var all = false
  @Flag(help: "Print a line an import, and a table at the end, on standard error.")
  var log = false
  @OptionGroup var options: BusOptions
  @Argument(parsing: .postTerminator, help: "The program and its arguments.")
  var command: [String] = []

  func validate() throws {
    guard !command.isEmpty else { throw ValidationError("Say what to run, after --.") }
  }

  func run() throws {
    let library = try Self.library()
    prepend(library, to: "LD_PRELOAD")
    // The address sanitizer must be loaded first, but a preloaded library comes before it.
    prepend("verify_asan_link_order=0", to: "ASAN_OPTIONS")
    set("PRIMED_GUARD_ALL", all ? "1" : "")
    set("PRIMED_GUARD_LOG", log ? "1" : "")
    set("PRIMED_GUARD_BUS", try address())
    set("PRIMED_GUARD_FILTERED", Self.isFiltered ? "1" : "")
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    execvp(command[0], &arguments)
    throw CleanExit.failure("can't run \(command[0]): \(Errno(errno))")
  }

  /// For libprimed-guard.so, which takes only addresses; empty: the system bus.
  private func address() throws -> String {
    switch BusChoice(options.bus)! {
    case .system: return ""
    case .address(let address): return address
    case .session: break
    }
    // As sd_bus_open_user looks for it.
    if let address = getenv("DBUS_SESSION_BUS_ADDRESS") { return String(cString: address) }
    if let folder = getenv("XDG_RUNTIME_DIR") { return "unix:path=\(String(cString: folder))/bus" }
    throw CleanExit.failure("--bus session: there is none here; dbus-run-session starts one")
  }

  /// Whether this process, and so the program, starts under a system call filter, as in a
  /// container.
  private static var isFiltered: Bool {
    readText("/proc/self/status").split(separator: "\n").contains("Seccomp:\t2")
  }

  /// Beside primectl, as built, or where systemd/install and the package install it.
  private static func library() throws -> String {
    let name = "libprimed-guard.so"
    if let program = realpath("/proc/self/exe", nil) {
      defer { free(program) }
      let path = String(cString: program)
      let folder = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
      for place in ["", "../lib/primed/", "../lib64/primed/", "../lib/*/primed/"] {
        if let found = firstMatch("\(folder)/\(place)\(name)") { return found }
      }
    }
    throw CleanExit.failure(
      "there is no \(name): install libprimed-client0, or build it with systemd/build-client")
  }

  private static func firstMatch(_ pattern: String) -> String? {
    var found = glob_t()
    defer { globfree(&found) }
    guard glob(pattern, 0, nil, &found) == 0, let path = found.gl_pathv[0] else { return nil }
    return String(cString: path)
  }

  private func set(_ variable: String, _ value: String) {
    if value.isEmpty { unsetenv(variable) } else { setenv(variable, value, 1) }
  }

  private func prepend(_ word: String, to variable: String) {
    let before = getenv(variable).map { ":" + String(cString: $0) } ?? ""
    setenv(variable, word + before, 1)
  }
}
