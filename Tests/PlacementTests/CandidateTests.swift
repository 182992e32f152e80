// Which devices may be named: rules 1, 2 and 8 with layouts, candidates, software devices and
// hangs.

import Testing

@testable import Placement

/// drm_fourcc.h: the vendor in the highest byte.
let amdTiling: UInt64 = 0x02 << 56 | 1
let intelTiling: UInt64 = 0x01 << 56 | 9
let linear: UInt64 = 0

@Suite struct CandidateTests {
  private let laptop = Machine.laptop()
  /// In system memory for good, and reached by both devices.
  private var copy: BufferFacts {
    laptop.facts(laptop.look(reached: ["dgpu", "igpu"], records: ["dgpu": .system]))
  }
  private var ofNoDevice: BufferFacts {
    laptop.facts(laptop.look(name: .named("udmabuf"), reached: ["dgpu", "igpu"]))
  }

  private func candidates(_ machine: Machine, _ ids: [String]) -> DeviceList {
    DeviceList(ids.map { machine.number($0) })
  }

  // MARK: 1. Layouts

  @Test func whoCantReadTheLayoutIsDropped() {
    let decision = laptop.decide(copy) {
      $0.primaryDevice = laptop.number("igpu")
      $0.modifier = amdTiling
    }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(laptop.name(laptop.decide(copy) { $0.modifier = linear }.device) == "igpu")
    #expect(laptop.access("igpu", copy) { $0.modifier = amdTiling } == .unreachable)
    #expect(laptop.access("igpu", copy) { $0.modifier = linear } == .inPlace)
  }

  /// In a call `candidates` says that format and modifier were checked; in SetDefaults it does not.
  @Test func candidatesInTheCallHaveCheckedTheLayout() {
    func decide(inTheCall: Bool) -> Decision {
      laptop.decide(copy) {
        $0.primaryDevice = laptop.number("igpu")
        $0.modifier = amdTiling
        $0.candidates = candidates(laptop, ["igpu", "dgpu"])
        if inTheCall { $0.given.insert(.candidates) }
      }
    }
    #expect(laptop.name(decide(inTheCall: true).device) == "igpu")
    #expect(decide(inTheCall: true).access == .inPlace)
    #expect(laptop.name(decide(inTheCall: false).device) == "dgpu")
  }

  @Test func aDriverOfWhoseHardwareNothingIsKnownMayReadAnyLayout() {
    var machine = laptop
    machine.kernel = KernelVersion(7, 3)
    machine.add("virtio", "virtio_gpu")
    machine.add("nvidia", "nvidia-drm")
    let facts = machine.facts(
      machine.look(
        name: .named("i915"), reached: ["igpu", "dgpu", "virtio", "nvidia"]))
    for (id, access) in [
      ("virtio", Access.inPlace), ("nvidia", .unreachable), ("dgpu", .unreachable),
    ] {
      #expect(machine.access(id, facts) { $0.modifier = intelTiling } == access, "\(id)")
    }
  }

  // MARK: 1. Candidates and software

  @Test func nobodyButTheCandidatesIsNamed() {
    let own = laptop.facts(laptop.look(reached: ["dgpu"], wouldMove: ["igpu"]))
    let decision = laptop.decide(own) { $0.candidates = candidates(laptop, ["igpu"]) }
    #expect(laptop.name(decision.device) == "igpu")
    #expect((decision.rule, decision.access) == (.fallback, .moves))
    let declared = laptop.decide(own) {
      $0.candidates = candidates(laptop, ["igpu"])
      $0.samplingDevice = laptop.number("dgpu")
    }
    #expect(laptop.name(declared.device) == "igpu")
    #expect(declared.confidence == .guess)
  }

  @Test func softwareIsNamedWhereItIsACandidateOrTheScanoutTarget() {
    var machine = laptop
    machine.add("soft", "vkms") { $0.description.role = .software }
    let facts = machine.facts(
      machine.look(name: .named("udmabuf"), reached: ["igpu", "dgpu", "soft"]))
    func decide(_ edit: (inout Hints) -> Void) -> Decision { machine.decide(facts, hints: edit) }

    let soft = machine.number("soft")
    let primary = decide { $0.primaryDevice = soft }
    #expect(machine.name(primary.device) == "igpu")
    let candidate = decide { $0.candidates = candidates(machine, ["soft"]) }
    #expect(machine.name(candidate.device) == "soft")
    #expect((candidate.rule, candidate.access) == (.homeSystem, .inPlace))
    let scanned = decide {
      $0.targetDevice = soft
      $0.usage = .scanout
      $0.candidates = candidates(machine, ["igpu"])
    }
    #expect(machine.name(scanned.device) == "soft")
    #expect((scanned.rule, scanned.access) == (.scanoutTarget, .inPlace))
    let sampled = decide {
      $0.targetDevice = soft
      $0.candidates = candidates(machine, ["igpu"])
    }
    #expect(machine.name(sampled.device) == "igpu", "the target, for scan-out alone")
  }

  // MARK: 1. Hangs

  @Test func whatMayHangIsUnknownAndNamedByNoRuleBesideAnother() {
    let machine = Machine.workstation("amdgpu", "nvidia-drm", noMove: .ignored)
    let facts = machine.facts(machine.look())
    #expect(machine.access("a", facts) == .unknown)
    for id in ["a", "b"] {
      let decision = machine.decide(facts) { $0.primaryDevice = machine.number(id) }
      #expect(machine.name(decision.device) == "b")
    }
    let only = machine.decide(facts) { $0.candidates = candidates(machine, ["a"]) }
    #expect((only.device, only.rule, only.access) == (nil, .noCandidate, .unknown))
  }

  @Test func whatMayHangIsTheLastResortWhereNothingElseIsThere() {
    var machine = Machine.workstation("amdgpu", "nvidia-drm", noMove: .ignored)
    machine.remove("b")
    let facts = machine.facts(machine.look())
    let decision = machine.decide(facts)
    #expect(machine.name(decision.device) == "a")
    #expect((decision.rule, decision.access) == (.lastResort, .unknown))
    let only = machine.decide(facts) { $0.candidates = candidates(machine, ["a"]) }
    #expect(only.device == nil, "where candidates are given: never")
  }

  @Test func theLastResortFailsRatherThanHangs() {
    var machine = Machine.workstation("amdgpu", "nouveau", noMove: .ignored)
    machine.add("gone", "nvidia-drm")
    machine.remove("gone")
    let facts = machine.facts(machine.look(failing: ["b"]))
    let decision = machine.decide(facts) { $0.primaryDevice = machine.number("a") }
    #expect(machine.name(decision.device) == "b")
    #expect((decision.rule, decision.access) == (.lastResort, .unreachable))
  }

  /// xe may hang on a buffer of the NVIDIA device that went, which can't have made an Intel tiling.
  @Test func noTilingIsOfAGoneDeviceOfAnotherVendor() {
    func decision(gone driver: String, modifier: UInt64?) -> (device: String?, access: Access) {
      var machine = Machine.workstation("xe", "nvidia-drm", noMove: .ignored)
      machine.add("gone", driver)
      machine.remove("gone")
      let decision = machine.decide(machine.facts(machine.look(name: .drm))) {
        $0.modifier = modifier
        $0.primaryDevice = machine.number("a")
      }
      return (machine.name(decision.device), decision.access)
    }
    let intel: UInt64 = 0x0100_0000_0000_0001
    #expect(decision(gone: "nvidia-drm", modifier: intel) == ("a", .native))
    #expect(decision(gone: "xe", modifier: intel).access != .native)
    #expect(decision(gone: "nvidia-drm", modifier: nil).device != "a")
  }

  /// The row is about video memory; PRIME render offload's copies are made for the other device.
  @Test func nvidiasCopyInSystemMemoryHangsNobody() {
    let laptop = Machine.laptop("nvidia-drm", noMove: .ignored)
    func facts(_ home: Memory) -> BufferFacts {
      laptop.facts(
        laptop.look(
          reached: home == .system ? ["igpu"] : [],
          introspection: laptop.introspection("dgpu", residency: home, preferred: home)))
    }
    #expect(laptop.access("igpu", facts(.system)) == .inPlace)
    #expect(laptop.access("igpu", facts(.dedicated)) == .unreachable)
    let decision = laptop.decide(facts(.system)) { $0.primaryDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "igpu")
    #expect((decision.rule, decision.confidence) == (.homeSystem, .intent))
  }

  // MARK: 2. Declared

  @Test func aDeclarationClearsAHangThatIsOnlyPossible() {
    let laptop = Machine.laptop("nvidia-drm", noMove: .ignored)
    let facts = laptop.facts(laptop.look())
    #expect(
      laptop.name(laptop.decide(facts) { $0.primaryDevice = laptop.number("igpu") }.device)
        == "dgpu")
    let decision = laptop.decide(facts) { $0.samplingDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "igpu")
    #expect(
      (decision.rule, decision.access, decision.confidence) == (.declared, .unknown, .intent))
  }

  @Test func neverOneThatIsCertain() {
    let laptop = Machine.laptop("nvidia-drm", noMove: .ignored)
    let facts = laptop.facts(
      laptop.look(
        introspection: laptop.introspection("dgpu", residency: .dedicated, preferred: .dedicated)))
    let decision = laptop.decide(facts) { $0.samplingDevice = laptop.number("igpu") }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(decision.rule == .homeDedicated)
  }

  @Test func aDeclarationThatRule1DroppedIsNone() {
    var laptop = laptop
    laptop.change("dgpu") { $0.state = .released }
    let facts = laptop.facts(laptop.look(name: .named("udmabuf"), reached: ["igpu"]))
    let declared = laptop.decide(facts) { $0.samplingDevice = laptop.number("dgpu") }
    #expect(declared == laptop.decide(facts))
    #expect(declared.confidence != .intent)
    var hints = Hints()
    func evidence() -> [String] {
      Explainer.explain(
        [facts], hints, among: laptop.table
      ).evidence.filter { $0.hasPrefix("sampling-device") }
    }
    #expect(evidence().isEmpty)
    hints.samplingDevice = laptop.number("dgpu")
    #expect(evidence().count == 1)
  }

  @Test func aDeclarationGivesWayToScanout() {
    let decision = laptop.decide(
      laptop.facts(laptop.look(reached: ["dgpu"], records: ["dgpu": .dedicated]))
    ) {
      $0.samplingDevice = laptop.number("igpu")
      $0.targetDevice = laptop.number("dgpu")
      $0.usage = .scanout
    }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect((decision.rule, decision.access) == (.scanoutTarget, .native))
  }

  // MARK: 8. None of the candidates

  @Test func noneOfTheCandidatesIsFit() {
    let failed = laptop.facts(laptop.look(reached: ["dgpu"], failing: ["igpu"]))
    func decide(_ facts: BufferFacts, _ list: DeviceList) -> Decision {
      laptop.decide(facts) { $0.candidates = list }
    }
    let certain = decide(failed, candidates(laptop, ["igpu"]))
    #expect((certain.device, certain.rule, certain.access) == (nil, .noCandidate, .unreachable))
    #expect(certain.confidence == .guess)
    #expect(laptop.name(decide(failed, candidates(laptop, ["igpu", "dgpu"])).device) == "dgpu")

    var released = laptop
    released.change("igpu") { $0.state = .released }
    let vouched = released.decide(released.facts(released.look(name: .named("udmabuf")))) {
      $0.candidates = candidates(released, ["igpu"])
    }
    #expect((vouched.device, vouched.rule, vouched.access) == (nil, .noCandidate, .unknown))

    let mixed = released.decide(released.facts(released.look(failing: ["dgpu"]))) {
      $0.candidates = candidates(released, ["igpu", "dgpu"])
    }
    #expect((mixed.device, mixed.access) == (nil, .unknown), "not certain for each of them")
  }

  @Test func anEmptyListIsAListAndSoIsOneOfUnknownNumbers() {
    let stranger = DeviceNumber(major: 226, minor: 77)
    for list in [DeviceList(), DeviceList([stranger])] {
      let decision = laptop.decide(ofNoDevice) { $0.candidates = list }
      #expect((decision.device, decision.rule, decision.access) == (nil, .noCandidate, .unknown))
    }
    let rest = laptop.decide(ofNoDevice) {
      $0.candidates = DeviceList([stranger, laptop.number("dgpu")])
    }
    #expect(laptop.name(rest.device) == "dgpu")
  }

  @Test func theScanoutTargetIsNamedThoughNoCandidateIsFit() {
    let own = laptop.facts(laptop.look(reached: ["dgpu"], records: ["dgpu": .dedicated]))
    let decision = laptop.decide(own) {
      $0.candidates = DeviceList()
      $0.targetDevice = laptop.number("dgpu")
      $0.usage = .scanout
    }
    #expect(laptop.name(decision.device) == "dgpu")
    #expect(decision.rule == .scanoutTarget)
  }
}
