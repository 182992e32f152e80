// What a scenario file may contain, and the errors for other files.

import JSON
import Placement
import Simulation
import Testing

/// A valid machine; each case makes one thing invalid.
private let machine = #"""
  { "name": "n",
    "kernel": { "noMove": "honoured", "introspection": true },
    "devices": [
      { "id": "i", "driver": "i915", "card": 1, "render": 128 },
      { "id": "d", "driver": "amdgpu", "render": 129, "dedicated": 1024, "power": "active" },
      { "id": "k", "driver": "apple", "card": 2, "export": false } ],
    "reaches": [ ["i", "d", "system"] ],
    "buffers": [
      { "id": "b", "exporter": "d", "home": "dedicated", "residency": "system", "planes": 2 },
      { "id": "u", "exporter": null, "home": "system", "residency": "system" } ],
    "steps": [
      { "place": "b", "hints": { "usage": ["sample"] }, "expect": { "device": "d", "moves": 0 } },
      { "migrate": "b", "to": "dedicated" },
      { "advance": "5s" } ] }
  """#

private func decode(_ text: String) throws(ScenarioError) -> Scenario {
  try Scenario(json: Array(text.utf8))
}

@Suite struct DecoderTests {
  @Test func aSoundMachine() throws {
    let scenario = try decode(machine)
    #expect(scenario.kernel.noMove == .honoured)
    #expect(scenario.devices.map(\.id) == ["i", "d", "k"])
    #expect(scenario.devices[1].number == DeviceNumber(major: 226, minor: 129))
    #expect(scenario.reaches == [Reach(importer: 0, exporter: 1, how: .system)])
    #expect(scenario.reaches[0].how == .system)
    #expect(scenario.buffers[1].exporter == nil)
    #expect(scenario.steps.count == 3)
  }

  @Test func whatIsLeftOutHasItsDefault() throws {
    let scenario = try decode(
      #"{ "name": "n", "devices": [ { "id": "a", "driver": "xe", "card": 0 } ] }"#)
    let device = scenario.devices[0]
    #expect(scenario.kernel.noMove == .ignored)
    #expect(!scenario.kernel.introspection)
    #expect(device.dedicated == 0 && device.power == .active && device.role == .render)
    #expect(device.imports && device.exports && !device.bootVGA && device.connectors.isEmpty)
    #expect(device.render == nil)
    #expect(scenario.steps.isEmpty)
  }

  @Test func hintsAreFilledFromTheBuffer() throws {
    let text = machine.replacing(
      #""planes": 2"#, with: #""format": "XR24", "modifier": "0x0200000000000001", "client": 7"#)
    guard case .place(let question) = try decode(text).steps[0].action else {
      Issue.record("not a place")
      return
    }
    #expect(question.hints.format == 0x3432_5258)
    #expect(question.hints.modifier == 0x0200_0000_0000_0001)
    #expect(question.hints.clientPID == 7)
    #expect(question.hints.usage == .sample)
  }

  @Test func everyWordOfTheFormat() throws {
    let scenario = try decode(
      #"""
      { "name": "n", "kernel": { "version": "6.1" },
        "devices": [
          { "id": "a", "driver": "amdgpu", "card": 0, "render": 128, "dedicated": 1024,
            "integrated": true, "bootDisplay": true, "openable": false,
            "importTime": "25ms" },
          { "id": "e", "driver": "evdi", "card": 1, "present": false },
          { "id": "v", "driver": "intel_vpu", "accel": 0 } ],
        "reaches": [ ["e", null, "system"] ],
        "buffers": [
          { "id": "f", "exporter": null, "name": "vfio", "home": "system", "residency": "system" } ],
        "steps": [
          { "defaults": { "primary-device": "a", "candidates": ["a", "e"], "verdicts": true } },
          { "advise": [["a", "capture"], ["e", "sample", "scanout"], ["v"]],
            "hints": { "format": "XR24" },
            "expect": { "places": [["a", "system", ["native", "in-place", "unknown"]]] } },
          { "reset": "a" }, { "restart": true },
          { "place": "f", "hints": { "candidates": [], "fresh": false },
            "expect": { "verdicts": { "a": ["in-place", "sample"], "e": ["unreachable"] },
              "home": null, "recheck": false, "changed": ["f"] } } ] }
      """#)
    #expect(scenario.kernel.version == KernelVersion(6, 1))
    #expect(scenario.devices[0].integrated && scenario.devices[0].bootDisplay)
    #expect(!scenario.devices[0].openable && !scenario.devices[1].present)
    #expect(scenario.devices[0].importTime == 25 && scenario.devices[1].importTime == 0)
    #expect(scenario.devices[1].integrated && scenario.devices[2].accel == 0)
    #expect(scenario.devices[2].cardNumber == nil && scenario.devices[2].renderNumber == nil)
    #expect(scenario.reaches == [Reach(importer: 1, exporter: nil, how: .system)])
    #expect(scenario.buffers[0].name == "vfio")
    guard case .defaults(let defaults) = scenario.steps[0].action,
      case .advise(let users, let hints) = scenario.steps[1].action,
      case .place(let question) = scenario.steps[4].action
    else {
      Issue.record("other steps")
      return
    }
    #expect(defaults.given == [.primaryDevice, .candidates, .verdicts])
    #expect(defaults.candidates?.count == 2)
    #expect(users.map(\.usage) == [.capture, [.sample, .scanout], []])
    #expect(hints.given == [.format])
    #expect(scenario.steps[1].expect.places?.first?.accesses == [.native, .inPlace, .unknown])
    #expect(question.hints.candidates?.count == 0 && question.hints.layoutChecked)
    #expect(question.hints.given == [.candidates, .fresh, .verdicts])
    let expect = scenario.steps[4].expect
    #expect(expect.verdicts?.map(\.access) == [.inPlace, .unreachable])
    #expect(expect.home == .some(nil) && expect.recheck == false && expect.changed == [0])
    #expect(try decode(scenario.text).text == scenario.text)
  }

  /// (what to replace, by what, the path of the error, words of it)
  @Test(arguments: [
    (
      #""power": "active""#, #""power": "sleepy""#, "$.devices[1].power",
      #""sleepy" is none of active, suspended"#
    ),
    (
      #""noMove": "honoured""#, #""noMove": "maybe""#, "$.kernel.noMove",
      "none of ignored, honoured, validated"
    ),
    (
      #""introspection": true"#, #""introspection": 1"#, "$.kernel.introspection",
      "1, not true or false"
    ),
    (#""name": "n""#, #""name": "n", "nmae": "m""#, "$", #"unknown key "nmae""#),
    (#""name": "n","#, "", "$", #"lacks "name""#),
    (#""card": 1"#, #""card": 64"#, "$.devices[0].card", "from 0 to 63"),
    (#""render": 128"#, #""render": 127"#, "$.devices[0].render", "from 128 to 191"),
    (#""render": 128"#, #""render": 128.5"#, "$.devices[0].render", "whole number"),
    (#""dedicated": 1024"#, #""dedicated": -1"#, "$.devices[1].dedicated", "whole number"),
    (#""dedicated": 1024"#, #""dedicated": "1024""#, "$.devices[1].dedicated", "not a number"),
    (#""render": 129"#, #""render": 128"#, "$.devices[1]", #""i" has the same node"#),
    (
      #""id": "d", "driver""#, #""id": "i", "driver""#, "$.devices[1]",
      #"another device has the id "i""#
    ),
    (#""id": "d", "driver""#, #""id": "d.1", "driver""#, "$.devices[1].id", "an id is"),
    (#""render": 129, "#, "", "$.devices[1]", "a card node, a render node or both"),
    (#""power": "active""#, #""connectors": ["DP-1"]"#, "$.devices[1]", "need a card node"),
    (#""power": "active""#, #""display": "k""#, "$.devices[1].display", "role split"),
    (
      #""power": "active""#, #""role": "split", "display": "d""#, "$.devices[1].display",
      "another device"
    ),
    (
      #""power": "active""#, #""role": "split", "display": "z""#, "$.devices[1].display",
      #"no device has the id "z""#
    ),
    (#"["i", "d", "system"]"#, #"["i", "d"]"#, "$.reaches[0]", "not [importer, exporter, memory]"),
    (
      #"["i", "d", "system"]"#, #"["i", "z", "system"]"#, "$.reaches[0][1]",
      #"no device has the id "z""#
    ),
    (
      #"["i", "d", "system"]"#, #"["i", "d", "swap"]"#, "$.reaches[0][2]",
      "none of dedicated, system, hangs"
    ),
    (#"["i", "d", "system"]"#, #"["d", "d", "system"]"#, "$.reaches[0]", "always reaches its own"),
    (
      #"["i", "d", "system"]"#, #"["d", "i", "dedicated"]"#, "$.reaches[0][2]",
      "no dedicated memory"
    ),
    (
      #"["i", "d", "system"]"#, #"["i", "d", "system"], ["i", "d", "system"]"#, "$.reaches[1]",
      "again"
    ),
    (#""id": "u""#, #""id": "b""#, "$.buffers[1]", #"another buffer has the id "b""#),
    (#""exporter": "d""#, #""exporter": "k""#, "$.buffers[0].exporter", "exports nothing"),
    (#""exporter": "d""#, #""exporter": "i""#, "$.buffers[0].home", "no dedicated memory"),
    (
      #""exporter": null, "home": "system""#, #""exporter": null, "home": "dedicated""#,
      "$.buffers[1].home", "of no device"
    ),
    (
      #""home": "dedicated""#, #""home": "unknown""#, "$.buffers[0].home",
      "none of dedicated, system"
    ),
    (#""planes": 2"#, #""planes": 5"#, "$.buffers[0].planes", "from 1 to 4"),
    (#""planes": 2"#, #""format": "RGB""#, "$.buffers[0].format", "four characters"),
    (#""planes": 2"#, #""modifier": "12""#, "$.buffers[0].modifier", "not a modifier"),
    (#""planes": 2"#, #""client": 0"#, "$.buffers[0].client", "from 1 to"),
    (#""place": "b""#, #""place": "z""#, "$.steps[0].place", #"no buffer has the id "z""#),
    (#""place": "b""#, #""place": []"#, "$.steps[0].place", "0 planes"),
    (#""place": "b""#, #""place": ["b", "b", "u"]"#, "$.steps[0].place", "5 planes"),
    (
      #""usage": ["sample"]"#, #""usage": ["peek"]"#, "$.steps[0].hints.usage[0]",
      "none of sample, scanout, capture"
    ),
    (
      #""usage": ["sample"]"#, #""primary-device": "z""#, "$.steps[0].hints.primary-device",
      "no device"
    ),
    (#""usage": ["sample"]"#, #""primary": "d""#, "$.steps[0].hints", #"unknown key "primary""#),
    (#""device": "d""#, #""device": "z""#, "$.steps[0].expect.device", "no device"),
    (
      #""device": "d""#, #""access": "good""#, "$.steps[0].expect.access", "none of unknown, native"
    ),
    (
      #""device": "d""#, #""confidence": "sure""#, "$.steps[0].expect.confidence",
      "none of guess, state"
    ),
    (
      #""device": "d""#, #""device": "d", "error": "Released""#, "$.steps[0].expect",
      "an answer and an error"
    ),
    (
      #""device": "d""#, #""rule": "home-sweet-home""#, "$.steps[0].expect.rule",
      "none of declared, scanout-target, home-dedicated"
    ),
    (#""device": "d""#, #""error": "Oops""#, "$.steps[0].expect.error", "none of"),
    (#""moves": 0"#, #""moves": null"#, "$.steps[0].expect.moves", "null, not a number"),
    (#""migrate": "b", "to": "dedicated""#, #""migrate": "b""#, "$.steps[1]", #"lacks "to""#),
    (#""migrate": "b""#, #""migrate": "u""#, "$.steps[1].to", "of no device"),
    (#""advance": "5s""#, #""advance": "5 s""#, "$.steps[2].advance", "no duration"),
    (#""advance": "5s""#, #""advance": "5s", "to": "system""#, "$.steps[2].to", "only a migrate"),
    (#""advance": "5s""#, #""advance": "5s", "unplug": "d""#, "$.steps[2]", "several things"),
    (
      #""advance": "5s""#, #""advance": "5s", "expect": { "access": "native" }"#,
      "$.steps[2].expect", "unknown key"
    ),
    (#"{ "advance": "5s" }"#, "{}", "$.steps[2]", "does nothing"),
    (
      #""introspection": true"#, #""version": "6.x""#, "$.kernel.version", "no kernel version like"
    ),
    (#""card": 2"#, #""card": 2, "accel": 0"#, "$.devices[2]", "or else accel"),
    (
      #""card": 2"#, #""card": 2, "importTime": "500ms""#, "$.devices[2].importTime",
      "not less than 500ms"
    ),
    (
      #""advance": "5s""#, #""advise": [["d", "peek"]]"#, "$.steps[2].advise[0][1]",
      "none of sample, scanout, capture"
    ),
    (#""advance": "5s""#, #""advise": []"#, "$.steps[2].advise", "0 users"),
    (#""advance": "5s""#, #""restart": false"#, "$.steps[2].restart", "can be true"),
    (
      #""advance": "5s""#, #""defaults": { "candidates": ["z"] }"#,
      "$.steps[2].defaults.candidates[0]", "no device"
    ),
    (
      #""device": "d""#, #""verdicts": { "z": ["native"] }"#, "$.steps[0].expect.verdicts",
      "unknown key"
    ),
    (
      #""device": "d""#, #""verdicts": { "d": [] }"#, "$.steps[0].expect.verdicts.d", "no access"
    ),
    (#""device": "d""#, #""places": []"#, "$.steps[0].expect", "unknown key"),
    (#""device": "d""#, #""changed": ["z"]"#, "$.steps[0].expect.changed[0]", "no buffer"),
    (#"{ "advance": "5s" }"#, "[]", "$.steps[2]", "an array, not an object"),
  ])
  func errorsNameThePath(_ old: String, _ new: String, _ path: String, _ words: String) throws {
    try #require(machine.contains(old))
    let error = #expect(throws: ScenarioError.self) {
      try decode(machine.replacing(old, with: new, maxReplacements: 1))
    }
    guard case .content(let at, let problem) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(at == path)
    #expect(problem.contains(words), "\(problem)")
  }

  @Test func syntaxErrorsNameTheLine() {
    let error = #expect(throws: ScenarioError.self) { try decode("{\n  \"name\": nope }") }
    #expect(error?.description == "line 2, column 11: no JSON value starts like this")
  }
}
