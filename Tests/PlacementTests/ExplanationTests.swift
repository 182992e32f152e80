// The text that explains an answer.

import Testing

@testable import Placement

@Suite struct ExplanationTests {
  private let laptop = Machine.laptop()

  private func explain(
    _ planes: BufferFacts..., hints edit: (inout Hints) -> Void = { _ in }
  ) -> Explanation {
    var hints = Hints()
    edit(&hints)
    return Explainer.explain(planes, hints, among: laptop.table)
  }

  private var own: BufferFacts {
    laptop.facts(
      laptop.look(reached: ["dgpu"], wouldMove: ["igpu"], records: ["dgpu": .dedicated]))
  }

  @Test func theWholeStory() {
    let text = explain(own)
    #expect(text.rule == "home-dedicated")
    #expect(text.node == "/dev/dri/renderD129")
    #expect(text.home == laptop.number("dgpu"))
    #expect(text.homeMemory == .dedicated)
    #expect(text.residency == .dedicated)
    #expect(
      text.reason
        == "The buffer belongs in the dedicated memory of amdgpu (/dev/dri/renderD129), "
        + "which exported it.")
    #expect(
      text.evidence == [
        "exporter, by its driver's record: amdgpu (/dev/dri/renderD129)",
        "reached at every look: amdgpu (/dev/dri/renderD129)",
        "would have moved it: i915 (/dev/dri/renderD128)",
        "belongs in dedicated memory",
        "lay in dedicated memory when last seen",
      ])
    #expect(
      text.devices == [
        .init(device: laptop.number("igpu"), access: .moves, why: "an import would move it"),
        .init(device: laptop.number("dgpu"), access: .native, why: "exported it"),
      ])
  }

  @Test(arguments: [(Memory.dedicated, true), (.system, false)])
  func aPeerThatUsesItWhereItLies(residency: Memory, told: Bool) {
    let look = laptop.look(
      introspection: laptop.introspection(
        "dgpu", residency: residency, preferred: .dedicated, attached: 2, peers: 1))
    let lines = explain(laptop.facts(look)).evidence
    let line = "lay in dedicated memory when last seen, used there by an importer, peer to peer"
    #expect(lines.contains(line) == told, "\(lines)")
  }

  /// Rule 8 names no device, nor does a machine without devices.
  @Test func everyRuleHasASentenceThatNamesTheDevice() {
    for rule in Rule.allCases {
      let namesNone = rule == .noDevice || rule == .noCandidate
      for access in Access.allCases {
        let sentence = rule.sentence("this one", access)
        #expect(sentence.contains("this one") != namesNone, "\(rule)")
        #expect(sentence.hasSuffix("."), "\(rule)")
      }
    }
    #expect(Set(Rule.allCases.map { "\($0.name)" }).count == Rule.allCases.count)
  }

  @Test func whyEachDeviceIsOut() {
    var laptop = laptop
    let edits: [(String, (inout DeviceEntry) -> Void)] = [
      ("released", { $0.state = .released }),
      ("its driver does not answer", { $0.state = .unresponsive }),
      ("ignored by configuration", { $0.description.ignored = true }),
      ("can't import", { $0.description.imports = false }),
      ("imports its own buffers only", { $0.importsSeen = false }),
      ("software only", { $0.description.role = .software }),
    ]
    for (i, (_, edit)) in edits.enumerated() { laptop.add("x\(i)", "nouveau", edit) }
    let facts = laptop.facts(laptop.look())
    let text = Explainer.explain(
      [facts], Hints(), among: laptop.table)
    for (i, (why, _)) in edits.enumerated() {
      #expect(text.devices.first { $0.device == laptop.number("x\(i)") }?.why == why)
    }
  }

  @Test func whyADeviceWasNotAsked() {
    var machine = laptop
    machine.add("sleeper", "amdgpu") { $0.description.power = .suspended }
    machine.add("panel", "amdgpu") { $0.description.render = nil }
    func why(_ id: String, _ facts: BufferFacts, wake: Bool = false) -> String? {
      var hints = Hints()
      hints.wake = wake
      let text = Explainer.explain(
        [facts], hints, among: machine.table)
      return text.devices.first { $0.device == machine.number(id) }?.why
    }
    let unknown = machine.facts(machine.look())
    #expect(why("igpu", unknown) == "not asked: that could have moved it")
    #expect(why("sleeper", unknown) == "not asked: it sleeps")
    #expect(why("sleeper", unknown, wake: true) == "not asked: that could have moved it")
    #expect(why("panel", unknown) == "not asked: it has no render node")

    machine.add("arc", "xe") { $0.description.power = .suspended }
    var look = machine.look()
    look.introspection = machine.introspection("arc", residency: .system, preferred: .unknown)
    #expect(why("igpu", machine.facts(look)) == "not asked: that would wake the exporter")
  }

  @Test func importersAreCountedForPeopleOnly() {
    let looks = [UInt8?.none, 0, 2].map { count in
      var look = laptop.look()
      look.introspection = laptop.introspection(
        "dgpu", residency: .dedicated, preferred: .dedicated, attached: count)
      return laptop.facts(look)
    }
    #expect(looks.map { explain($0).attachments } == [nil, 0, 2])
    #expect(looks[1].decidesAs(looks[2]))
    #expect(
      looks[2].seed(safeOn: laptop.table.ready, at: 0).map { explain($0).attachments == nil }
        == true)
  }

  @Test func contradictionsAreTold() {
    let look = laptop.look(
      name: .named("udmabuf"), reached: ["dgpu"], records: ["dgpu": .dedicated])
    #expect(
      explain(laptop.facts(look)).evidence.contains("exporter: sources contradict each other"))
  }

  @Test func planesAreToldApart() {
    let text = explain(own, laptop.facts(laptop.look(name: .named("i915"))))
    #expect(text.evidence.contains("plane 0: belongs in dedicated memory"))
    #expect(
      text.evidence.contains("plane 1: exporter, by its name in fdinfo: i915 (/dev/dri/renderD128)")
    )
    #expect(text.home == nil)
  }

  @Test func hintsThatNameNothingAndModifiersAreTold() {
    let text = explain(own) {
      $0.targetDevice = DeviceNumber(major: 226, minor: 77)
      $0.modifier = 0x02 << 56 | 1
    }
    #expect(text.evidence.contains("target-device 226:77 names no known device: ignored"))
    #expect(text.evidence.contains("modifier of the hardware of amdgpu (/dev/dri/renderD129)"))
  }
}
