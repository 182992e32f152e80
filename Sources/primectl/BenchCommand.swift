// primectl bench: how long an answer takes here, compared with any call over this bus.

import ArgumentParser
import Bus
import Glibc
internal import Inspection
internal import JSON
import Placement

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure how long primed's answers take on this machine.",
    discussion: """
      Asks about one buffer again and again, in turns with pings, and prints the median, the 99th of a \
      hundred and the fastest, in microseconds: what primed adds to a call over this bus. The first answer, for which \
      the buffer is looked at, is measured apart. It is an ordinary caller: other users' answers come in \
      between.

      Examples:
        primectl bench --device renderD128
        primectl bench --udmabuf --count 10000 --json | jq .place.median
      """)

  @OptionGroup var buffer: BufferOptions
  @Option(help: "How many questions, and pings.")
  var count = 2000
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (10...1_000_000).contains(count) else {
      throw ValidationError("--count \(count): from 10 to 1000000")
    }
  }

  func run() throws {
    let client = try options.connect()
    let figures = try buffer.withBuffer(client) { fds, hints in
      let first = try time { _ = try client.place(fds, hints) }
      var (places, pings) = ([Double](), [Double]())
      for _ in 0..<count {
        pings.append(try time { try client.ping() })
        places.append(try time { _ = try client.place(fds, hints) })
      }
      return (first: first, place: Figures(places), ping: Figures(pings))
    }
    output.json ? print(json(figures)) : show(figures)
  }

  /// Microseconds.
  private func time(_ body: () throws -> Void) rethrows -> Double {
    func now() -> Double {
      var now = timespec()
      clock_gettime(CLOCK_MONOTONIC, &now)
      return Double(now.tv_sec) * 1e6 + Double(now.tv_nsec) / 1e3
    }
    let start = now()
    try body()
    return now() - start
  }

  private func show(_ all: (first: Double, place: Figures, ping: Figures)) {
    let terminal = Terminal.output
    let head = ["", "MEDIAN", "99 OF 100", "FASTEST"].map { Cell($0, .strong) }
    printLines(
      terminal.table([
        head, [Cell("Place")] + all.place.cells, [Cell("Ping")] + all.ping.cells,
      ]))
    print("Microseconds, of \(count) calls each. The first answer took \(tenths(all.first)).")
    let ratio = all.place.median / all.ping.median
    print("An answer takes \(tenths(ratio)) times what a ping over this bus takes.")
  }

  private func json(_ all: (first: Double, place: Figures, ping: Figures)) -> String {
    JSON.object([
      ("unit", .string("us")), ("count", JSON(UInt64(count))),
      ("first", .number(tenths(all.first))),
      ("place", all.place.json), ("ping", all.ping.json),
    ]).text
  }
}

private struct Figures {
  var median: Double
  var tail: Double
  var least: Double

  init(_ times: [Double]) {
    let sorted = times.sorted()
    median = sorted[sorted.count / 2]
    tail = sorted[sorted.count * 99 / 100]
    least = sorted[0]
  }
  var cells: [Cell] { [median, tail, least].map { Cell(tenths($0)) } }
  var json: JSON {
    .object([
      ("median", .number(tenths(median))), ("p99", .number(tenths(tail))),
      ("least", .number(tenths(least))),
    ])
  }
}

private func tenths(_ value: Double) -> String {
  let tenths = Int((value * 10).rounded())
  return "\(tenths / 10).\(tenths % 10)"
}
