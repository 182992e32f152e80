// primectl capture: this machine as a scenario, with primed's recent answers.

import ArgumentParser
import Bus
import Inspection
internal import JSON
import Linux
import Placement
import Simulation

struct CaptureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture", abstract: "Write this machine as a scenario, for a bug report.",
    discussion: """
      Its devices, what they reach of each other, and as steps what primed was asked in the last minutes, \
      at most \(RecentAnswers.limit) questions, with what it answered, and what happened to devices: \
      they came, went, slept, were released. No names, paths or pids of people are in it; a device is its \
      driver and a number. A buffer whose exporter primed did not know is one of the first device that may \
      have exported it. That is said in the file, as is what the simulation answers otherwise than this \
      machine, which is not expected, so that `primectl scenario run FILE` passes.

      The answers are root's to read: primed writes them to its log when it gets SIGUSR2, which this \
      command sends. Without root, the devices alone are written.

      Examples:
        sudo primectl capture mine.json && primectl scenario run --verbose mine.json
        primectl capture - | less
      """)

  @Argument(help: "The file; - for standard output.", completion: .file(extensions: ["json"]))
  var file: String
  @OptionGroup var log: LogOptions
  @OptionGroup var options: BusOptions
  @Flag(help: "Print a JSON object on what was written: devices, buffers, steps, notes.")
  var json = false

  func run() throws {
    let client = try options.connect()
    let told = try log.told(of: client)
    let capture = Capture(
      try Machine(asking: client), try client.brokerProperties(), told)
    let text = capture.scenario.text + "\n"
    if file == "-" {
      print(text, terminator: "")
    } else {
      try writeFile(text, to: file)
    }
    let counts = [
      ("devices", capture.scenario.devices.count), ("buffers", capture.scenario.buffers.count),
      ("steps", capture.scenario.steps.count),
    ]
    if json && file != "-" {
      print(
        JSON.object(
          counts.map { ($0.0, JSON(UInt64($0.1))) } + [
            ("notes", .array(capture.notes.map { .string($0) }))
          ]
        ).text)
    } else if file != "-" {
      for note in capture.notes { printLines(Terminal.output.fold(note)) }
    }
  }
}

extension Capture {
  /// - Parameter properties: primed's.
  init(_ machine: Machine, _ properties: [String: BusValue], _ told: [Told]) {
    var noMove = NoMove.unknown
    if case .string(let word)? = properties[Names.Property.noMove.rawValue] {
      noMove = NoMove.allCases.first { $0.word == word } ?? .unknown
    }
    var hasIntrospection = false
    if case .strings(let list)? = properties[Names.Property.evidence.rawValue] {
      hasIntrospection = list.contains("introspection")
    }
    self.init(machine, noMove: noMove, introspection: hasIntrospection, told: told)
  }
}
