// The command line; all options are checked before anything starts.

import Broker
import Bus
import Glibc
import Linux

private let usage = """
  Usage: primed [OPTION...]

  Tells Wayland compositors on which DRM device a client's DMA-BUF should be used.
  Started by systemd; asked over D-Bus as \(Names.bus).

    --bus BUS         system (default), session, or a D-Bus address
    --simulate WHAT   a machine in a scenario file, or a built-in scenario's name,
                      in place of this machine
    --cache N         buffers to remember, 64 to 1048576 (default 16384)
    --pairs FILE      own rows of the pair table (default /etc/primed/pairs;
                      none with --simulate)
    --log-level L     emerg, alert, crit, err, warning, notice, info (default), debug
    --help            this text
    --version         the version

  Examples:
    primed --bus session --simulate hybrid-laptop
    busctl --user introspect org.primed.Broker1 /org/primed/Broker1

  See also: primed(8), primectl(1), org.primed.Broker1(5)

  """

/// What the command line asks for.
private enum Command {
  case run(DaemonOptions)
  case print(String)
  case refuse(String)
}

private func parse(_ arguments: [String]) -> Command {
  var options = DaemonOptions()
  var rest = arguments[...]
  while let argument = rest.popFirst() {
    if argument == "--help" || argument == "-h" { return .print(usage) }
    if argument == "--version" { return .print("primed \(primedVersion)\n") }
    let (option, attached) = split(argument)
    guard ["--bus", "--simulate", "--cache", "--pairs", "--log-level"].contains(option) else {
      return .refuse("\(argument): unknown option")
    }
    guard let value = attached ?? rest.popFirst() else { return .refuse("\(option) needs a value") }
    if let problem = set(option, value, in: &options) { return .refuse(problem) }
  }
  return .run(options)
}

/// Splits `--option=value`.
private func split(_ argument: String) -> (String, String?) {
  guard let at = argument.firstIndex(of: "=") else { return (argument, nil) }
  return (String(argument[..<at]), String(argument[argument.index(after: at)...]))
}

/// Returns what is wrong with the value; nil: nothing.
private func set(_ option: String, _ value: String, in options: inout DaemonOptions) -> String? {
  switch option {
  case "--bus":
    guard let bus = BusChoice(value) else {
      return "--bus \(value): give system, session or a D-Bus address"
    }
    options.bus = bus
  case "--simulate": options.simulate = value
  case "--pairs": options.pairs = value
  case "--cache":
    guard let count = Int(value), (64...1_048_576).contains(count) else {
      return "--cache \(value): give a number from 64 to 1048576"
    }
    options.cachedBuffers = count
  default:
    guard let level = LogLevel(name: value) else {
      return "--log-level \(value): one of "
        + LogLevel.allCases.map(\.name).joined(separator: ", ")
    }
    Log.level = level
  }
  return nil
}

/// The whole program. Returns the exit code: 2 for a bad command line, 1 for a later failure.
func start(_ arguments: [String]) -> Int32 {
  switch parse(arguments) {
  case .print(let text):
    print(text, terminator: "")
    return 0
  case .refuse(let problem):
    Log.write(.err, "\(problem); see primed --help")
    return 2
  case .run(let options):
    do throws(StartError) {
      return try Daemon(options).run()
    } catch {
      Log.write(.err, error.description)
      return 1
    }
  }
}
