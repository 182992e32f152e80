// The command line: the root, which only names its subcommands. Each has a file of its own.

import ArgumentParser
import Bus

@main
struct Primectl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "primectl",
    abstract: "Ask primed on which device a DMA-BUF should be used, and try out what it would say.",
    discussion: """
      Examples:
        primectl devices
        primectl place --device renderD129 --memory vram
        sudo primectl release renderD129 -- virsh start gaming
        primectl scenario run --verbose hybrid-laptop

      More are in the help of each subcommand, and in primectl(1).
      """,
    version: "primectl \(Names.version)",
    subcommands: [
      DevicesCommand.self, PlaceCommand.self, StatusCommand.self, MonitorCommand.self,
      ReleaseCommand.self, HoldersCommand.self, PairsCommand.self, ScenarioCommand.self,
    ])
}
