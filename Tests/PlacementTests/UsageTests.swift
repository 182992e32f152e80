// The usage of a buffer: rules 3, 5 and 7, capture, implicit layouts, and the verdicts' bits.

import Testing

@testable import Placement

@Suite struct UsageTests {
  private func udmabuf(_ machine: Machine, reached: [String]) -> BufferFacts {
    machine.facts(machine.look(name: .named("udmabuf"), reached: reached))
  }

  // MARK: 3. Scan-out

  @Test(
    arguments: [
      ("amdgpu", true, true), ("amdgpu", false, false), ("amdgpu", nil, false),
      ("i915", true, true), ("i915", false, false), ("xe", true, true), ("xe", false, false),
      ("radeon", true, false), ("radeon", false, false), ("nvidia-drm", false, false),
      ("nouveau", false, false), ("vc4", true, true), ("msm", nil, true), ("udl", nil, true),
      ("evdi", nil, true), ("vkms", nil, true), ("never-heard-of", true, false),
    ] as [(String, Bool?, Bool)])
  func whoScansOutWhatOthersExported(driver: String, integrated: Bool?, does: Bool) {
    var machine = Machine()
    machine.add("target", driver) {
      $0.description.integrated = integrated
      $0.description.connectors = ["HDMI-A-1"]
    }
    machine.add("other", "virtio_gpu")
    let facts = udmabuf(machine, reached: ["target", "other"])
    let scanout: (inout Hints) -> Void = {
      $0.targetDevice = machine.number("target")
      $0.usage = .scanout
    }
    let decision = machine.decide(facts, hints: scanout)
    // Rule 5 prefers a target that can do what is asked. A driver that nobody knows may have
    // exported it, whatever its name.
    let isTarget = does || driver == "never-heard-of"
    #expect(machine.name(decision.device) == (isTarget ? "target" : "other"))
    #expect((decision.rule == .scanoutTarget) == does)
    let verdicts = machine.verdicts(facts, hints: scanout)
    #expect(verdicts.abilities(of: machine["target"]).contains(.scanout) == does)
    #expect(verdicts.access(of: machine["target"]) == .inPlace, "scan-out takes no access away")
  }

  @Test(arguments: ["amdgpu", "radeon", "nvidia-drm", "nouveau"])
  func everyoneScansOutItsOwn(driver: String) {
    let laptop = Machine.laptop(driver)
    let facts = laptop.facts(
      laptop.look(
        reached: ["dgpu"],
        introspection: laptop.introspection("dgpu", residency: .dedicated, preferred: .dedicated)))
    let decision = laptop.decide(facts) {
      $0.targetDevice = laptop.number("dgpu")
      $0.usage = .scanout
    }
    #expect((decision.rule, decision.access) == (.scanoutTarget, .native))
  }

  // MARK: 5. Home in system memory, by a row only

  /// An attachment would wake the exporter, so no device can be asked.
  @Test func rule5sOrderHoldsAmongThoseThatTheTableKnowsAndStandsBeforeASleepingExporter() {
    var machine = Machine.laptop("xe")
    machine.add("egpu", "amdgpu", dedicated: 1 << 30)
    machine.change("dgpu") { $0.description.power = .suspended }
    let copy = machine.look(
      introspection: machine.introspection("dgpu", residency: .system, preferred: .system))
    func decide(_ edit: (inout Hints) -> Void = { _ in }) -> Decision {
      machine.decide(machine.facts(copy), hints: edit)
    }
    for decision in [decide(), decide { $0.primaryDevice = machine.number("dgpu") }] {
      #expect(machine.name(decision.device) == "igpu")
      #expect((decision.rule, decision.access) == (.homeSystem, .inPlace))
      #expect(decision.confidence == .guess, "the weaker of where it belongs and who reaches it")
    }
    let target = decide { $0.targetDevice = machine.number("egpu") }
    #expect(machine.name(target.device) == "egpu")
    let primary = decide { $0.primaryDevice = machine.number("egpu") }
    #expect(machine.name(primary.device) == "egpu")

    for id in ["igpu", "egpu"] { machine.change(id) { $0.description.power = .suspended } }
    #expect(machine.name(decide().device) == "igpu", "all sleep: before the exporter all the same")
    machine.change("dgpu") { $0.description.power = .active }
    #expect(machine.name(decide().device) == "dgpu", "awake, and known to reach it")
    #expect(decide().confidence == .intent)
  }

  @Test func whoOnlyShowsIsNotNamedForSamplingWhereSomethingThatRendersReachesIt() {
    var machine = Machine()
    machine.add("dock", "udl") {
      $0.description.role = .sink
      $0.description.render = nil
      $0.description.bootVGA = true
    }
    machine.add("gpu", "amdgpu")
    let facts = udmabuf(machine, reached: ["dock", "gpu"])
    for hints: (inout Hints) -> Void in [
      { $0.primaryDevice = machine.number("dock") }, { $0.targetDevice = machine.number("dock") },
    ] {
      #expect(machine.name(machine.decide(facts, hints: hints).device) == "gpu")
    }
  }

  // MARK: 7. Fallback

  @Test func theFallbackIsNoSinkAndNoSleeper() {
    var machine = Machine.workstation("nouveau", "radeon", noMove: .ignored)
    machine.add("bmc", "ast", noMove: .ignored) {
      $0.description.role = .display
      $0.description.render = nil
    }
    let unasked = machine.facts(machine.look())
    let toBMC: (inout Hints) -> Void = { $0.primaryDevice = machine.number("bmc") }
    let decision = machine.decide(unasked, hints: toBMC)
    #expect(machine.name(decision.device) == "a")
    #expect((decision.rule, decision.access) == (.fallback, .mayMove))
    machine.change("a") { $0.description.power = .suspended }
    #expect(machine.name(machine.decide(unasked, hints: toBMC).device) == "b")
    let sleepingPrimary = machine.decide(unasked) { $0.primaryDevice = machine.number("a") }
    #expect(machine.name(sleepingPrimary.device) == "b")
    for id in ["a", "b"] { machine.change(id) { $0.state = .released } }
    #expect(machine.name(machine.decide(unasked, hints: toBMC).device) == "bmc")
  }

  @Test func theFallbackMovesOnlyWhereNothingBetterIsLeft() {
    let machine = Machine.workstation("nouveau", "radeon")
    var more = machine
    more.add("c", "radeon") { $0.importsSeen = nil }
    let facts = more.facts(more.look(wouldMove: ["a", "b"]))
    var candidates = DeviceList(["a", "c"].map { more.number($0) })
    let decision = more.decide(facts) {
      $0.candidates = candidates
      $0.primaryDevice = more.number("b")
    }
    #expect(more.name(decision.device) == "c")
    candidates = DeviceList([more.number("a")])
    #expect(more.decide(facts) { $0.candidates = candidates }.access == .moves)
  }

  // MARK: Capture

  @Test func whoDoesNotDrawIntoImportsIsNotNamedForCapture() {
    var laptop = Machine.laptop("nvidia-drm")
    laptop.change("igpu") { $0.description.integrated = true }
    let facts = laptop.facts(laptop.look(name: .named("i915"), reached: ["igpu", "dgpu"]))
    func decide(_ usage: Usage) -> Decision {
      laptop.decide(facts) {
        $0.usage = usage
        $0.primaryDevice = laptop.number("dgpu")
      }
    }
    #expect(laptop.name(decide(.sample).device) == "dgpu")
    #expect(laptop.name(decide(.capture).device) == "igpu")
    #expect((decide(.capture).rule, decide(.capture).access) == (.homeSystem, .native))
    let verdicts = laptop.verdicts(facts)
    #expect(!verdicts.abilities(of: laptop["dgpu"]).contains(.capture))
    #expect(verdicts.abilities(of: laptop["dgpu"]).contains(.sample))
    #expect(verdicts.abilities(of: laptop["igpu"]).contains(.capture))
    let own = laptop.facts(
      laptop.look(
        introspection: laptop.introspection("dgpu", residency: .dedicated, preferred: .dedicated)))
    #expect(laptop.verdicts(own).abilities(of: laptop["dgpu"]).contains(.capture))
  }

  // MARK: An implicit layout

  @Test func anImplicitLayoutIsKnownToTheExportersDriverAlone() {
    var laptop = Machine.laptop()
    laptop.change("igpu") { $0.description.integrated = true }
    laptop.add("arc", "i915", dedicated: 1 << 30) { $0.description.integrated = false }
    let own = laptop.facts(
      laptop.look(
        name: .named("i915"), reached: ["igpu", "arc", "dgpu"],
        introspection: laptop.introspection("igpu", residency: .system, preferred: .system)))
    let implicit: (inout Hints) -> Void = { $0.modifier = implicitModifier }
    #expect(laptop.access("dgpu", own) == .inPlace, "nothing was said of its layout")
    #expect(laptop.access("dgpu", own, hints: implicit) == .unknown)
    #expect(laptop.access("arc", own, hints: implicit) == .inPlace)
    #expect(laptop.access("igpu", own, hints: implicit) == .native)
    let decision = laptop.decide(own) {
      $0.modifier = implicitModifier
      $0.primaryDevice = laptop.number("dgpu")
    }
    #expect(laptop.name(decision.device) == "igpu")

    let checked = laptop.access("dgpu", own) {
      $0.modifier = implicitModifier
      $0.candidates = DeviceList([laptop.number("dgpu")])
      $0.given.insert(.candidates)
    }
    #expect(checked == .inPlace)
  }

  @Test func aCopyThatADedicatedGPUPutIntoSystemMemoryIsLinear() {
    let laptop = Machine.laptop()
    let copy = laptop.facts(laptop.look(reached: ["dgpu", "igpu"], records: ["dgpu": .system]))
    #expect(laptop.access("igpu", copy) { $0.modifier = implicitModifier } == .inPlace)
  }

  // MARK: Verdicts

  @Test func everyDeviceWhateverTheCandidates() {
    var laptop = Machine.laptop()
    laptop.add("panel", "vc4") { $0.description.render = nil }
    let facts = laptop.facts(
      laptop.look(reached: ["dgpu"], wouldMove: ["igpu"], records: ["dgpu": .dedicated]))
    for candidates in [nil, DeviceList(), DeviceList([laptop.number("igpu")])] {
      let verdicts = laptop.verdicts(facts) { $0.candidates = candidates }
      var told: [DeviceNumber: Access] = [:]
      verdicts.forEach { number, access, usage in
        told[number] = access
        #expect(usage.isEmpty || access == .native || access == .inPlace)
      }
      #expect(told.count == 3)
      #expect(told[laptop.number("dgpu")] == .native)
      #expect(told[laptop.number("igpu")] == .moves)
      #expect(verdicts.abilities(of: laptop["dgpu"]) == [.sample, .capture])
      #expect((verdicts.home, verdicts.homeMemory) == (laptop.number("dgpu"), .dedicated))
    }
  }

  @Test func ofSeveralPlanesTheWeakestAccessAndTheBitsThatAllHave() {
    var laptop = Machine.laptop("nvidia-drm")
    laptop.change("igpu") {
      $0.description.integrated = true
      $0.description.connectors = ["eDP-1"]
    }
    laptop.change("dgpu") { $0.description.connectors = ["HDMI-A-1"] }
    func facts(_ id: String, _ memory: Memory, reached: [String]) -> BufferFacts {
      laptop.facts(
        laptop.look(
          name: .unknown, reached: reached,
          introspection: laptop.introspection(id, residency: memory, preferred: memory)))
    }
    let igpus = facts("igpu", .system, reached: ["igpu", "dgpu"])
    let copy = facts("dgpu", .system, reached: ["dgpu", "igpu"])
    let video = facts("dgpu", .dedicated, reached: ["dgpu"])
    let (igpu, dgpu) = (laptop["igpu"], laptop["dgpu"])

    let alike = laptop.verdicts(copy, copy)
    #expect(alike.access(of: dgpu) == .native && alike.access(of: igpu) == .inPlace)
    #expect(alike.abilities(of: dgpu) == [.sample, .scanout, .capture])
    #expect(alike.home == laptop.number("dgpu"))

    let mixed = laptop.verdicts(igpus, copy)
    #expect(mixed.access(of: dgpu) == .inPlace && mixed.access(of: igpu) == .inPlace)
    #expect(mixed.abilities(of: dgpu) == .sample, "it writes and scans out its own plane alone")
    #expect(mixed.abilities(of: igpu) == [.sample, .scanout, .capture])
    #expect((mixed.home, mixed.homeMemory) == (nil, .system))

    let apart = laptop.verdicts(igpus, video)
    #expect(apart.access(of: igpu) == .unreachable && apart.abilities(of: igpu) == [])
    #expect(apart.access(of: dgpu) == .inPlace)
    #expect(apart.homeMemory == .dedicated)
  }

  /// Its own plane in its own memory, and one that another device put into system memory.
  @Test func anAPUScansOutBothItsOwnPlaneAndOneInSystemMemory() {
    var machine = Machine()
    machine.add("apu", "amdgpu", dedicated: 1 << 29) {
      $0.description.integrated = true
      $0.description.connectors = ["eDP-1"]
    }
    machine.add("dgpu", "amdgpu", dedicated: 8 << 30)
    let own = machine.facts(
      machine.look(
        reached: ["apu"],
        introspection: machine.introspection("apu", residency: .dedicated, preferred: .dedicated)))
    let copy = machine.facts(
      machine.look(
        reached: ["apu", "dgpu"],
        introspection: machine.introspection("dgpu", residency: .system, preferred: .system)))
    #expect(machine.verdicts(own, copy).abilities(of: machine["apu"]).contains(.scanout))
    #expect(!machine.verdicts(own, copy).abilities(of: machine["dgpu"]).contains(.scanout))
  }

  @Test func whoOnlyShowsDoesNotSampleButForTheAskerWhoSaysSo() {
    var machine = Machine()
    machine.add("panel", "vc4") {
      $0.description.role = .display
      $0.description.render = nil
    }
    let facts = udmabuf(machine, reached: ["panel"])
    #expect(machine.verdicts(facts).abilities(of: machine["panel"]) == .scanout)
    let said = machine.verdicts(facts) { $0.candidates = DeviceList([machine.number("panel")]) }
    #expect(said.abilities(of: machine["panel"]) == [.sample, .scanout])
  }
}
