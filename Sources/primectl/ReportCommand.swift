// primectl report: everything for a bug report, on one page.

import ArgumentParser
import Bus
import Inspection
internal import JSON
import Placement
import Simulation

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Write a page for a bug report: all that primed knows here.",
    discussion: """
      One HTML file without scripts, which needs nothing else: what is wrong, the matrix, the topology, the \
      devices, what primed says of itself, its log's last lines, and this machine as `primectl capture` \
      writes it. No names, paths or pids of people are in it. With root, also what primed answered lately.

      Examples:
        sudo primectl report report.html
        primectl report report.html --simulate hybrid-laptop
      """)

  @Argument(help: "The file.", completion: .file(extensions: ["html"]))
  var file: String
  @OptionGroup var log: LogOptions
  @OptionGroup var options: MachineOptions
  @Flag(help: "Print a JSON object: the file, and the findings.")
  var json = false

  /// The number of log lines that are shown.
  private static let lines = 100

  func run() throws {
    let page = try options.simulate.map { ReportPage(simulating: try scenario($0)) } ?? running()
    try writeFile(page.html, to: file)
    if json {
      print(
        JSON.object([
          ("file", .string(file)), ("findings", .array(page.findings.map(\.json))),
        ]).text)
    } else {
      print("\(file) is written: please look through it before you send it.")
    }
  }

  private func running() throws -> ReportPage {
    let seen = Inspected(options.bus)
    guard let client = seen.client, var machine = seen.machine else {
      throw CleanExit.failure(seen.facts.silence ?? "primed does not answer")
    }
    let told = try log.told(of: client)
    let properties = try client.brokerProperties()
    let capture = Capture(machine, properties, told)
    machine.show(told)
    var rows: [(String, String)] = machine.isSimulated ? [] : [("Linux", seen.facts.release)]
    for (key, value) in properties.sorted(by: { $0.key < $1.key }) {
      if case .counters(let counters) = value {
        rows += counters.map { ($0.name, "\($0.value)") }
      } else if case .rows = value {
        continue
      } else if case .number(let number) = value, key == Names.Property.primaryDevice.rawValue {
        rows.append(
          (key, machine.table.slot(of: DeviceNumber(number)).map(machine.label) ?? "none"))
      } else {
        rows.append((key, value.words))
      }
    }
    rows += Diagnosis.missing(seen.facts).map { ("not by \($0.source)", $0.why) }
    return ReportPage(
      machine, findings: seen.findings, primed: rows, log: log.tail(Self.lines),
      scenario: capture.scenario.text)
  }
}

extension ReportPage {
  init(simulating scenario: Scenario) {
    self.init(
      Machine(simulating: scenario), findings: [], primed: [("simulated", scenario.name)], log: [],
      scenario: scenario.text)
  }
}
