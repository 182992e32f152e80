// The command line: the root command, which only names its subcommands. Each has its own file.

import ArgumentParser
import Bus

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
}
