// What the loader is for: one program, made for whoever is at the other end of a socket.

internal import CBPF
internal import Glibc

package enum Loader {
  private static func layouts(typesIn folder: String) throws(LoadError) -> Layouts {
    do throws(FormatError) { return try Layouts(from: TypeFolder(folder)) } catch {
      throw LoadError(description: "no layouts: \(error)")
    }
  }

  /// Loads it and looks at its first answers.
  private static func program(_ layouts: Layouts) throws(LoadError) -> LoadedProgram {
    let object: ProgramObject
    do throws(FormatError) { object = try ProgramObject(committedObject) } catch {
      throw LoadError.object(error)
    }
    do throws(LoadError) {
      let program = try LoadedProgram(object, layouts)
      try check(program)
      return program
    } catch {
      throw isLockedDown
        ? LoadError(description: "the kernel is locked down (confidentiality): \(error)") : error
    }
  }

  /// What can be asked without a DMA-BUF: a descriptor that is none, and one that isn't open. A
  /// DMA-BUF is for the one who gets the program: he has some.
  private static func check(_ program: borrowing LoadedProgram) throws(LoadError) {
    for (fd, expected) in [(STDIN_FILENO, DMABUF_NONE), (-1, DMABUF_NO_FD)] {
      var look = dmabuf_look()
      look.fd = fd
      guard primed_bpf_run(program.fd.rawValue, &look) == 0 else {
        throw LoadError("the program can't be run", errno)
      }
      guard look.status == expected.rawValue else {
        throw LoadError(
          description: "the program answers \(look.status) where \(expected.rawValue) is right")
      }
    }
  }

  /// Without one of them the kernel says no as well, but neither at once nor why: without
  /// CAP_PERFMON it goes through the program for seconds and finds fault with something else.
  private static func checkCapabilities() throws(LoadError) {
    let line = text("/proc/self", "status").split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let held = line.flatMap { UInt64($0.suffix(16), radix: 16) } ?? 0
    // linux/capability.h; CAP_SYS_ADMIN, 21, will do for both.
    let missing = [(38, "CAP_PERFMON"), (39, "CAP_BPF")].filter { held & (1 << $0.0) == 0 }.map(\.1)
    guard missing.isEmpty || held & (1 << 21) != 0 else {
      throw LoadError(
        description: "it may not load programs without \(missing.joined(separator: " and "))")
    }
  }

  /// The kernel says of this refusal no more than of others.
  private static var isLockedDown: Bool {
    text("/sys/kernel/security", "lockdown").contains("[confidentiality]")
  }

  private static func text(_ folder: String, _ file: String) -> String {
    String(decoding: TypeFolder(folder).read(file) ?? [], as: UTF8.self)
  }

  /// Tells `socket` of it and hands the program over: "ready DRIVER...", with its descriptor, or
  /// "failed REASON". One message, at most `messageSize` bytes.
  /// - Throws: where nobody takes it.
  package static func answer(_ socket: Int32, typesIn folder: String) throws(LoadError) {
    do throws(LoadError) {
      try checkCapabilities()
      let layouts = try layouts(typesIn: folder)
      for line in layouts.missing { log("4", "no layout of \(line)") }
      let program = try program(layouts)
      let words = ["ready"] + layouts.drivers.map(\.name)
      try send(socket, words.joined(separator: " "), program.fd.rawValue)
    } catch {
      // Who asked says it in the log; if there is nobody, we do.
      try send(socket, "failed \(error)", -1)
    }
  }

  private static func send(_ socket: Int32, _ text: String, _ fd: Int32) throws(LoadError) {
    let bytes = Array(text.utf8.prefix(messageSize))
    guard primed_send(socket, bytes, bytes.count, fd) == 0 else {
      throw LoadError("nobody takes the program", errno)
    }
  }

  package static let messageSize = 1024

  /// To the journal, with systemd's prefix for the level; or to who typed it.
  package static func log(_ level: StaticString, _ text: String) {
    let prefix = getenv("JOURNAL_STREAM") != nil ? "<\(level)>" : "primed-introspect: "
    let line = "\(prefix)\(text)\n"
    _ = write(STDERR_FILENO, line, line.utf8.count)
  }
}
