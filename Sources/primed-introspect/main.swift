// primed-introspect: loads the BPF program that reads DMA-BUFs for primed, hands it over, and
// exits.
//
// A separate process, since it needs what the daemon must not have: CAP_BPF and CAP_PERFMON. It
// accepts no connections and reads no input: systemd accepts the connection
// (primed-introspect.socket, which only the user primed may open) and starts this program with the
// connection as standard input. It hands over only the program's descriptor; the layouts in the
// program's maps can't be changed any more.

import BPFLoader
import Glibc

/// The same as primed's, whose rooms are not linked for a version number.
private let version = "0.1.0"

private let usage = """
  Usage: primed-introspect [--btf DIR] [--program FILE]

  Loads the BPF program by which primed looks at DMA-BUFs without importing them, and
  sends its descriptor over the socket that is its standard input. Started by systemd
  through primed-introspect.socket; takes CAP_BPF and CAP_PERFMON.

    --btf DIR       where the kernel's type data is (default /sys/kernel/btf)
    --program FILE  an object file of the program (default: the one that is built in)
    --help          this text
    --version       the version

  See also: primed-introspect(8), primed(8)

  """

private func start(_ arguments: [String]) -> Int32 {
  var folder = "/sys/kernel/btf"
  var program: String?
  var rest = arguments[...]
  while let argument = rest.popFirst() {
    switch argument {
    case "--help", "-h":
      print(usage, terminator: "")
      return 0
    case "--version":
      print("primed-introspect \(version)")
      return 0
    case "--btf" where !rest.isEmpty: folder = rest.removeFirst()
    case "--program" where !rest.isEmpty: program = rest.removeFirst()
    default:
      let isKnown = argument == "--btf" || argument == "--program"
      let problem = "\(argument)\(isKnown ? " needs a value" : ": unknown option")"
      Loader.log("3", "\(problem); see primed-introspect --help")
      return 2
    }
  }
  do throws(LoadError) {
    try Loader.answer(STDIN_FILENO, typesIn: folder, program: program)
    return 0
  } catch {
    Loader.log("4", "\(error)")
    return 1
  }
}

exit(start(Array(CommandLine.arguments.dropFirst())))
