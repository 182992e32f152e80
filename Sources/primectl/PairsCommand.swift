// primectl pairs: the pair table, as it is in force with a user's own rows.

import ArgumentParser
import Glibc
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

      Examples:
        primectl pairs
        primectl pairs mine && sudo install -Dm644 mine /etc/primed/pairs
        sudo systemctl reload primed
      """)

  @Argument(help: "Own rows; without it those of /etc/primed/pairs, if it is there.")
  var file: String?

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let path = file ?? ownPairsPath
    let (own, errors) = PairRow.parse(try text(of: path))
    let rows = PairTable(own: own).rows
    if json {
      print(JSON.array(rows.map(Self.json)).text)
    } else {
      printTable([Self.head] + rows.map(Self.cells))
    }
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

  private static func cells(_ row: PairRow) -> [String] {
    [
      row.exporterName, row.importerName, row.attach.rawValue, row.map.rawValue, row.use.rawValue,
      row.kernels, row.source,
    ]
  }

  private static func json(_ row: PairRow) -> JSON {
    .object(zip(head, cells(row)).map { ($0.lowercased(), .string($1)) })
  }
}
