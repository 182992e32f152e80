// The command line: the root, which only names its subcommands. Each has a file of its own.

import ArgumentParser

@main
struct Primectl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "primectl",
    abstract: "Ask primed on which device a DMA-BUF should be used, and try out what it would say.",
    discussion: """
      Examples:
        primectl devices
        primectl place --device renderD129 --memory vram
        primectl scenario list
        primectl scenario run --all
        primectl scenario show hybrid-laptop > mine.json
        primectl scenario run --verbose mine.json
      """,
    version: "0.1.0",
    subcommands: [
      DevicesCommand.self, PlaceCommand.self, StatusCommand.self, MonitorCommand.self,
      ReleaseCommand.self, HoldersCommand.self, ScenarioCommand.self,
    ])
}
