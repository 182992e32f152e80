// The player: the example that the format was made for, every built-in scenario, and wrong
// expectations, which must fail.

import Foundation
import JSON
import Placement
import Simulation
import Testing

/// All of the format's features, in one machine.
private let example = #"""
  { "name": "hybrid laptop, evicted buffer",
    "kernel": { "noMove": "honoured", "introspection": false },
    "devices": [
      { "id": "igpu", "driver": "i915", "card": 1, "render": 128, "dedicated": 0, "bootVGA": true,
        "connectors": ["eDP-1"] },
      { "id": "dgpu", "driver": "amdgpu", "card": 0, "render": 129, "dedicated": 8589934592,
        "power": "active", "connectors": ["HDMI-A-1"] } ],
    "reaches": [ ["igpu", "dgpu", "system"] ],
    "buffers": [
      { "id": "b0", "exporter": "dgpu", "home": "dedicated", "residency": "system",
        "format": "XR24", "modifier": "0x0200000000000001", "client": 4242 } ],
    "steps": [
      { "place": "b0", "hints": { "primary-device": "igpu" },
        "expect": { "device": "dgpu", "access": "native", "moves": 0 } },
      { "migrate": "b0", "to": "dedicated" },
      { "advance": "5s" },
      { "place": ["b0"], "expect": { "confidence": "stable", "wakes": 0 } },
      { "unplug": "dgpu" }, { "plug": "dgpu" }, { "suspend": "dgpu" }, { "resume": "dgpu" },
      { "release": "dgpu" }, { "unrelease": "dgpu" }, { "hang": "dgpu" } ] }
  """#

@Suite struct PlayerTests {
  @Test func theExampleOfTheContract() throws {
    #expect(ScenarioPlayer.play(try Scenario(json: Array(example.utf8))) == [])
  }

  /// (what is expected instead, the path of the failure, what came)
  @Test(arguments: [
    (#""device": "dgpu""#, #""device": "igpu""#, "$.steps[0].expect.device", "igpu", "dgpu"),
    (#""device": "dgpu""#, #""device": null"#, "$.steps[0].expect.device", "no device", "dgpu"),
    (
      #""access": "native""#, #""access": "in-place""#, "$.steps[0].expect.access", "in-place",
      "native"
    ),
    (#""moves": 0"#, #""moves": 1"#, "$.steps[0].expect.moves", "1", "0"),
    (#""moves": 0"#, #""masters": 2"#, "$.steps[0].expect.masters", "2", "0"),
    (#""moves": 0"#, #""held": 3"#, "$.steps[0].expect.held", "3", "0"),
    (#""moves": 0"#, #""cached": true"#, "$.steps[0].expect.cached", "true", "false"),
    (
      #""moves": 0"#, #""rule": "fallback""#, "$.steps[0].expect.rule", "fallback", "home-dedicated"
    ),
    (#""wakes": 0"#, #""wakes": 1"#, "$.steps[3].expect.wakes", "1", "0"),
    (
      #""device": "dgpu", "access": "native", "moves": 0"#, #""error": "Released""#, "$.steps[0]",
      "Released", "an answer"
    ),
    (
      #"{ "release": "dgpu" }"#, #"{ "release": "dgpu", "expect": { "error": "UnknownDevice" } }"#,
      "$.steps[8]", "UnknownDevice", "a release"
    ),
    (
      #"{ "unrelease": "dgpu" }"#, #"{ "release": "dgpu" }"#, "$.steps[9]", "a release", "Released"
    ),
  ])
  func aWrongExpectationIsReported(
    _ right: String, _ wrong: String, _ path: String, _ expected: String, _ got: String
  ) throws {
    try #require(example.contains(right))
    let text = example.replacing(right, with: wrong, maxReplacements: 1)
    let failures = ScenarioPlayer.play(try Scenario(json: Array(text.utf8)))
    #expect(failures.count == 1)
    let failure = try #require(failures.first)
    #expect(failure.path == path && failure.expected == expected && failure.got == got)
  }

  @Test func confidenceIsAFloor() throws {
    let scenario = { (floor: String) in
      try hybrid(
        reaches: "",
        steps: #"{ "place": "u", "expect": { "confidence": "\#(floor)" } }"#)
    }
    #expect(ScenarioPlayer.play(try scenario("guess")) == [])
    let failures = ScenarioPlayer.play(try scenario("intent"))
    #expect(failures.map(\.expected) == ["at least intent"])
    #expect(failures.first?.reason.isEmpty == false)
  }

  /// Without any expectation: an answer that names a device that hangs fails every scenario.
  @Test func adviceToHangIsAlwaysAFailure() throws {
    let scenario = try hybrid(
      noMove: "honoured", exporter: "nvidia-drm", reaches: #"["i", "d", "hangs"]"#,
      steps:
        #"{ "place": "b", "hints": { "sampling-device": "i" } }, { "release": "d" }, { "place": "b" }"#
    )
    let got = ScenarioPlayer.play(scenario).map(\.got)
    #expect(got.allSatisfy { $0 == "i, which hangs" })
  }

  private func answers(_ steps: String) throws -> (failures: [String], devices: [Int?]) {
    let player = ScenarioPlayer(
      try hybrid(noMove: "honoured", reaches: #"["i", "d", "system"]"#, steps: steps))
    var devices: [Int?] = []
    player.onAnswer = { devices.append($0.device) }
    return (player.play().map(\.description), devices)
  }

  @Test func defaultsHoldUntilPrimedRestarts() throws {
    let ask = #"{ "place": "u" }"#
    let told = try answers(
      #"\#(ask), { "defaults": { "primary-device": "i" } }, \#(ask), { "restart": true }, \#(ask)"#)
    #expect(told.devices == [1, 0, 1] && told.failures == [])
  }

  @Test func aRestartForgets() throws {
    let steps = #"""
      { "place": "b" }, { "place": "b", "expect": { "cached": true } }, { "restart": true },
      { "place": "b", "expect": { "cached": false, "moves": 0, "held": 0 } }
      """#
    #expect(try answers(steps).failures == [])
  }

  /// The expectations are wrong on purpose.
  @Test func whatIsExpectedOfVerdictsAndChangesIsLookedAt() throws {
    let steps = #"""
      { "place": "b", "expect": { "verdicts": { "i": ["native"] }, "recheck": true } },
      { "advance": "1s", "expect": { "changed": ["b"] } },
      { "advise": [["d"]], "expect": { "error": "UnknownDevice" } }
      """#
    let failures = try answers(steps).failures
    for path in [
      "$.steps[0].expect.verdicts.i", "$.steps[0].expect.recheck", "$.steps[1].expect.changed",
      "$.steps[2]",
    ] {
      #expect(failures.contains { $0.hasPrefix("\(path): expected") }, "\(path) of \(failures)")
    }
  }

  @Test func whoWatchesSeesEveryAnswer() throws {
    let player = ScenarioPlayer(try Scenario(json: Array(example.utf8)))
    var steps: [Int] = []
    player.onAnswer = { steps.append($0.step) }
    _ = player.play()
    #expect(steps == [0, 3])
  }

  @Test(arguments: Scenario.builtInNames)
  func builtIn(_ name: String) throws {
    let scenario = try Scenario(named: name)
    #expect(ScenarioPlayer.play(scenario).map(\.description) == [])
    #expect(scenario.source?.isEmpty == false && scenario.about?.isEmpty == false)
    let last = try #require(scenario.steps.last).expect
    #expect(last.moves != nil && last.wakes != nil && last.masters != nil && last.held != nil)
  }

  @Test func everyFileIsBuiltInAndNamed() throws {
    let tests = URL(filePath: #filePath).deletingLastPathComponent()
    let directory = tests.appending(path: "../../Sources/Simulation/Scenarios")
    let files = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    #expect(files == Scenario.builtInNames.map { $0 + ".json" }.sorted())
    for name in Scenario.builtInNames {
      let text = try Data(contentsOf: directory.appending(path: name + ".json"))
      #expect(Scenario.builtInText(name).map { Data($0) } == text)
    }
    #expect(files.count >= 40)
  }

  @Test func whatIsWrittenCanBeRead() throws {
    let values: [JSON] = [
      .null, .bool(true), .number("-1.5e3"), .string("a\"b\\c\n\u{1}é😀"),
      .array([.object([("k", .string(""))])]), .object([]),
    ]
    for value in values { #expect(try JSON(Array(value.text.utf8)) == value) }
  }
}

@Suite struct DamageTests {
  /// Every damaged file is read or refused; nothing traps.
  @Test func aDamagedFileIsReadOrRefused() {
    let text = Array(example.utf8)
    var refused = 0
    for at in stride(from: 0, to: text.count, by: 3) {
      for damage in [nil, UInt8(ascii: "\""), UInt8(ascii: "9"), UInt8(ascii: "]"), 0x80] {
        var damaged = text
        if let damage { damaged[at] = damage } else { damaged.remove(at: at) }
        do {
          _ = try Scenario(json: damaged)
        } catch {
          refused += 1
          #expect(!error.description.isEmpty)
        }
      }
      #expect(throws: ScenarioError.self) { try Scenario(json: text.prefix(at)) }
    }
    #expect(refused > text.count / 3)
  }
}
