// primectl pairs: the pair table with a user's own rows, or as primed has it now.

import ArgumentParser
import Bus
import Glibc
internal import JSON
import Linux
import Placement
import Simulation

struct PairsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pairs", abstract: "Show what is known of imports, by pair of drivers.",
    discussion: """
      On a kernel without the no-move flag this table alone permits an import. The first row that fits \
      holds; the rows of the file go before the built-in ones. primed reads them when it starts and \
      when it is reloaded. Exits with 1 if a line of the file can't be read.

      With --running, the table of the primed that runs: with what it measured on this machine, and \
      each row's origin (own, measured, table). A measured row permits nothing; one that says `moves` \
      forbids what a row of the table permits.

      Examples:
        primectl pairs
        primectl pairs --running
        primectl pairs mine && sudo install -Dm644 mine /etc/primed/pairs
        sudo systemctl reload primed
      """)

  @Argument(help: "Own rows; without it those of /etc/primed/pairs, if it is there.")
  var file: String?

  @Flag(help: "Show the table of the primed that runs.")
  var running = false

  @OptionGroup var options: BusOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if running && file != nil { throw ValidationError("--running takes no file") }
  }

  func run() throws { try running ? showRunning() : showFile() }

  private func showRunning() throws {
    guard case .rows(let rows) = try options.connect().brokerProperties()["Pairs"] else {
      throw CleanExit.failure("this primed shows no pair table: it is older than this primectl")
    }
    show(Self.head.dropLast() + ["ORIGIN", "SOURCE"], rows)
  }

  private func show(_ head: [String], _ rows: [[String]]) {
    if json {
      print(
        JSON.array(
          rows.map { .object(zip(head, $0).map { ($0.lowercased(), .string($1)) }) }
        ).text)
    } else {
      printTable([head] + rows, hasHead: true)
    }
  }

  private func showFile() throws {
    let path = file ?? ownPairsPath
    let (own, errors) = PairRow.parse(try text(of: path))
    show(Self.head, PairTable(own: own).rows.map { $0.words + [$0.source] })
    if !errors.isEmpty {
      let lines = errors.map { "\(path):\($0.line): \($0.reason)" }
      throw CleanExit.failure(lines.joined(separator: "\n"))
    }
  }

  private func text(of path: String) throws -> String {
    let read: (text: String, isWhole: Bool)
    do throws(Errno) { read = try readFile(path) } catch {
      if file == nil && error.code == ENOENT { return "" }
      throw CleanExit.failure("\(path) can't be read: \(error)")
    }
    guard read.isWhole else { throw CleanExit.failure("\(path) is longer than \(fileLimit) bytes") }
    return read.text
  }

  private static let head = ["EXPORTER", "IMPORTER", "ATTACH", "MAP", "USE", "KERNELS", "SOURCE"]
}
