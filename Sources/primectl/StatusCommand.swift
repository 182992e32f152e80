// primectl status: primed's state.

import ArgumentParser
import Bus
internal import JSON
import Placement
import Simulation

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show what primed knows, and from what.",
    discussion: """
      The counters are explained in org.primed.Broker1(5), Statistics.

      Examples:
        primectl status
        primectl status --json | jq .Statistics.hits
      """)

  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let client = try options.connect()
    let properties = try client.brokerProperties()
    if output.json { return print(JSON(properties).text) }
    let devices = try client.deviceInfos()
    let primary = devices.first { $0.flag(.primary) }
    printTable(
      [
        ["Version", properties["Version"]?.words ?? "-"], ["Devices", "\(devices.count)"],
        ["PrimaryDevice", primary.map { "\($0.node) (\($0.name))" } ?? "none"],
      ] + ["NoMove", "Evidence", "Generation"].map { [$0, properties[$0]?.words ?? "-"] }
        + counters(properties["Statistics"]))
  }

  private func counters(_ value: BusValue?) -> [[String]] {
    guard case .counters(let counters) = value else { return [] }
    return [["Statistics", ""]] + counters.map { ["  " + $0.name, "\($0.value)"] }
  }
}
