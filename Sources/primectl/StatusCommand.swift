// primectl status: how primed is doing.

import ArgumentParser
import Bus
import Simulation

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show what primed knows, and from what.")

  @OptionGroup var options: BusOptions

  func run() throws {
    let properties = try options.connect().brokerProperties()
    if options.json { return print(JSON(properties).text) }
    var rows: [[String]] = []
    for key in ["Version", "NoMove", "Evidence", "Generation"] {
      rows.append([key, words(properties[key])])
    }
    if case .counters(let counters) = properties["Statistics"] {
      rows += counters.map { ["  " + $0.name, "\($0.value)"] }
    }
    printTable(rows)
  }

  private func words(_ value: BusValue?) -> String {
    switch value {
    case .string(let text): text
    case .strings(let list): list.joined(separator: ", ")
    case .number(let number): "\(number)"
    default: "-"
    }
  }
}
