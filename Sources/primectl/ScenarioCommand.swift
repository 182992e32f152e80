// `primectl scenario`: machines in files, played in-process on a virtual clock.

import ArgumentParser
import Placement
import Simulation

struct ScenarioCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scenario",
    abstract: "Play machines in files, without hardware and without the daemon.",
    subcommands: [Run.self, List.self, Show.self])
}

extension ScenarioCommand {
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Play scenarios and check what they expect.",
      discussion: """
        Each is a file, or the name of one that is built in. Prints a line a scenario, what did not \
        hold and what came instead. Exits 0 only if all of them hold.
        """)

    @Argument(help: ArgumentHelp("Files or names.", valueName: "file|name"))
    var scenarios: [String] = []
    @Flag(help: "All that are built in.")
    var all = false
    @Flag(name: .shortAndLong, help: "Print every answer and its reason.")
    var verbose = false

    func validate() throws {
      guard all || !scenarios.isEmpty else {
        throw ValidationError("Name a scenario, or say --all.")
      }
    }

    func run() throws {
      let names = (all ? Scenario.builtInNames : []) + scenarios
      let passed = names.count { play($0) }
      print("\(passed) passed, \(names.count - passed) failed")
      if passed < names.count { throw ExitCode.failure }
    }

    private func play(_ name: String) -> Bool {
      let scenario: Scenario
      do throws(ScenarioError) {
        scenario = try Scenario(named: name)
      } catch {
        print("failed \(name)\n  \(error)")
        return false
      }
      let player = ScenarioPlayer(scenario)
      var answers: [String] = []
      if verbose { player.onAnswer = { answers.append($0.words(in: scenario)) } }
      let failures = player.play()
      print("\(failures.isEmpty ? "passed" : "failed") \(name): \(scenario.name)")
      for line in answers + failures.map(\.description) { print("  \(line)") }
      return failures.isEmpty
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Name the scenarios that are built in.")

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
      abstract: "Print the file of a scenario that is built in.")

    @Argument(help: "Its name.")
    var name: String

    func run() throws {
      guard let text = Scenario.builtInText(name) else {
        throw ValidationError("No built-in scenario is called \(name); see primectl scenario list.")
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
