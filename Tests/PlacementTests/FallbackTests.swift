// Rule 7, where the exporter is not known: a device that can't move the buffer before the default.

import Placement
import Testing

@Suite struct FallbackTests {
  private let linear: (inout Hints) -> Void = { $0.modifier = 0 }

  private func unknown(_ machine: Machine) -> BufferFacts { machine.facts(machine.look()) }

  /// Their records say "system": what one of them exported lies there, or it imported it.
  private func recorded(_ machine: Machine, by ids: String...) -> BufferFacts {
    var look = Observation()
    look.name = .drm
    for id in ids { look.add(.reached(.preferred(.system)), of: machine[id], forRecord: true) }
    return machine.facts(look)
  }

  @Test func aDeviceOfSystemMemoryMakesRoomForTheOnlyOneThatCouldBeHarmed() {
    var machine = Machine.workstation("xe", "xe", noMove: .ignored)
    machine.change("a") {
      $0.description.integrated = true
      $0.description.dedicatedMemory = 0
    }
    let facts = unknown(machine)
    let decision = machine.decide(facts, hints: linear)
    #expect(machine.name(decision.device) == "b")
    #expect((decision.rule, decision.access, decision.confidence) == (.fallback, .unknown, .guess))
    #expect(machine.name(machine.decide(facts).device) == "a", "who says nothing gets the default")
  }

  @Test func aRecordOfSystemMemoryLeavesTheOthers() {
    let machine = Machine.workstation("amdgpu", "xe", noMove: .ignored)
    #expect(machine.name(machine.decide(unknown(machine), hints: linear).device) == "a")
    let decision = machine.decide(recorded(machine, by: "a"), hints: linear)
    #expect(machine.name(decision.device) == "b" && decision.access == .unknown)
  }

  /// What is shown now was drawn by a device that was awake.
  @Test func aSleeperThatMayBeTheOnlyOwnerComesAfterThePrimaryDeviceThatIsAwake() {
    var machine = Machine.workstation("amdgpu", "amdgpu", noMove: .ignored)
    machine.change("b") { $0.description.power = .suspended }
    #expect(machine.name(machine.decide(unknown(machine), hints: linear).device) == "a")
    let facts = recorded(machine, by: "a")
    #expect(machine.name(machine.decide(facts, hints: linear).device) == "a")
  }

  @Test func whereAllCouldBeHarmedOneOfThemIsNamed() {
    var machine = Machine.workstation("amdgpu", "nouveau", noMove: .ignored)
    let facts = unknown(machine)
    #expect(machine.name(machine.decide(facts, hints: linear).device) == "a", "the primary device")
    machine.add("c", "i915", noMove: .ignored) {
      $0.description.integrated = true
      $0.description.preferredPrimary = true
    }
    let decision = machine.decide(unknown(machine), hints: linear)
    #expect(machine.name(decision.device) == "a" && decision.access == .mayMove, "not i915's")
  }

  /// vfio-pci or a camera: a module shows its own name.
  @Test func aStrangersBufferHangsNobody() {
    var machine = Machine.workstation("amdgpu", "nvidia-drm", noMove: .ignored)
    machine.kernel = KernelVersion(7, 3)
    func chosen(_ name: String) -> String? {
      machine.name(machine.decide(machine.facts(machine.look(name: .named(name)))).device)
    }
    #expect(chosen("vfio_pci") == "a")
    #expect(chosen("nvidia") == "b", "nvidia.ko's own may be of the same memory")
  }

  /// A driver whose layouts are not known scans out linear buffers only, as far as is known.
  @Test func aTilingIsNotClaimedToBeShownByADriverOfUnknownLayouts() {
    var machine = Machine()
    machine.add("gpu", "asahi")
    machine.add("dcp", "apple-drm") { $0.description.role = .display }
    let facts = machine.facts(machine.look(reached: ["gpu", "dcp"]))
    for (modifier, shows) in [(0, true), (0x0c00_0000_0000_0001, false)] as [(UInt64, Bool)] {
      let decision = machine.decide(facts) {
        $0.modifier = modifier
        $0.usage = [.sample, .scanout]
        $0.targetDevice = machine.number("dcp")
      }
      #expect((decision.rule == .scanoutTarget) == shows)
    }
  }
}
