// The loader's job: loads one program and sends its descriptor over a socket.

internal import CBPF
internal import Glibc

package enum Loader {
  private static func layouts(typesIn folder: String) throws(LoadError) -> Layouts {
    do throws(FormatError) { return try Layouts(from: TypeFolder(folder)) } catch {
      throw LoadError(description: "no layouts: \(error)")
    }
  }

  /// Loads the program and checks its first answers.
  private static func program(
    _ layouts: Layouts, _ file: [UInt8]
  ) throws(LoadError) -> LoadedProgram {
    let object: ProgramObject
    do throws(FormatError) { object = try ProgramObject(file) } catch {
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

  /// Checks what can be checked without a DMA-BUF: a descriptor of another file, and one that isn't
  /// open. The daemon checks the program with DMA-BUFs.
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

  /// Without one of these capabilities the kernel refuses as well, but late and without the reason:
  /// without CAP_PERFMON it verifies the program for seconds and then reports another error.
  private static func checkCapabilities() throws(LoadError) {
    let line = text("/proc/self", "status").split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let held = line.flatMap { UInt64($0.suffix(16), radix: 16) } ?? 0
    // linux/capability.h; CAP_SYS_ADMIN (21) includes both.
    let missing = [(38, "CAP_PERFMON"), (39, "CAP_BPF")].filter { held & (1 << $0.0) == 0 }.map(\.1)
    guard missing.isEmpty || held & (1 << 21) != 0 else {
      throw LoadError(
        description: "it may not load programs without \(missing.joined(separator: " and "))")
    }
  }

  /// The kernel's error does not tell this refusal from others.
  private static var isLockedDown: Bool {
    text("/sys/kernel/security", "lockdown").contains("[confidentiality]")
  }

  private static func text(_ folder: String, _ file: String) -> String {
    String(decoding: TypeFolder(folder).read(file) ?? [], as: UTF8.self)
  }

  /// Sends one message of at most `messageSize` bytes to `socket`: "ready DRIVER..." with the
  /// program's descriptor, or "failed REASON". `path`: an object file of the program; nil: the
  /// embedded one.
  /// - Throws: if nobody receives it.
  package static func answer(
    _ socket: Int32, typesIn folder: String, program path: String?
  ) throws(LoadError) {
    do throws(LoadError) {
      try checkCapabilities()
      let layouts = try layouts(typesIn: folder)
      for line in layouts.missing { log("4", "layout of \(line)") }
      var file = committedObject
      if let path {
        guard let other = contents(of: path) else { throw LoadError(path, errno) }
        file = other
      }
      let program = try program(layouts, file)
      let words = ["ready"] + layouts.drivers.map(\.name)
      try send(socket, words.joined(separator: " "), program.fd.rawValue)
    } catch {
      // The daemon logs this; if nobody receives it, the loader does.
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

  /// To the journal with systemd's prefix for the level, or to the terminal.
  package static func log(_ level: StaticString, _ text: String) {
    let prefix = getenv("JOURNAL_STREAM") != nil ? "<\(level)>" : "primed-introspect: "
    let line = "\(prefix)\(text)\n"
    _ = write(STDERR_FILENO, line, line.utf8.count)
  }
}
