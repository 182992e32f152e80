// Where to allocate a buffer that several devices will use.

import Testing

@testable import Placement

@Suite struct AdviceTests {
  private func advise(
    _ machine: Machine, _ users: (String, Usage)..., hints edit: (inout Hints) -> Void = { _ in }
  ) -> Advice {
    var hints = Hints()
    edit(&hints)
    let users = users.map { AdviceUser(machine.number($0.0), $0.1) }
    return Advisor.advise(users, hints, among: machine.table)
  }

  /// Places as short text: "dgpu system native in-place".
  private func places(
    _ machine: Machine, _ users: (String, Usage)..., hints edit: (inout Hints) -> Void = { _ in }
  ) -> [String] {
    var hints = Hints()
    edit(&hints)
    let users = users.map { AdviceUser(machine.number($0.0), $0.1) }
    return Advisor.advise(users, hints, among: machine.table).places.map { place in
      let id = machine.name(machine.table.slot(of: place.device))!
      return ([id, place.memory.word] + place.accesses.map(\.word)).joined(separator: " ")
    }
  }

  /// The integrated GPU drives the panel; the card has a display of its own.
  private func laptop(_ driver: String = "amdgpu") -> Machine {
    var machine = Machine.laptop(driver)
    machine.change("igpu") {
      $0.description.integrated = true
      $0.description.connectors = ["eDP-1"]
    }
    machine.change("dgpu") {
      $0.description.integrated = false
      $0.description.connectors = ["HDMI-A-1"]
    }
    return machine
  }

  @Test func oneUserAllocatesInItsOwnMemory() {
    let places = places(laptop(), ("dgpu", .sample))
    #expect(
      places == [
        "dgpu dedicated native", "dgpu system native", "igpu system in-place",
      ])
  }

  /// A capture tool writes on the card what the panel's GPU shows and samples.
  @Test func twoUsersMeetInSystemMemory() {
    let places = places(laptop(), ("dgpu", .capture), ("igpu", [.sample, .scanout]))
    #expect(places == ["dgpu system native in-place", "igpu system in-place native"])
  }

  @Test func theUsersAreInTheOrderOfTheirWeight() {
    let laptop = laptop()
    #expect(
      places(laptop, ("igpu", .sample), ("dgpu", .sample))
        == ["igpu system native in-place", "dgpu system in-place native"])
    #expect(places(laptop, ("igpu", .sample), ("dgpu", .sample), ("igpu", [])).count == 2)
  }

  @Test func whoCantScanOutAnImportScansOutItsOwnAlone() {
    let laptop = laptop()
    #expect(
      places(laptop, ("dgpu", .scanout), ("igpu", .sample)) == ["dgpu system native in-place"])
    #expect(
      places(laptop, ("dgpu", .scanout), ("igpu", .scanout)) == ["dgpu system native in-place"])
  }

  @Test func whoHasNoOutputScansNothingOut() {
    var laptop = laptop()
    laptop.change("dgpu") { $0.description.connectors = [] }
    #expect(places(laptop, ("dgpu", .scanout)) == [])
  }

  @Test func whoDoesNotDrawIntoImportsWritesItsOwnAlone() {
    let laptop = laptop("nvidia-drm")
    #expect(
      places(laptop, ("dgpu", .capture), ("igpu", .sample)) == ["dgpu system native in-place"])
    #expect(
      places(laptop, ("dgpu", .sample), ("igpu", .sample))
        == ["dgpu system native in-place", "igpu system in-place native"])
    #expect(
      places(laptop, ("igpu", .capture), ("dgpu", .capture)) == ["dgpu system in-place native"])
  }

  @Test func noneWhereNobodysMemoryServesAll() {
    var machine = laptop("nvidia-drm")
    machine.add("other", "nvidia-drm", dedicated: 1 << 30)
    #expect(places(machine, ("dgpu", .capture), ("other", .capture)) == [], "so copy")
  }

  @Test func whatWasMeasuredToMoveIsLeftOut() {
    var machine = laptop()
    machine.pairs = "amdgpu i915 nothing nothing works"
    #expect(
      places(machine, ("dgpu", .sample), ("igpu", .sample)).first
        == "dgpu dedicated native in-place", "a user's row")
    machine.pairs = ""
    machine.measured = "amdgpu i915 moves unknown unknown"
    #expect(
      places(machine, ("dgpu", .sample), ("igpu", .sample))
        == ["dgpu system native in-place", "igpu system in-place native"])
  }

  @Test func whoMayBeNamed() {
    var laptop = laptop()
    laptop.add("soft", "vgem") { $0.description.role = .software }
    laptop.add("released", "radeon", dedicated: 1 << 30) { $0.state = .released }
    let users = (("igpu", Usage.sample))
    #expect(
      places(laptop, users)
        == ["igpu system native", "dgpu system in-place"])
    #expect(
      places(laptop, users) { $0.candidates = DeviceList([laptop.number("dgpu")]) }
        == ["dgpu system in-place"])
    #expect(
      places(laptop, users) { $0.candidates = DeviceList([laptop.number("soft")]) }
        == ["soft system in-place"])
    #expect(places(laptop, users) { $0.candidates = DeviceList() } == [])
  }

  @Test func awakeBeforeAsleepAndThenTheStableOrder() {
    var machine = laptop()
    machine.add("aaa", "radeon", dedicated: 1 << 30)
    let user = ("igpu", Usage.sample)
    #expect(
      places(machine, user)
        == ["igpu system native", "aaa system in-place", "dgpu system in-place"])
    machine.change("aaa") { $0.description.power = .suspended }
    #expect(
      places(machine, user)
        == ["igpu system native", "dgpu system in-place", "aaa system in-place"])
  }

  // MARK: Layouts

  @Test func aTilingIsReadByItsVendorsHardwareAlone() {
    let laptop = laptop()
    #expect(
      places(laptop, ("dgpu", .sample)) { $0.modifier = amdTiling }
        == ["dgpu dedicated native", "dgpu system native"])
    #expect(
      places(laptop, ("dgpu", .sample), ("igpu", .sample)) { $0.modifier = amdTiling } == [])
    #expect(
      places(laptop, ("dgpu", .sample), ("igpu", .sample)) { $0.modifier = linear }.count == 2)
    // Candidates say nothing of layouts.
    let candidates = places(laptop, ("dgpu", .sample), ("igpu", .sample)) {
      $0.modifier = amdTiling
      $0.candidates = DeviceList([laptop.number("dgpu"), laptop.number("igpu")])
      $0.given.insert(.candidates)
    }
    #expect(candidates == [])
  }

  @Test func anImplicitLayoutLeavesTheCopyOfADedicatedGPU() {
    #expect(
      places(laptop(), ("dgpu", .sample), ("igpu", .sample)) { $0.modifier = implicitModifier }
        == ["dgpu system native in-place"])
  }

  // MARK: Reach alone

  /// No import can move it out of system memory, but whether the display can scan out scattered
  /// pages is unknown.
  @Test func reachAloneAllowsWhatIsNotKnownButCantMove() {
    var machine = Machine()
    machine.add("gpu", "v3d")
    machine.add("panel", "vc4") {
      $0.description.role = .display
      $0.description.render = nil
    }
    #expect(
      places(machine, ("gpu", .sample), ("panel", []))
        == ["panel system in-place native", "gpu system native unknown"])
    #expect(
      places(machine, ("gpu", .sample), ("panel", .scanout)) == ["panel system in-place native"])
  }

  @Test func bitsThatPrimedDoesNotKnowArePassedOver() {
    let unknown = Usage(rawValue: 0x80)
    #expect(
      places(laptop(), ("dgpu", [.sample, unknown])) == places(laptop(), ("dgpu", .sample)))
  }

  // MARK: Why not

  @Test func whatIsLeftOutIsExplained() {
    let laptop = laptop("nvidia-drm")
    let advice = advise(laptop, ("dgpu", .capture), ("igpu", .sample)) { $0.explain = true }
    #expect(
      advice.evidence == [
        "i915 (/dev/dri/renderD128), system memory: nvidia-drm (/dev/dri/renderD129) can't write it",
        "nvidia-drm (/dev/dri/renderD129), dedicated memory: i915 (/dev/dri/renderD128) would hang on it",
      ])
    #expect(advise(laptop, ("dgpu", .capture), ("igpu", .sample)).evidence == [])
    let tiled = advise(laptop, ("igpu", .sample)) {
      $0.modifier = intelTiling
      $0.explain = true
    }
    #expect(tiled.evidence.contains { $0.hasSuffix("it does not have this layout") })
  }

  /// Every access that Advise returns equals Place's verdict on such a buffer.
  @Test func aPlaceIsNeverOneThatMovesOrHangs() {
    for seed in 0..<200 as Range<UInt64> {
      let story = Story(seed: seed)
      let devices = story.machine.table
      let users = devices.named.map { AdviceUser(devices.number(of: $0), []) }
      for count in 1...max(1, min(2, users.count)) where users.count >= count {
        let users = Array(users.prefix(count))
        for place in Advisor.advise(users, Hints(), among: devices).places {
          let exporter = devices.slot(of: place.device)!
          #expect(place.accesses.count == count)
          for (user, access) in zip(users, place.accesses) {
            let slot = devices.slot(of: user.device)!
            #expect((access == .native) == (slot == exporter), "seed \(seed)")
            #expect(access.weakness <= Access.unknown.weakness, "seed \(seed)")
            #expect(
              !devices.importers(of: exporter, in: place.memory).hanging.contains(slot),
              "seed \(seed)")
          }
        }
      }
    }
  }
}
