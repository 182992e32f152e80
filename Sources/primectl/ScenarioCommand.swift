// `primectl scenario`: scenario files, played in-process on a virtual clock.

import ArgumentParser
internal import JSON
import Linux
import Placement
import Simulation

struct ScenarioCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scenario",
    abstract: "Play machines in files, without hardware and without the daemon.",
    discussion: """
      Their format is described in primed-scenario(5).

      Examples:
        primectl scenario list
        primectl scenario run --all
        primectl scenario show hybrid-laptop > mine.json
        primectl scenario run --verbose mine.json
      """,
    subcommands: [Run.self, List.self, Show.self, Random.self])
}

extension ScenarioCommand {
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Play scenarios and check what they expect.",
      discussion: """
        Each is a file, or the name of one that is built in. Prints a line a scenario, what did not \
        hold and what came instead. Exits 0 only if all of them hold.

        Examples:
          primectl scenario run --all
          primectl scenario run --verbose hybrid-laptop
          primectl scenario run --json mine.json | jq '.[].failures'
        """)

    @Argument(
      help: ArgumentHelp("Files or names.", valueName: "file|name"),
      completion: .custom { _, _, _ in
        Scenario.builtInNames + namesIn(".").filter { $0.hasSuffix(".json") }
      })
    var scenarios: [String] = []
    @Flag(help: "All that are built in.")
    var all = false
    @Flag(name: .shortAndLong, help: "Print every answer and its reason.")
    var verbose = false
    @Flag(help: "Print a JSON array of objects: name, title, answers, failures, error.")
    var json = false

    func validate() throws {
      guard all || !scenarios.isEmpty else {
        throw ValidationError("Name a scenario, or say --all.")
      }
    }

    func run() throws {
      let played = ((all ? Scenario.builtInNames : []) + scenarios).map(Played.init)
      if json {
        print(JSON.array(played.map(\.json)).text)
      } else {
        for one in played { one.show(answers: verbose) }
        let passed = played.count { $0.passed }
        print("\(passed) passed, \(played.count - passed) failed")
      }
      guard played.allSatisfy(\.passed) else { throw ExitCode.failure }
    }
  }

  /// A scenario that was played, or could not be read.
  private struct Played {
    let name: String
    var title: String?
    var answers: [String] = []
    var failures: [ScenarioFailure] = []
    var error: String?
    var passed: Bool { failures.isEmpty && error == nil }

    init(_ name: String) {
      self.name = name
      do throws(ScenarioError) {
        let scenario = try Scenario(named: name)
        let player = ScenarioPlayer(scenario)
        var answers: [String] = []
        player.onAnswer = { answers.append($0.words(in: scenario)) }
        failures = player.play()
        (title, self.answers) = (scenario.name, answers)
      } catch { self.error = "\(error)" }
    }

    func show(answers shown: Bool) {
      print("\(passed ? "passed" : "failed") \(name)\(title.map { ": \($0)" } ?? "")")
      let lines = (shown ? answers : []) + failures.map(\.description) + (error.map { [$0] } ?? [])
      for line in lines { print("  \(line)") }
    }

    var json: JSON {
      .object([
        ("name", .string(name)), ("title", title.map(JSON.string) ?? .null),
        ("passed", .bool(passed)), ("answers", .array(answers.map(JSON.string))),
        ("failures", .array(failures.map(json))), ("error", error.map(JSON.string) ?? .null),
      ])
    }

    private func json(_ failure: ScenarioFailure) -> JSON {
      .object([
        ("path", .string(failure.path)), ("expected", .string(failure.expected)),
        ("got", .string(failure.got)), ("reason", .string(failure.reason)),
      ])
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Name the scenarios that are built in.",
      discussion: """
        Examples:
          primectl scenario list
          primectl scenario list --json | jq '.[] | {name, source}'
        """)

    @Flag(help: "As a JSON array of objects: name, title, about, source.")
    var json = false

    func run() throws {
      let scenarios = try Scenario.builtInNames.map { ($0, try Scenario(named: $0)) }
      json ? printObjects(scenarios) : printColumns(scenarios)
    }

    private func printColumns(_ scenarios: [(String, Scenario)]) {
      let width = scenarios.map(\.0.count).max() ?? 0
      for (name, scenario) in scenarios {
        print(name + String(repeating: " ", count: width - name.count + 2) + scenario.name)
      }
    }

    private func printObjects(_ scenarios: [(String, Scenario)]) {
      let objects = scenarios.map { name, scenario in
        JSON.object([
          ("name", .string(name)), ("title", .string(scenario.name)),
          ("about", scenario.about.map(JSON.string) ?? .null),
          ("source", scenario.source.map(JSON.string) ?? .null),
        ])
      }
      print(JSON.array(objects).text)
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the file of a scenario that is built in.",
      discussion: """
        It is JSON, so there is no --json.

        Examples:
          primectl scenario show hybrid-laptop > mine.json
          primectl scenario show egpu-pulled | jq .buffers
        """)

    @Argument(help: "Its name.", completion: .custom { _, _, _ in Scenario.builtInNames })
    var name: String

    func run() throws {
      guard let text = Scenario.builtInText(name) else {
        throw CleanExit.failure(
          "\(name): no built-in scenario; `primectl scenario list` names them")
      }
      print(String(decoding: text, as: UTF8.self), terminator: "")
    }
  }
}

extension ScenarioAnswer {
  /// `step 2: dgpu, native, stable, cached: why`.
  fileprivate func words(in scenario: Scenario) -> String {
    let place = device.map { scenario.devices[$0].id } ?? "no device"
    let cached = answer.cached ? ", cached" : ""
    return "step \(step): \(place), \(answer.access.word), \(answer.confidence.word)\(cached): "
      + explanation.reason
  }
}
