// primectl without a subcommand: an overview on one page.

import ArgumentParser
import Bus
import Inspection
internal import JSON
import Placement

struct OverviewCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "overview",
    abstract: "Show primed and the devices on a page; the same without a word.",
    discussion: """
      The daemon, what it knows from, the devices, how many answers came at once, what was refused, and \
      warnings, each with its mend.

      Examples:
        primectl
        primectl overview --json | jq .findings
      """)

  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let seen = Inspected(options)
    guard let client = seen.client, let machine = seen.machine else {
      throw CleanExit.failure(seen.facts.silence ?? "primed does not answer")
    }
    let properties = try client.brokerProperties()
    if output.json {
      return print(
        JSON.object([
          ("primed", JSON(properties)), ("machine", machine.topologyJSON),
          ("findings", .array(seen.findings.map(\.json))),
        ]).text)
    }
    printLines(page(seen.facts, machine, properties["Statistics"]))
    let wrong = seen.findings.filter { $0.level >= .note }
    if !wrong.isEmpty {
      print()
      printLines(Terminal.output.findings(wrong))
    }
  }

  private func page(
    _ facts: SystemFacts, _ machine: Machine, _ statistics: BusValue?
  ) -> [String] {
    let terminal = Terminal.output
    let head: [[Cell]] = [
      [Cell("primed", .strong), Cell("\(facts.daemonVersion), on \(bus)")],
      [Cell("machine", .strong), Cell(machine.title)],
      [Cell("NO_MOVE", .strong), Cell(words(facts.noMove))],
      [Cell("knows by", .strong), Cell(facts.evidence.joined(separator: ", "))],
    ]
    // While that is not known, the line NO_MOVE says so.
    let isUnknown = facts.noMove == .unknown
    let missing = Diagnosis.missing(facts).filter {
      !isUnknown || $0.source != "no-move-import"
    }.map {
      [Cell("", nil), Cell("not by \($0.source): \($0.why)", .faint)]
    }
    return terminal.table(
      head + missing + counters(statistics, facts).map { [Cell($0.0, .strong), Cell($0.1)] }) + [""]
      + machine.tree(terminal)
  }

  private var bus: String {
    ["system", "session"].contains(options.bus) ? "the \(options.bus) bus" : "a bus of its own"
  }

  private func words(_ noMove: NoMove) -> String {
    switch noMove {
    case .honoured: "this kernel heeds the no-move flag: primed asks by it"
    case .ignored: "this kernel ignores the no-move flag: primed imports only what can't move"
    case .unknown: "not known yet: it is found out at the first question that needs it"
    }
  }

  private func counters(_ value: BusValue?, _ facts: SystemFacts) -> [(String, String)] {
    guard case .counters(let list)? = value else { return [] }
    let counters = Dictionary(list.map { ($0.name, $0.value) }) { first, _ in first }
    guard let queries = counters["queries"] else {
      let own = list.map { "\($0.value) \($0.name)" }.joined(separator: ", ")
      return [("yours", own + "; all of it is root's to see")]
    }
    let hits = counters["hits"] ?? 0
    let rate = queries == 0 ? "" : ", \(hits * 100 / queries) % answered at once"
    let refused = counters["refused-calls"] ?? 0
    return [
      (
        "asked",
        "\(counted(queries, "time"))\(rate); \(counted(counters["looks"] ?? 0, "look")) at buffers"
      ),
      (
        "refused",
        refused == 0
          ? "nothing"
          : "\(counted(refused, "call")); \(facts.log) names who made \(refused == 1 ? "it" : "them")"
      ),
    ]
  }
}
