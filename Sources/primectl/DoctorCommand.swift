// primectl doctor: what is wrong on this machine, and what to do.

import ArgumentParser
import Inspection
internal import JSON

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Look for what is wrong with primed here, each with its mend.",
    discussion: """
      Looks at the bus and its policy, udevd, the user primed and the nodes it may open, polkit, the \
      kernel's version, type data and lockdown, the devices and their drivers. Changes nothing, wakes \
      nothing.

      Exits with 0 if nothing is wrong, 2 if primed works less well than it could (warnings), 1 if it does \
      not work, or not for all devices (problems).

      Examples:
        primectl doctor
        primectl doctor --all
        primectl doctor --json | jq '.[] | select(.level == "problem").mend'
      """)

  @Flag(help: "What is well, too.")
  var all = false
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let findings = Inspected(options).findings
    let shown = all ? findings : findings.filter { $0.level > .ok }
    if output.json {
      print(JSON.array(findings.map(\.json)).text)
    } else {
      printLines(Terminal.output.findings(shown))
      if findings.allSatisfy({ $0.level <= .note }) {
        let hasNotes = findings.contains { $0.level == .note }
        print(hasNotes ? "Nothing is wrong: a note is no fault." : "Nothing is wrong.")
      }
    }
    switch findings.map(\.level).max() {
    case .problem: throw ExitCode(1)
    case .warning: throw ExitCode(2)
    case .ok, .note, nil: return
    }
  }
}

extension Finding {
  var json: JSON {
    .object([("level", .string(level.word)), ("what", .string(what)), ("mend", .string(mend))])
  }
}
