// The command line: the root command, which only names its subcommands. Each has its own file.

import ArgumentParser
import Bus
import Glibc
import Inspection

@main
struct Primectl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "primectl",
    abstract: "Ask primed on which device a DMA-BUF should be used, and try out what it would say.",
    discussion: """
      Examples:
        primectl
        primectl doctor
        primectl matrix
        primectl place --device renderD129 --memory vram
        primectl advise renderD129:capture renderD128:sample
        sudo primectl release renderD129 -- virsh start gaming
        primectl scenario run --verbose hybrid-laptop

      More are in the help of each subcommand, and in primectl(1).
      """,
    version: "primectl \(Names.version)",
    subcommands: [
      OverviewCommand.self, StatusCommand.self, DoctorCommand.self, DevicesCommand.self,
      MatrixCommand.self, TopologyCommand.self, PlaceCommand.self, ExplainCommand.self,
      AdviseCommand.self, MonitorCommand.self, ReleaseCommand.self, HoldersCommand.self,
      PairsCommand.self, CaptureCommand.self, ReportCommand.self, GuardCommand.self,
      ScenarioCommand.self, DemoCommand.self, BenchCommand.self,
    ], defaultSubcommand: OverviewCommand.self)

  /// A word that is no subcommand would be the default subcommand's argument, which takes none.
  static func main() {
    if let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-"),
      !commands.contains(word)
    {
      complain(unknown(word, among: commands.filter { $0 != "help" }))
      Glibc.exit(EX_USAGE)
    }
    main(nil)
  }

  private static var commands: [String] {
    configuration.subcommands.flatMap { command in
      [command.configuration.commandName ?? ""] + command.configuration.aliases
    } + ["help"]
  }
}

/// What to say of a word that is none of these: the one that is meant, or all.
func unknown(_ word: String, among words: [String]) -> String {
  if let near = nearest(to: word, among: words) {
    return "there is no command \(word); did you mean \(near)? primectl --help lists all"
  }
  return "there is no command \(word); there are: \(words.joined(separator: ", "))"
}
