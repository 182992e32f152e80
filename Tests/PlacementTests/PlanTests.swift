// Which devices are asked, and how, so that nothing moves and nothing wakes.

import Testing

@testable import Placement

@Suite struct PlanTests {
  private func plan(
    _ machine: Machine, name: ExporterName = .drm, asked: [String] = [],
    intentionKnown: Bool = false, wake: Bool = false, cards: [String] = []
  ) -> (noMove: [String], safe: [String]) {
    let plan = fullPlan(
      machine, name: name, asked: asked, intentionKnown: intentionKnown, wake: wake, cards: cards)
    #expect(plan.records.isEmpty)
    return (machine.names(plan.noMove), machine.names(plan.safe))
  }

  private func records(
    _ machine: Machine, intentionKnown: Bool = false, wake: Bool = false
  ) -> [String] {
    let plan = fullPlan(machine, intentionKnown: intentionKnown, wake: wake)
    #expect(plan.noMove.isEmpty && plan.safe.isEmpty)
    return machine.names(plan.records)
  }

  private func fullPlan(
    _ machine: Machine, name: ExporterName = .drm, asked: [String] = [],
    intentionKnown: Bool, wake: Bool, cards: [String] = [], introspection: Introspection? = nil
  ) -> ProbePlan {
    let look = machine.look(name: name, introspection: introspection)
    var evidence = ExporterEvidence(of: Machine.buffer, among: machine.table)
    look.narrow(
      &evidence, any: machine.table.possibleExporters(of: Machine.buffer), among: machine.table)
    return ProbePlan(
      exporters: machine.table.exporters(forImportsBy: evidence), among: machine.table,
      inSystemMemory: look.inSystemMemory(among: machine.table), asked: machine.set(asked),
      intentionKnown: intentionKnown, ProbeScope(wake: wake, cards: machine.set(cards)))
  }

  @Test func honouredAsksEveryone() {
    #expect(plan(.laptop()) == (["dgpu", "igpu"], []))
    #expect(plan(.laptop(), asked: ["igpu"]) == (["dgpu"], []))
  }

  @Test func neverThoseThatSleepAreReleasedIgnoredStuckOrUnable() {
    var machine = Machine.laptop()
    machine.add("asleep", "nouveau") { $0.description.power = .suspended }
    machine.add("released", "i915") { $0.state = .released }
    machine.add("stuck", "nouveau") { $0.state = .unresponsive }
    machine.add("ignored", "nouveau") { $0.description.ignored = true }
    machine.add("unable", "nouveau") { $0.importsSeen = false }
    machine.add("unassessed", "nouveau") { $0.importsSeen = nil }
    machine.add("nodeless", "nouveau") {
      $0.description.render = nil
      $0.description.primary = nil
    }
    #expect(plan(machine) == (["dgpu", "igpu"], []))
    #expect(plan(machine, wake: true) == (["asleep", "dgpu", "igpu"], []))
  }

  /// An attachment would hold it, and wake it if it sleeps.
  @Test func nobodyIsAskedWhileAReleasedDeviceMayBeTheExporter() {
    var machine = Machine.laptop()
    machine.add("released", "nouveau") { $0.state = .released }
    #expect(plan(machine) == ([], []))
    #expect(plan(machine, wake: true) == ([], []))
    #expect(plan(machine, name: .named("i915")) == (["dgpu", "igpu"], []))
  }

  /// v3d sleeps after 50 ms, and an import wakes nothing.
  @Test func aSleeperThatNoQuestionWakesIsAsked() {
    for (driver, asked) in [("v3d", ["gpu"]), ("panfrost", []), ("never-heard-of", [])] {
      var machine = Machine()
      machine.add("gpu", driver) { $0.description.power = .suspended }
      #expect(plan(machine, name: .named("udmabuf")) == (asked, []), "\(driver)")
    }
  }

  /// Opening a card node can take the card from a compositor that is just starting: only an asker
  /// that names the card, or would fall back on it, has it opened.
  @Test func aCardWithoutARenderNodeIsAskedOnlyIfNamed() {
    var machine = Machine.laptop()
    machine.add("display", "vkms") { $0.description.render = nil }
    #expect(plan(machine) == (["dgpu", "igpu"], []))
    #expect(plan(machine, cards: ["display"]) == (["dgpu", "display", "igpu"], []))

    func cards(_ edit: (inout Hints) -> Void) -> [String] {
      var hints = Hints()
      edit(&hints)
      let scope = ProbeScope(QueryContext(hints, among: machine.table), among: machine.table)
      return machine.names(scope.cards)
    }
    let display = machine.number("display")
    #expect(cards { _ in } == [])
    #expect(cards { $0.targetDevice = display } == ["display"])
    #expect(cards { $0.primaryDevice = display } == ["display"])
    #expect(cards { $0.samplingDevice = display } == ["display"])

    var alone = Machine()
    alone.add("bochs", "bochs-drm") { $0.description.render = nil }
    let scope = ProbeScope(QueryContext(Hints(), among: alone.table), among: alone.table)
    #expect(alone.names(scope.cards) == ["bochs"])
  }

  /// Two virtio GPUs: the error of a foreign import (ENODEV) tells which one exported the buffer,
  /// and moves nothing.
  @Test func whoImportsOnlyItsOwnTellsTheExporter() {
    var guest = Machine()
    for id in ["a", "b"] {
      guest.add(id, "virtio_gpu", noMove: .unknown) { $0.importsSeen = false }
    }
    guest.add("other", "radeon", dedicated: 1 << 24, noMove: .ignored)
    #expect(plan(guest, name: .named("virtio_gpu")) == ([], ["a", "b", "other"]))
    #expect(plan(guest) == ([], ["other"]))

    let facts = guest.facts(
      guest.look(name: .named("virtio_gpu"), reached: ["a", "other"], failing: ["b"]))
    #expect(facts.exporters.candidates.certain == guest["a"])
    var hints = Hints()
    for (primary, chosen) in [("a", "a"), ("b", "a"), ("other", "other")] {
      hints.primaryDevice = guest.number(primary)
      let input = PolicyInput(
        facts, QueryContext(hints, among: guest.table), among: guest.table)
      let decision = Policy.decide(input, among: guest.table)
      #expect(guest.name(decision.device) == chosen)
      #expect(decision.access == (chosen == "a" ? .native : .inPlace))
    }
  }

  @Test func anAttachmentMustNotWakeASleepingExporter() {
    var machine = Machine.laptop("xe")
    machine.change("dgpu") { $0.description.power = .suspended }
    #expect(plan(machine) == ([], []))
    #expect(plan(machine, wake: true) == (["dgpu", "igpu"], []))
    #expect(plan(machine, name: .named("i915")) == (["igpu"], []))
  }

  @Test func mainlineAsksOnlyTheCertainExporterForItsRecord() {
    #expect(plan(.laptop(noMove: .ignored)) == ([], ["dgpu"]))
    #expect(plan(.laptop(noMove: .ignored), intentionKnown: true) == ([], []))
    #expect(plan(.laptop("xe", noMove: .ignored)) == ([], []))
    #expect(plan(.laptop(noMove: .unknown)) == ([], ["dgpu"]))
  }

  @Test func mainlineAsksNobodyIfTwoMayBeTheExporter() {
    #expect(plan(.workstation(noMove: .ignored)) == ([], []))
    #expect(plan(.workstation("radeon", "radeon", noMove: .ignored)) == ([], []))
    #expect(plan(.workstation("amdgpu", "radeon", noMove: .ignored)) == ([], []))
  }

  // MARK: Drivers that map at the first use

  /// Neither another device's attachment to amdgpu's buffer nor amdgpu's own import moves it, and
  /// only its record says "dedicated".
  @Test func driversThatMapAtUseAreAskedForTheirRecord() {
    #expect(records(.workstation("amdgpu", "amdgpu", noMove: .ignored)) == ["a", "b"])
    #expect(records(.workstation("amdgpu", "xe", noMove: .ignored)) == ["a"])
    #expect(records(.workstation("xe", "xe", noMove: .ignored)) == [])
    let three = Machine.workstation("amdgpu", "amdgpu", noMove: .ignored)
    #expect(records(three, intentionKnown: true) == [])
    for spoiler in ["nouveau", "radeon", "never-heard-of"] {
      var machine = three
      machine.add("c", spoiler, noMove: .ignored)
      #expect(records(machine) == [], "\(spoiler)")
    }
    for harmless in ["vgem", "nvidia-drm"] {
      var machine = three
      machine.add("c", harmless, noMove: .ignored)
      #expect(records(machine) == ["a", "b"], "\(harmless): attaching to its buffer moves nothing")
    }
    var machine = three
    machine.remove("b")
    #expect(records(machine) == [], "a buffer may be of the one that went")
  }

  @Test func anOldAmdgpuIsNotAskedWhileAnotherSleeps() {
    var machine = Machine.workstation("amdgpu", "amdgpu", noMove: .ignored)
    machine.change("b") { $0.description.power = .suspended }
    #expect(records(machine) == ["a"])
    for kernel in [KernelVersion(6, 9), nil] {
      machine.kernel = kernel
      #expect(records(machine) == [])
      #expect(records(machine, wake: true) == ["a", "b"])
    }
  }

  @Test func theRecordsTellTheExporterAndNotWhoReachesIt() {
    let machine = Machine.workstation("amdgpu", "amdgpu", noMove: .ignored)
    func facts(_ a: Memory, _ b: Memory) -> BufferFacts {
      var look = machine.look()
      look.add(.reached(.preferred(a)), of: machine["a"], forRecord: true)
      look.add(.reached(.preferred(b)), of: machine["b"], forRecord: true)
      return machine.facts(look)
    }
    let dedicated = facts(.system, .dedicated)
    #expect(dedicated.exporters.candidates.certain == machine["b"])
    #expect(machine.names(dedicated.reachedAlways) == ["b"])
    #expect((dedicated.home, dedicated.confidence) == (.dedicated, .intent))
    let decision = machine.decide(dedicated) { $0.primaryDevice = machine.number("a") }
    #expect(machine.name(decision.device) == "b")

    // A copy in system memory: whichever device exported it, both use it where it lies.
    let system = facts(.system, .system)
    #expect(machine.names(system.reachedAlways) == ["a", "b"])
    #expect((system.home, system.confidence) == (.system, .intent))
    for id in ["a", "b"] {
      let decision = machine.decide(system) { $0.primaryDevice = machine.number(id) }
      #expect(machine.name(decision.device) == id)
      #expect((decision.rule, decision.access) == (.homeSystem, .inPlace))
    }

    // A device that can only have system memory needs no record.
    var mixed = Machine.workstation("amdgpu", "xe", noMove: .ignored)
    mixed.change("b") {
      $0.description.sysfsPath = "/sys/devices/pci0000:00/0000:00:02.0"
      $0.description.dedicatedMemory = 0
    }
    let integrated = mixed.facts(mixed.look(reached: ["a"], records: ["a": .system]))
    #expect((integrated.home, integrated.confidence) == (.system, .state))
    let asked = mixed.facts(mixed.look(reached: ["a", "b"], records: ["a": .system]))
    let toIntegrated = mixed.decide(asked) { $0.primaryDevice = mixed.number("b") }
    #expect(mixed.name(toIntegrated.device) == "b")
    #expect(toIntegrated.access == .inPlace)
    let unasked = mixed.decide(integrated) { $0.primaryDevice = mixed.number("b") }
    #expect(mixed.name(unasked.device) == "a", "who was asked before who reaches it by a row only")

    // One record alone proves nothing: the buffer may be in the other device's memory.
    var look = machine.look()
    look.add(.reached(.preferred(.system)), of: machine["a"], forRecord: true)
    let half = machine.facts(look)
    #expect(half.reachedAlways.isEmpty && half.home == .unknown)
    #expect(machine.decide(half).rule == .fallback)
  }

  /// The stronger source suffices for an answer, but not for an import.
  @Test func contradictionsAllowNoPlainImport() {
    for (noMove, asked) in [(NoMove.ignored, [String]()), (.honoured, ["dgpu", "igpu"])] {
      let machine = Machine.laptop(noMove: noMove)
      let ofNoDevice = machine.introspection(nil, residency: .system, preferred: .system)
      let plan = fullPlan(
        machine, name: .named("i915"), intentionKnown: false, wake: false,
        introspection: ofNoDevice)
      #expect(machine.names(plan.noMove) == asked)
      #expect(plan.safe.isEmpty && plan.records.isEmpty)
      let facts = machine.facts(
        machine.look(name: .named("i915"), introspection: ofNoDevice))
      #expect(facts.exporters.contradicted)
      #expect(
        machine.names(ProbePlan.unasked(facts, among: machine.table, ProbeScope())) == asked)
    }
  }

  // MARK: A user's rows

  @Test func aUsersRowForOnePairAllowsThatImportOnly() {
    var machine = Machine.workstation("nouveau", "nouveau", noMove: .ignored)
    machine.add("c", "radeon", noMove: .ignored)
    machine.add("d", "loongson", noMove: .ignored)
    machine.pairs = "nouveau loongson pins nothing works\nradeon loongson pins nothing works"
    #expect(plan(machine) == ([], []), "its own tells nothing, and it may be its own")
    machine.change("d") { $0.description.exports = false }
    #expect(plan(machine) == ([], ["d"]))
    let facts = machine.facts(machine.look(reached: ["d"]))
    #expect(facts.residency == .unknown, "it may lie in either nouveau's memory")
    #expect(machine.name(machine.decide(facts).device) == "d")
  }

  @Test func aUsersRowMaySayThatOneImporterWakes() {
    var machine = Machine.laptop("nouveau")
    machine.change("dgpu") { $0.description.power = .suspended }
    #expect(plan(machine) == (["igpu"], []))
    machine.pairs = "nouveau i915 wakes moves works"
    #expect(plan(machine) == ([], []))
  }

  @Test func aUsersRowMayForbidWhatTheTableAllows() {
    var machine = Machine.workstation("amdgpu", "amdgpu", noMove: .ignored)
    machine.pairs = "amdgpu amdgpu moves nothing works"
    #expect(records(machine) == [])
    var guest = Machine.laptop(noMove: .ignored)
    guest.add("virtio", "virtio_gpu", noMove: .ignored)
    guest.pairs = "virtio_gpu * moves nothing works"
    #expect(plan(guest, name: .named("virtio_gpu")) == ([], []))
  }

  @Test func aDeviceThatHasGoneSpoilsCertainty() {
    var machine = Machine.workstation(noMove: .ignored)
    machine.remove("b")
    #expect(plan(machine) == ([], []))
  }

  @Test func aGoneDeviceOfSystemMemorySpoilsNothing() {
    var machine = Machine.workstation("amdgpu", "vgem", noMove: .ignored)
    machine.remove("b")
    #expect(plan(machine) == ([], ["a"]))
  }

  @Test func mainlineAsksEveryoneAboutBuffersThatCanOnlyBeInSystemMemory() {
    var machine = Machine.laptop(noMove: .ignored)
    machine.add("virtio", "virtio_gpu", noMove: .ignored) { $0.importsSeen = nil }
    #expect(
      plan(machine, name: .named("udmabuf")) == ([], ["dgpu", "igpu"]), "6.12: its own alone")
    machine.change("virtio") { $0.importsSeen = true }
    #expect(
      plan(machine, name: .named("udmabuf")) == ([], ["dgpu", "igpu", "virtio"]),
      "as it was seen to, with blobs and without virgl")
    machine.kernel = KernelVersion(7, 3)
    #expect(plan(machine, name: .named("udmabuf")) == ([], ["dgpu", "igpu", "virtio"]))
    #expect(plan(machine, name: .named("virtio_gpu")) == ([], ["dgpu", "igpu"]))
  }

  /// If amdgpu exported it, the import is of its own buffer; if vgem did, there is nothing to move.
  @Test func anImportIsSafeIfItIsForEveryCandidate() {
    var machine = Machine.laptop(noMove: .ignored)
    machine.add("vgem", "vgem", noMove: .ignored) { $0.description.role = .software }
    #expect(plan(machine) == ([], ["dgpu"]))
  }

  @Test func nothingIsSafeIfNothingIsKnownOfTheExporter() {
    #expect(plan(.laptop(noMove: .ignored), name: .unknown) == ([], []))
  }

  @Test func kernelsOfTwoMindsAreAskedEachInItsWay() {
    var machine = Machine.laptop()
    machine.change("dgpu") { $0.noMove = .ignored }
    #expect(plan(machine) == (["igpu"], ["dgpu"]))
  }

  @Test func unaskedAreThoseThatCameOrWoke() {
    var machine = Machine.laptop()
    let facts = machine.facts(machine.look(reached: ["dgpu"], wouldMove: ["igpu"]))
    #expect(ProbePlan.unasked(facts, among: machine.table, ProbeScope()).isEmpty)
    machine.add("egpu", "amdgpu") { $0.importsSeen = nil }
    machine.add("asleep", "nouveau") { $0.description.power = .suspended }
    let unasked = ProbePlan.unasked(facts, among: machine.table, ProbeScope())
    #expect(machine.names(unasked) == ["egpu"])
    let woken = ProbePlan.unasked(facts, among: machine.table, ProbeScope(wake: true))
    #expect(machine.names(woken) == ["asleep", "egpu"])
  }
}
