// The rules of choice, rule by rule, as README's "How it decides" states them.

import Testing

@testable import Placement

@Suite struct PolicyTests {
  private let laptop = Machine.laptop("xe")
  private func atHome(_ machine: Machine) -> BufferFacts {
    machine.facts(machine.look(reached: ["dgpu"], wouldMove: ["igpu"]))
  }

  // MARK: 1. Who is dropped

  @Test func onlyFitDevicesAreChosen() {
    let unfit: [(String, (inout DeviceEntry) -> Void)] = [
      ("released", { $0.state = .released }),
      ("unresponsive", { $0.state = .unresponsive }),
      ("not importing", { $0.description.imports = false }),
      ("software", { $0.description.role = .software }),
      ("ignored", { $0.description.ignored = true }),
      (
        "without a node",
        {
          $0.description.render = nil
          $0.description.primary = nil
        }
      ),
    ]
    for (what, edit) in unfit {
      var machine = laptop
      machine.change("dgpu", edit)
      let decision = machine.decide(atHome(machine)) { $0.samplingDevice = laptop.number("dgpu") }
      #expect(machine.name(decision.device) == "igpu", "\(what)")
      #expect(decision.rule == .fallback, "\(what)")
      #expect(decision.access == .moves, "\(what)")
      #expect(decision.confidence == .guess, "\(what)")
    }
  }

  @Test func aDeviceThatFailsIsDropped() {
    let facts = laptop.facts(laptop.look(reached: ["dgpu"], failing: ["igpu"]))
    let decision = laptop.decide(facts) { $0.samplingDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "dgpu")
  }

  @Test func aDeviceThatWouldHangIsDropped() {
    let laptop = Machine.laptop("nvidia-drm")
    let facts = laptop.facts(
      laptop.look(
        reached: ["igpu", "dgpu"],
        introspection: laptop.introspection("dgpu", residency: .dedicated, preferred: .dedicated)))
    for number in [laptop.number("igpu"), .none] {
      let decision = laptop.decide(facts) {
        $0.samplingDevice = number
        $0.primaryDevice = laptop.number("igpu")
      }
      #expect(laptop.name(decision.device) == "dgpu")
      #expect(decision.access == .native)
      #expect(decision.rule == .homeDedicated)
    }
    #expect(laptop.decide(facts).access == .native)
  }

  @Test func aDeviceThatMayHangIsNotAsGood() {
    let machine = Machine.workstation("amdgpu", "nvidia-drm")
    let facts = machine.facts(machine.look(reached: ["a", "b"]))
    #expect(machine.name(machine.decide(facts).device) == "b")
    let certain = machine.facts(
      machine.look(reached: ["a", "b"], records: ["a": .dedicated]))
    #expect(machine.name(machine.decide(certain).device) == "a")
  }

  // MARK: 2. Declared

  @Test func theClientsOwnWord() {
    for (id, access) in [("dgpu", Access.native), ("igpu", .moves)] {
      let decision = laptop.decide(atHome(laptop)) { $0.samplingDevice = laptop.number(id) }
      #expect(laptop.name(decision.device) == id)
      #expect(decision.rule == .declared)
      #expect(decision.access == access)
      #expect(decision.confidence == .intent)
    }
  }

  @Test func cardAndRenderNumbersMeanTheDevice() {
    let card = DeviceNumber(major: 226, minor: 0)
    let decision = laptop.decide(atHome(laptop)) { $0.samplingDevice = card }
    #expect(laptop.name(decision.device) == "igpu")
  }

  @Test func hintsThatNameNoDeviceAreIgnored() {
    let decision = laptop.decide(atHome(laptop)) {
      $0.samplingDevice = DeviceNumber(major: 226, minor: 200)
      $0.targetDevice = DeviceNumber(major: 1, minor: 3)
    }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(decision.rule == .homeDedicated)
  }

  // MARK: 3. Scan-out

  @Test func scanoutGoesToTheTargetThatReachesIt() {
    var laptop = laptop
    laptop.change("igpu") { $0.description.integrated = true }
    func decide(_ home: Memory) -> Decision {
      let facts = laptop.facts(
        laptop.look(
          reached: ["dgpu", "igpu"],
          introspection: laptop.introspection("dgpu", residency: .system, preferred: home)))
      return laptop.decide(facts) {
        $0.usage = [.sample, .scanout]
        $0.targetDevice = laptop.number("igpu")
      }
    }
    let decision = decide(.system)
    #expect(laptop.name(decision.device) == "igpu")
    #expect(decision.rule == .scanoutTarget)
    #expect(decision.access == .inPlace)
    // "By driver and memory: what is not known is not claimed": it may only be evicted.
    #expect(laptop.name(decide(.unknown).device) == "dgpu")
    #expect(decide(.unknown).rule == .homeUnknown)
  }

  @Test func scanoutIsNoReasonToMove() {
    let decision = laptop.decide(atHome(laptop)) {
      $0.usage = .scanout
      $0.targetDevice = laptop.number("igpu")
    }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(decision.rule == .homeDedicated)
  }

  // MARK: 4. Home in dedicated memory

  @Test func dedicatedMemoryIsTheExporters() {
    let decision = laptop.decide(atHome(laptop)) { $0.primaryDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(decision.rule == .homeDedicated)
    #expect(decision.access == .native)
    #expect(decision.confidence == .state)
  }

  /// A device that reaches it only while it is evicted would keep it there.
  @Test func notThoseThatReachItOnlyWhileItIsEvicted() {
    var laptop = Machine.laptop()
    laptop.change("dgpu") { $0.description.power = .suspended }
    let evicted = laptop.facts(
      laptop.look(reached: ["igpu", "dgpu"], records: ["dgpu": .dedicated]))
    let decision = laptop.decide(evicted) { $0.primaryDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "dgpu")
    let declared = laptop.decide(evicted) { $0.samplingDevice = laptop.number("igpu") }
    #expect(declared.access == .moves, "the pair table knows")
  }

  @Test func thenOthersThatReachItThere() {
    var machine = Machine.workstation("amdgpu", "amdgpu")
    machine.add("c", "amdgpu")
    var facts = machine.facts(machine.look(reached: ["b", "c"], wouldMove: ["a"]))
    facts.scrub(machine["b"])
    machine.remove("b")
    let decision = machine.decide(facts)
    #expect(machine.name(decision.device) == "c")
    #expect(decision.rule == .homeDedicated)
    #expect(decision.access == .inPlace)
  }

  // MARK: 5. Home in system memory

  @Test func systemMemoryIsForTheOtherDevice() {
    let laptop = Machine.laptop()
    let copy = laptop.facts(laptop.look(reached: ["dgpu", "igpu"], records: ["dgpu": .system]))
    func decide(_ edit: (inout Hints) -> Void) -> String? {
      let decision = laptop.decide(copy, hints: edit)
      #expect(decision.rule == .homeSystem)
      #expect(decision.confidence == .intent)
      return laptop.name(decision.device)
    }
    #expect(decide { _ in } == "igpu")
    #expect(decide { $0.primaryDevice = laptop.number("dgpu") } == "dgpu")
    #expect(
      decide {
        $0.targetDevice = laptop.number("igpu")
        $0.primaryDevice = laptop.number("dgpu")
      } == "igpu")
  }

  @Test func systemMemoryOfTheExporterIfNoHintReachesIt() {
    var machine = Machine()
    machine.add("a", "cirrus") { $0.description.role = .display }
    machine.add("b", "virtio_gpu")
    let facts = machine.facts(
      machine.look(name: .named("virtio_gpu"), reached: ["b"], failing: ["a"]))
    #expect(machine.name(machine.decide(facts).device) == "b")
  }

  /// On mainline the exporter's record is read first; no import moves a buffer of which it says
  /// system memory, so the other device is asked then.
  @Test func aCopyMadeForTheOtherDeviceOnMainline() {
    let laptop = Machine.laptop(noMove: .ignored)
    let record = laptop.look(reached: ["dgpu"], records: ["dgpu": .system])
    let plan = ProbePlan(
      exporters: laptop.facts(record).exporters.candidates, among: laptop.table,
      inSystemMemory: record.inSystemMemory(among: laptop.table), asked: record.asked,
      intentionKnown: false, ProbeScope())
    #expect(laptop.names(plan.safe) == ["igpu"])
    let copy = laptop.facts(
      laptop.look(reached: ["dgpu", "igpu"], records: ["dgpu": .system]))
    let decision = laptop.decide(copy) { $0.primaryDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "igpu")
    #expect(decision.access == .inPlace)
    #expect(decision.confidence == .intent)
    let own = laptop.facts(laptop.look(reached: ["dgpu"], records: ["dgpu": .dedicated]))
    #expect(laptop.name(laptop.decide(own).device) == "dgpu")
  }

  // MARK: 6. Home unknown

  @Test func theExporterIfItIsKnown() {
    let evicted = laptop.facts(laptop.look(reached: ["dgpu", "igpu"]))
    let decision = laptop.decide(evicted) { $0.primaryDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(decision.rule == .homeUnknown)
    #expect(decision.access == .native)
  }

  @Test func elseTheModifiersVendor() {
    let machine = Machine.workstation(noMove: .ignored)
    let unasked = machine.facts(machine.look())
    for (modifier, id) in [(UInt64(0x02) << 56 | 1, "a"), (UInt64(0x03) << 56 | 1, "b")] {
      let decision = machine.decide(unasked) { $0.modifier = modifier }
      #expect(machine.name(decision.device) == id)
      #expect(decision.rule == .homeUnknown)
      #expect(decision.access == .native)
      #expect(decision.confidence == .state)
    }
  }

  @Test func aModifierDoesntOutweighTheKernelsWord() {
    let decision = laptop.decide(atHome(laptop)) { $0.modifier = 0x01 << 56 | 1 }
    #expect(laptop.name(decision.device) == "dgpu")
  }

  @Test func elseThePrimaryThenDedicatedMemory() {
    var machine = Machine.workstation("amdgpu", "amdgpu")
    machine.add("c", "amdgpu")
    let facts = machine.facts(machine.look(reached: ["a", "b", "c"]))
    #expect(machine.name(machine.decide(facts).device) == "a")
    let second = machine.decide(facts) { $0.primaryDevice = machine.number("c") }
    #expect(machine.name(second.device) == "c")
    machine.change("a") { $0.state = .released }
    machine.change("b") { $0.description.bootVGA = false }
    #expect(machine.name(machine.decide(facts).device) == "b")
  }

  @Test func theLikelyExporterIsAGuess() {
    var machine = Machine.laptop(noMove: .ignored)
    machine.add("egpu", "amdgpu")
    machine.remove("egpu")
    let decision = machine.decide(machine.facts(machine.look())) {
      $0.primaryDevice = machine.number("igpu")
    }
    #expect(machine.name(decision.device) == "dgpu")
    #expect(decision.access == .mayMove)
    #expect(decision.confidence == .guess)
  }

  @Test func whoFailedToImportItIsNotItsExporter() {
    var machine = Machine.workstation("nouveau", "radeon")
    machine.add("c", "never-heard-of")
    let facts = machine.facts(
      machine.look(reached: ["b"], wouldMove: ["a"], failing: ["c"]))
    let decision = machine.decide(facts)
    #expect(machine.name(decision.device) == "b")
    #expect(decision.access == .native)
    let others = facts.exporters.candidates
    #expect(machine.names(others.devices) == ["b", "c"], "no import may rest on it")
  }

  // MARK: 7. Fallback

  @Test func thePrimaryDevice() {
    let machine = Machine.workstation(noMove: .ignored)
    let unasked = machine.facts(machine.look())
    for (hint, id) in [(DeviceNumber.none, "a"), (machine.number("b"), "b")] {
      let decision = machine.decide(unasked) { $0.primaryDevice = hint }
      #expect(machine.name(decision.device) == id)
      #expect(decision.rule == .fallback)
      #expect(decision.access == .mayMove)
      #expect(decision.confidence == .guess)
    }
  }

  // MARK: The end

  @Test func softwareIsTheLastResort() {
    var machine = Machine()
    machine.add("vgem", "vgem") { $0.description.role = .software }
    let decision = machine.decide(machine.facts(machine.look(reached: ["vgem"])))
    #expect(machine.name(decision.device) == "vgem")
    #expect(decision.rule == .lastResort)
    #expect(decision.confidence == .guess)
  }

  @Test func ifAllFailTheAnswerSaysUnreachable() {
    let facts = laptop.facts(laptop.look(failing: ["igpu", "dgpu"]))
    let decision = laptop.decide(facts)
    #expect(laptop.name(decision.device) == "igpu")
    #expect(decision.rule == .lastResort)
    #expect(decision.access == .unreachable)
  }

  @Test func whoDoesNotAnswerIsNamedOnlyIfNobodyDoes() {
    var laptop = laptop
    laptop.change("igpu") { $0.state = .unresponsive }
    let facts = laptop.facts(laptop.look())
    #expect(laptop.name(laptop.decide(facts).device) == "dgpu")
    laptop.change("dgpu") { $0.state = .unresponsive }
    let decision = laptop.decide(facts)
    #expect(decision.device != nil)
    #expect((decision.rule, decision.confidence) == (.lastResort, .guess))
    laptop.change("igpu") { $0.state = .released }
    laptop.change("dgpu") { $0.state = .released }
    #expect(laptop.decide(facts).device == nil)
  }

  @Test func noDeviceAtAll() {
    let machine = Machine()
    let decision = machine.decide(machine.facts(machine.look(name: .named("udmabuf"))))
    #expect(decision.device == nil)
    #expect(decision.rule == .noDevice)
  }

  // MARK: Ties

  @Test func awakeBeforeAsleepIfAsGood() {
    var laptop = laptop
    laptop.change("dgpu") { $0.description.power = .suspended }
    let facts = laptop.facts(laptop.look(reached: ["igpu"]))
    #expect(laptop.name(laptop.decide(facts).device) == "igpu")
    let unasked = laptop.facts(laptop.look())
    #expect(laptop.name(laptop.decide(unasked).device) == "dgpu")
  }

  @Test func thoseThatDrawBeforeThoseThatOnlyShow() {
    var machine = Machine()
    machine.add("display", "apple-drm") {
      $0.description.role = .display
      $0.description.render = nil
      $0.description.pairedWith = "gpu"
    }
    machine.add("gpu", "asahi")
    let facts = machine.facts(machine.look(reached: ["display", "gpu"]))
    #expect(facts.home == .system)
    let target: (inout Hints) -> Void = { $0.targetDevice = machine.number("display") }
    #expect(machine.name(machine.decide(facts, hints: target).device) == "gpu")
    let scanned = machine.decide(facts) {
      target(&$0)
      $0.usage = .scanout
    }
    #expect(machine.name(scanned.device) == "display")
  }

  // MARK: Planes

  @Test func allPlanesMustBeUsable() {
    let reachedByBoth = laptop.facts(laptop.look(reached: ["dgpu", "igpu"]))
    let decision = laptop.decide(reachedByBoth, atHome(laptop)) {
      $0.primaryDevice = laptop.number("igpu")
    }
    #expect(laptop.name(decision.device) == "dgpu")
  }

  @Test func theWeakestPlaneIsTheAccess() {
    let own = laptop.facts(laptop.look(name: .named("i915"), reached: ["igpu", "dgpu"]))
    let other = laptop.facts(laptop.look(reached: ["igpu", "dgpu"]))
    #expect(laptop.decide(own, own).access == .native)
    #expect(laptop.decide(own, other).access == .inPlace)
    let declared: (inout Hints) -> Void = { $0.samplingDevice = laptop.number("igpu") }
    #expect(laptop.decide(own, atHome(laptop), hints: declared).access == .moves)
    let failed = laptop.facts(laptop.look(reached: ["dgpu"], failing: ["igpu"]))
    #expect(laptop.name(laptop.decide(own, failed, hints: declared).device) == "dgpu")
  }

  @Test func theLeastConfidentPlaneCounts() {
    let stable = laptop.facts(
      laptop.look(reached: ["dgpu"], wouldMove: ["igpu"]),
      laptop.look(reached: ["dgpu"], wouldMove: ["igpu"]))
    #expect(laptop.decide(stable, stable).confidence == .stable)
    #expect(laptop.decide(stable, atHome(laptop)).confidence == .state)
  }

  @Test func planesOnDifferentExportersWithNoCommonDevice() {
    let machine = Machine.workstation()
    let one = machine.facts(machine.look(reached: ["a"], wouldMove: ["b"]))
    let two = machine.facts(machine.look(reached: ["b"], wouldMove: ["a"]))
    let decision = machine.decide(one, two)
    #expect(decision.rule == .fallback)
    #expect(decision.access == .moves)
  }
}
