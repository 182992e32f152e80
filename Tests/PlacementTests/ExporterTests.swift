// The set of possible exporters, and what each source of evidence leaves of it.

import Testing

@testable import Placement

@Suite struct ExporterTests {
  private func candidates(_ machine: Machine, _ look: Observation) -> (
    names: [String], beyond: String
  ) {
    let left = machine.facts(look).exporters.candidates
    var beyond = ""
    if left.beyond.contains(.noDevice) { beyond += "none " }
    if left.beyond.contains(.gone) { beyond += "gone" }
    return (machine.names(left.devices), beyond)
  }

  @Test func ownNamesDecideOnAHybridLaptop() {
    let laptop = Machine.laptop(noMove: .ignored)
    #expect(candidates(laptop, laptop.look(name: .drm)) == (["dgpu"], ""))
    #expect(candidates(laptop, laptop.look(name: .named("i915"))) == (["igpu"], ""))
    #expect(laptop.facts(laptop.look(name: .drm)).exporters.candidates.certain == laptop["dgpu"])
  }

  @Test(arguments: ["udmabuf", "system", "linux,cma", "videobuf2_common"])
  func otherNamesAreOfNoDevice(name: String) {
    let laptop = Machine.laptop()
    #expect(candidates(laptop, laptop.look(name: .named(name))) == ([], "none "))
  }

  @Test func unknownNameSaysNothing() {
    let laptop = Machine.laptop()
    #expect(candidates(laptop, laptop.look(name: .unknown)) == (["dgpu", "igpu"], "none gone"))
  }

  @Test func goneDevicesStayCandidates() {
    var machine = Machine.workstation("amdgpu", "amdgpu")
    machine.remove("b")
    #expect(candidates(machine, machine.look(name: .drm)) == (["a"], "gone"))
    #expect(machine.facts(machine.look(name: .drm)).exporters.candidates.certain == nil)
    machine.add("igpu", "i915")
    #expect(candidates(machine, machine.look(name: .named("i915"))) == (["igpu"], ""))
  }

  @Test func nameOfADriverThatHasNoDeviceIsOfOneThatIsGone() {
    let machine = Machine.workstation()
    #expect(candidates(machine, machine.look(name: .named("i915"))) == ([], "gone"))
  }

  @Test func releasedAndIgnoredDevicesStayCandidates() {
    var machine = Machine.workstation()
    machine.change("a") { $0.state = .released }
    machine.change("b") { $0.description.ignored = true }
    #expect(candidates(machine, machine.look()) == (["a", "b"], ""))
  }

  @Test func anAcceleratorMayBeTheExporterAndIsNeverChosen() {
    var machine = Machine.laptop(noMove: .ignored)
    machine.add("npu", "amdxdna") {
      $0.description.primary = nil
      $0.description.render = nil
      $0.description.ignored = true
      $0.description.imports = false
    }
    #expect(candidates(machine, machine.look()) == (["dgpu", "npu"], ""))
    #expect(machine.facts(machine.look()).exporters.candidates.certain == nil)
    #expect(!machine.table.ready.contains(machine["npu"]))
    let facts = machine.facts(machine.look())
    let lines = Explainer.explain(
      [facts], Hints(), among: machine.table
    ).devices
    #expect(lines.count == 2)
  }

  @Test func devicesThatExportNothingAreNone() {
    var machine = Machine.laptop()
    machine.add("sink", "evdi") { $0.description.exports = false }
    #expect(candidates(machine, machine.look()) == (["dgpu"], ""))
  }

  /// A virtual machine's own card beside a GPU that was passed through. It may be the exporter,
  /// although no other device can attach to its buffers.
  @Test func whoLetsNobodyAtItsBuffersMayBeTheExporterUntilSomebodyWasLet() {
    var machine = Machine()
    machine.add("gpu", "amdgpu", dedicated: 8 << 30, noMove: .ignored)
    machine.add("vga", "bochs-drm") {
      $0.description.render = nil
      $0.importsSeen = false
    }
    #expect(candidates(machine, machine.look()) == (["gpu", "vga"], ""))
    #expect(candidates(machine, machine.look(reached: ["gpu"])) == (["gpu"], ""))
    #expect(candidates(machine, machine.look(reached: ["vga"])) == (["vga"], ""))

    let plan = ProbePlan(
      exporters: machine.facts(machine.look()).exporters.candidates, among: machine.table,
      inSystemMemory: DeviceSet(), asked: DeviceSet(), intentionKnown: false, ProbeScope())
    #expect(machine.names(plan.safe) == ["gpu"], "its import moves neither one's buffer")
    let refused = machine.decide(machine.facts(machine.look(failing: ["gpu"])))
    #expect(machine.name(refused.device) == "vga" && refused.access == .native)
  }

  /// From 7.2 on qxl lets an importer attach that maps nothing, and no other
  /// (qxl_gem_prime_get_sg_table: ENOSYS).
  @Test func whoseBuffersATakerCantImportIsNotTheExporter() {
    var machine = Machine.workstation("nouveau", "qxl")
    machine.kernel = KernelVersion(7, 3)
    #expect(machine.facts(machine.look()).exporters.candidates.certain == nil)
    let facts = machine.facts(machine.look(reached: ["a"]))
    #expect(facts.exporters.candidates.certain == machine["a"])
  }

  /// amdgpu's import maps nothing (amdgpu_gem_prime_import attaches dynamically): its success does
  /// not exclude exporters whose buffers can only not be mapped.
  @Test(arguments: ["amdgpu", "vkms", "never-heard-of"])
  func whoMapsNothingCanHaveTakenWhatCantBeMapped(taker: String) {
    var machine = Machine.workstation(taker, "qxl")
    machine.kernel = KernelVersion(7, 3)
    let facts = machine.facts(machine.look(reached: ["a"]))
    #expect(facts.exporters.candidates.certain == nil)
  }

  @Test func whoWouldMoveItIsNotTheExporter() {
    let machine = Machine.workstation()
    #expect(candidates(machine, machine.look(reached: ["b"], wouldMove: ["a"])) == (["b"], ""))
  }

  @Test func recordOfDedicatedMemoryIsTheExportersOwn() {
    let machine = Machine.workstation("amdgpu", "amdgpu")
    let look = machine.look(reached: ["a", "b"], records: ["a": .system, "b": .dedicated])
    #expect(candidates(machine, look) == (["b"], ""))
  }

  @Test func recordOfSystemMemoryProvesNothing() {
    let machine = Machine.workstation("amdgpu", "amdgpu")
    let look = machine.look(reached: ["a", "b"], records: ["a": .system, "b": .system])
    #expect(candidates(machine, look) == (["a", "b"], ""))
  }

  @Test func introspectionNamesIt() {
    let machine = Machine.workstation("amdgpu", "amdgpu")
    func look(_ id: String?, registered: Bool = true) -> Observation {
      machine.look(
        introspection: machine.introspection(
          id, residency: .system, preferred: .dedicated, registered: registered))
    }
    #expect(candidates(machine, look("b")) == (["b"], ""))
    #expect(candidates(machine, look("b", registered: false)) == ([], "gone"))
  }

  @Test func strongerSourceWinsAContradiction() {
    let machine = Machine.workstation()
    // The name says "no device"; the record of `a` says that the buffer is its own.
    let look = machine.look(
      name: .named("udmabuf"), reached: ["a"], records: ["a": .dedicated])
    let exporters = machine.facts(look).exporters
    #expect(exporters.candidates.certain == machine["a"])
    #expect(exporters.source == .record)
    #expect(exporters.contradicted)
  }

  @Test func strongerSourceWinsWhicheverCameFirst() {
    let machine = Machine.workstation()
    let named = machine.look(name: .named("udmabuf"))
    let recorded = machine.look(
      name: .unknown, reached: ["a"], records: ["a": .dedicated])
    for looks in [[named, recorded], [recorded, named]] {
      let exporters = machine.facts(after: looks).exporters
      #expect(exporters.candidates.certain == machine["a"])
      #expect(exporters.contradicted)
    }
  }

  @Test func exporterThatGoesIsRememberedAsGone() {
    let machine = Machine.laptop()
    var facts = machine.facts(machine.look(reached: ["dgpu"], wouldMove: ["igpu"]))
    facts.scrub(machine["dgpu"])
    #expect(facts.exporters.candidates == ExporterSet(DeviceSet(), beyond: .gone))
    #expect(facts.reachedAlways.isEmpty && !facts.asked.contains(machine["dgpu"]))
  }

  @Test func modifierNamesAVendor() {
    let laptop = Machine.laptop()
    #expect(laptop.table.devices(tilingWith: 0x0200_0000_0000_0001) == laptop.set(["dgpu"]))
    #expect(laptop.table.devices(tilingWith: 0x0100_0000_0000_0009) == laptop.set(["igpu"]))
  }

  @Test(arguments: [UInt64(0), 0x00ff_ffff_ffff_ffff, 0x0800_0000_0000_0001, 0x0300_0000_0000_0001])
  func linearInvalidSharedAndAbsentVendorsSayNothing(modifier: UInt64) {
    #expect(Machine.laptop().table.devices(tilingWith: modifier) == nil)
  }

  /// A buffer that would be moved lies in dedicated memory.
  @Test func aRefusalExcludesThoseWithSystemMemoryOnly() {
    var machine = Machine.workstation("nouveau", "radeon")
    machine.add("c", "vkms") { $0.description.role = .software }
    machine.add("d", "cirrus") { $0.description.render = nil }
    let facts = machine.facts(machine.look(reached: ["b"], wouldMove: ["a"]))
    #expect(facts.exporters.candidates.certain == machine["b"])
    let unnamed = machine.facts(machine.look(name: .unknown, reached: ["b"], wouldMove: ["a"]))
    #expect(unnamed.exporters.candidates == ExporterSet(machine.set(["b"]), beyond: .gone))
  }
}
