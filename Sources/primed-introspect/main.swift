// primed-introspect: loads the BPF program that tells primed of DMA-BUFs, hands it over, and ends.
//
// A process of its own, since it takes what the daemon must not have: CAP_BPF and CAP_PERFMON. It
// listens to nobody: systemd accepts the connection (primed-introspect.socket, which only the user
// primed may open) and starts it with that as its standard input; it reads nothing from there. What
// it hands over is the program's descriptor alone, with layouts that nobody can change any more.

import BPFLoader
import Glibc

/// As primed's; its rooms are not linked in for a word.
private let version = "0.1.0"

private let usage = """
  Usage: primed-introspect [--btf DIR]

  Loads the BPF program by which primed looks at DMA-BUFs without importing them, and
  sends its descriptor over the socket that is its standard input. Started by systemd
  through primed-introspect.socket; takes CAP_BPF and CAP_PERFMON.

    --btf DIR   where the kernel's type data is (default /sys/kernel/btf)
    --help      this text
    --version   the version

  See also: primed-introspect(8), primed(8)

  """

private func start(_ arguments: [String]) -> Int32 {
  var folder = "/sys/kernel/btf"
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
    default:
      let problem = argument == "--btf" ? "--btf needs a value" : "\(argument): unknown option"
      Loader.log("3", "\(problem); see primed-introspect --help")
      return 2
    }
  }
  do throws(LoadError) {
    try Loader.answer(STDIN_FILENO, typesIn: folder)
    return 0
  } catch {
    Loader.log("4", "\(error)")
    return 1
  }
}

exit(start(Array(CommandLine.arguments.dropFirst())))
