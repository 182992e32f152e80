// `primectl scenario random`: random machines and days, and how good primed's answers are on them.

import ArgumentParser
internal import JSON
import Simulation

extension ScenarioCommand {
  struct Random: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Play random days on random machines and measure what primed's answers save.",
      discussion: """
        Each day is played for a compositor that imports each buffer where primed says, and for one that tries its \
        own device first and then all others; what moves then is counted by the simulated kernel. What must never \
        happen is looked for in every answer: exits 0 only if it never did.

        Examples:
          primectl scenario random --seed 1 --count 2000
          primectl scenario random --kernel plain --count 500 --causes 20
          primectl scenario random --seed 1 --count 500 --what regret --show 1 > case.json
          primectl scenario run --verbose case.json
        """)

    @Option(help: "Where the random numbers begin: the same seed plays the same days.")
    var seed: UInt64 = 1
    @Option(help: "How many days, for each kind of kernel.")
    var count = 1000
    @Option(help: "One kind of kernel alone: plain, introspection or flag.")
    var kernel: RandomKernel?
    @Flag(help: "Also work out what a chooser with the same evidence can reach at best.")
    var least = false
    @Option(help: "How many causes to list.")
    var causes = 12
    @Option(help: "Only offences whose kind or cause contains this.")
    var what = ""
    @Option(help: "Print the scenario of the offence with this number, from 1, and nothing else.")
    var show: Int?
    @Flag(help: "Print a JSON object: a table by kernel, and the causes.")
    var json = false

    func run() throws {
      let kernels = kernel.map { [$0] } ?? RandomKernel.allCases
      let sums = kernels.map { kernel in
        var sum = Measured()
        for day in 0..<UInt64(count) {
          Measure.day(seed &* 1_000_003 &+ day, kernel, least: least, into: &sum)
        }
        return (kernel, sum)
      }
      let offences = sums.flatMap(\.1.offences)
        .filter { what.isEmpty || $0.kind.rawValue == what || $0.cause.contains(what) }
      if let show { return try print(offences, show) }
      json ? printJSON(sums, offences) : printTable(sums, offences)
      guard offences.allSatisfy({ $0.kind == .regret }) else { throw ExitCode.failure }
    }

    private func print(_ offences: [Offence], _ number: Int) throws {
      guard offences.indices.contains(number - 1) else {
        throw CleanExit.failure("there are \(offences.count) offences")
      }
      Swift.print(offences[number - 1].scenario.text)
    }

    // MARK: the table

    private var columns: [String] {
      [
        "kernel", "days", "buffers", "naive moves", "primed moves", "ratio", "naive kept",
        "primed kept", "hangs", "regret %",
      ] + (least ? ["least ratio", "least regret %"] : [])
    }

    private func row(_ kernel: RandomKernel, _ sum: Measured) -> [String] {
      [
        kernel.rawValue, "\(sum.days)", "\(sum.buffers)", "\(sum.naiveMoves)", "\(sum.moves)",
        decimals(sum.ratio, 4), "\(sum.naiveKept)", "\(sum.kept)", "\(sum.count(.hang))",
        decimals(sum.regret, 2),
      ] + (least ? [decimals(sum.leastRatio, 4), decimals(sum.leastRegret, 2)] : [])
    }

    private func printTable(_ sums: [(RandomKernel, Measured)], _ offences: [Offence]) {
      let rows = [columns] + sums.map(row)
      let widths = columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
      for row in rows {
        let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
        Swift.print(cells.joined(separator: "  "))
      }
      for kind in Offence.Kind.allCases where kind != .regret {
        Swift.print("\(kind.rawValue): \(offences.count { $0.kind == kind })")
      }
      for cause in byCause(offences).prefix(causes) {
        Swift.print(
          "\(cause.count)  \(cause.first.kernel.rawValue) \(cause.first.kind.rawValue): "
            + "\(cause.first.cause)  [--show \(cause.number)]")
      }
    }

    /// The most frequent first; offences that must never occur before those that could be better.
    private func byCause(
      _ offences: [Offence]
    ) -> [(first: Offence, number: Int, count: Int)] {
      var causes: [String: (first: Offence, number: Int, count: Int)] = [:]
      for (index, offence) in offences.enumerated() {
        let key = "\(offence.kernel) \(offence.kind) \(offence.cause)"
        causes[key, default: (offence, index + 1, 0)].count += 1
      }
      return causes.values.sorted {
        let (a, b) = ($0.first.kind == .regret, $1.first.kind == .regret)
        return a != b ? b : ($1.count, $0.number) < ($0.count, $1.number)
      }
    }

    private func printJSON(_ sums: [(RandomKernel, Measured)], _ offences: [Offence]) {
      let table = sums.map { kernel, sum in
        JSON.object(
          zip(columns, row(kernel, sum)).enumerated().map { column, cell in
            (
              cell.0.replacing(" %", with: "").replacing(" ", with: "-"),
              column == 0 ? .string(cell.1) : .number(cell.1)
            )
          })
      }
      let never = Offence.Kind.allCases.filter { $0 != .regret }.map { kind in
        (kind.rawValue, JSON.number("\(offences.count { $0.kind == kind })"))
      }
      let causes = byCause(offences).prefix(causes).map { cause in
        JSON.object([
          ("count", .number("\(cause.count)")), ("kernel", .string(cause.first.kernel.rawValue)),
          ("kind", .string(cause.first.kind.rawValue)), ("cause", .string(cause.first.cause)),
          ("show", .number("\(cause.number)")),
        ])
      }
      Swift.print(
        JSON.object([
          ("table", .array(table)), ("never", .object(never)), ("causes", .array(causes)),
        ]).text)
    }
  }
}

extension RandomKernel: ExpressibleByArgument {}

/// Formats a number without Foundation.
private func decimals(_ value: Double, _ places: Int) -> String {
  let power = (0..<places).reduce(1) { power, _ in power * 10 }
  let scaled = Int((value * Double(power)).rounded())
  let rest = String(scaled % power)
  return "\(scaled / power)." + String(repeating: "0", count: places - rest.count) + rest
}
