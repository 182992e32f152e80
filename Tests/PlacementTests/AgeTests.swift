// The inodes of DMA-BUFs only grow: a buffer that is newer than an unplug was not exported by an
// unplugged device, and one that is newer than the beginning of a sleep that lasts was not exported
// by the sleeping device.

import Testing

@testable import Placement

@Suite struct AgeTests {
  private let old = BufferIdentity(inode: 100)
  private let young = BufferIdentity(inode: 101)

  // MARK: Unplugged

  @Test func whatIsYoungerThanAnUnplugIsOfNothingThatWasUnplugged() {
    var machine = Machine.workstation("amdgpu", "nouveau", noMove: .ignored)
    machine.remove("b")
    machine.goneBefore = 101
    func facts(_ buffer: BufferIdentity) -> BufferFacts {
      machine.facts(of: buffer, after: [machine.look()])
    }
    #expect(facts(old).exporters.candidates == ExporterSet(machine.set(["a"]), beyond: .gone))
    #expect(facts(young).exporters.candidates.certain == machine["a"])
    #expect(machine.decide(facts(old)).access == .mayMove)
    let decision = machine.decide(facts(young))
    #expect((decision.access, decision.confidence) == (.native, .state))
  }

  /// Nor can it hang because of a device that has gone.
  @Test func aGoneDeviceHangsNobodyWithWhatIsYounger() {
    var machine = Machine.laptop("nvidia-drm", noMove: .ignored)
    machine.add("egpu", "radeon", dedicated: 1 << 30, noMove: .ignored)
    machine.remove("dgpu")
    machine.goneBefore = 101
    #expect(machine.access("egpu", machine.facts(of: old, after: [machine.look()])) == .unknown)
    let facts = machine.facts(of: young, after: [machine.look()])
    #expect(machine.access("egpu", facts) == .native)
    #expect(machine.name(machine.decide(facts).device) == "egpu")
  }

  @Test func aDeviceThatGoesAfterwardsIsRememberedAllTheSame() {
    var machine = Machine.workstation("amdgpu", "amdgpu")
    machine.goneBefore = 101
    var facts = machine.facts(
      of: young, after: [machine.look(reached: ["b"], wouldMove: ["a"])])
    facts.scrub(machine["b"])
    #expect(facts.exporters.candidates == ExporterSet(DeviceSet(), beyond: .gone))
  }

  // MARK: Asleep

  private func asleep(_ driver: String) -> Machine {
    var machine = Machine.workstation("amdgpu", driver, noMove: .ignored)
    machine.goneBefore = 0
    machine.change("b") {
      $0.description.power = .suspended
      $0.asleepSince = 101
    }
    return machine
  }

  @Test func whatIsYoungerThanASleepIsNotTheSleepers() {
    for driver in ["amdgpu", "radeon", "xe", "nvidia-drm"] {
      let machine = asleep(driver)
      func certain(_ buffer: BufferIdentity) -> String? {
        machine.name(
          machine.facts(of: buffer, after: [machine.look()]).exporters.candidates.certain)
      }
      #expect(certain(old) == nil, "\(driver)")
      #expect(certain(young) == "a", "\(driver)")
    }
  }

  /// v3d allocates while it sleeps; of a driver without a row nothing is known.
  @Test(arguments: ["v3d", "panfrost", "never-heard-of"])
  func unlessAllocatingDoesNotWakeIt(driver: String) {
    let machine = asleep(driver)
    let exporters = machine.facts(of: young, after: [machine.look()]).exporters.candidates
    #expect(machine.names(exporters.devices) == ["a", "b"])
  }

  /// Introspection or the driver's own record proves that it was exported before that.
  @Test func theKernelsWordIsStrongerThanAge() {
    let machine = asleep("amdgpu")
    let look = machine.look(
      introspection: machine.introspection("b", residency: .system, preferred: .dedicated))
    #expect(
      machine.facts(of: young, after: [look]).exporters.candidates.certain == machine["b"])
  }

  // MARK: The registry's clock

  private func registry(counter: UInt64? = 10) -> Registry {
    var registry = Registry(counter: counter)
    var device = DeviceDescription(stableID: "a", sysfsPath: "/sys/a", driver: "amdgpu")
    device.render = Node(
      path: "/dev/dri/renderD128", number: DeviceNumber(major: 226, minor: 128))
    device.power = .active
    _ = registry.apply(device)
    return registry
  }
  private let slot = DeviceSlot(0)

  @Test func aSleepBeginsWhenItIsFirstSeenAndEndsWithTheTimeAwake() {
    var registry = registry()
    var made: UInt64 = 20
    func read(_ power: Power, awake: Milliseconds?) -> UInt64? {
      _ = registry.set(
        power, activeTime: awake,
        counter: {
          made += 1
          return made
        }, of: slot)
      return registry[slot]?.asleepSince
    }
    #expect(read(.active, awake: 500) == nil)
    #expect(read(.suspended, awake: 900) == 21)
    #expect(read(.suspended, awake: 900) == 21, "it has slept in between")
    #expect(made == 21, "no buffer is made for a sleep that lasts")
    #expect(read(.suspended, awake: 950) == 22, "it was awake in between, and may have allocated")
    #expect(read(.active, awake: 960) == nil)
    #expect(read(.suspended, awake: 960) == 23)
  }

  @Test func withoutTheTimeAwakeNoSleepIsDated() {
    var registry = registry()
    _ = registry.set(.suspended, activeTime: nil, counter: { 30 }, of: slot)
    #expect(registry[slot]?.asleepSince == nil)
    _ = registry.set(.suspended, activeTime: 5, counter: { nil }, of: slot)
    #expect(registry[slot]?.asleepSince == .max, "none could be made: all may be older")
  }

  @Test func whatIsYoungerThanThatASleepBeganChangesNoAnswerOfOthers() {
    var registry = registry()
    _ = registry.set(.suspended, activeTime: 5, counter: { 30 }, of: slot)
    let change = registry.set(.suspended, activeTime: 6, counter: { 40 }, of: slot)
    #expect(change?.matters == false)
  }

  @Test func nothingHadGoneBeforeTheStart() {
    #expect(registry().goneBefore == 10)
    #expect(registry(counter: nil).goneBefore == .max, "it can't be told")
    var registry = registry()
    _ = registry.remove(sysfsPath: "/sys/a")
    registry.noteGone(at: 50)
    #expect(registry.goneBefore == 50)
    registry.noteGone(at: nil)
    #expect(registry.goneBefore == .max)
  }
}
