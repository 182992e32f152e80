// The simulated kernel behaves as real ones: what moves, wakes, becomes master, and is counted.

import Glibc
import Linux
import Placement
import Ports
import Simulation
import Testing

@Suite struct ImportTests {
  @Test func theFlagIsAFullImportWhereItIsIgnored() throws {
    let rig = Rig(try hybrid())
    #expect(try rig.probe(0, "b", .noMoveImport) == .reached(.none))
    #expect(rig.moves == 1)
    #expect(rig.kernel.dmabuf(0, plane: 0)?.residency == .system)
    // It does not return by itself, and moves no further.
    #expect(try rig.probe(0, "b", .safeImport) == .reached(.none))
    #expect(rig.moves == 1)
    #expect(rig.kernel.held == 0)
  }

  @Test(arguments: ["honoured", "validated"])
  func theFlagProtectsWhereItIsHonoured(_ mode: String) throws {
    let rig = Rig(try hybrid(noMove: mode))
    #expect(try rig.probe(0, "b", .noMoveImport) == .wouldMove)
    #expect(rig.moves == 0)
    #expect(try rig.probe(0, "b", .safeImport) == .reached(.none))
    #expect(rig.moves == 1)
  }

  @Test func unknownFlagsAreRefusedOnlyByAKernelThatChecks() throws {
    for (mode, refused) in [("ignored", false), ("honoured", false), ("validated", true)] {
      let kernel = SimulatedKernel(try hybrid(noMove: mode))
      let file = try kernel.open(1)
      let own = try #require(kernel.dmabuf(0, plane: 0))
      var code: Int32 = 0
      do { try kernel.primeImport(own, into: file, flags: 1 << 31) } catch { code = error.code }
      #expect(code == (refused ? EINVAL : 0))
      kernel.close(file)
      #expect(kernel.held == 0)
    }
  }

  @Test func aSelfImportNeverMoves() throws {
    let rig = Rig(try hybrid())
    #expect(try rig.probe(1, "b", .safeImport) == .reached(.preferred(.dedicated)))
    #expect(rig.moves == 0)
    #expect(rig.kernel.dmabuf(0, plane: 0)?.residency == .dedicated)
  }

  @Test func aForeignBufferIsRecordedAsSystemMemory() throws {
    let rig = Rig(try hybrid(importer: #""driver": "nouveau""#, residency: "system"))
    #expect(try rig.probe(0, "b", .safeImport) == .reached(.preferred(.system)))
    #expect(try rig.probe(1, "u", .safeImport) == .reached(.preferred(.system)))
  }

  @Test(arguments: [
    ("amdgpu", true), ("radeon", true), ("nouveau", true), ("xe", false), ("i915", false),
  ])
  func whoKeepsARecord(_ driver: String, _ keeps: Bool) throws {
    let rig = Rig(try hybrid(exporter: driver, importer: #""driver": "vgem""#))
    #expect(try rig.probe(1, "b", .safeImport) == .reached(keeps ? .preferred(.dedicated) : .none))
  }

  @Test(arguments: [
    ("radeon", #""driver": "virtio_gpu", "import": false"#, ENODEV, 1),
    ("radeon", #""driver": "qxl", "import": false"#, ENOSYS, 1),
    ("radeon", #""driver": "bochs-drm", "import": false"#, EINVAL, 0),
    ("radeon", #""driver": "virtio_gpu""#, ENODEV, 1),
    ("nouveau", #""driver": "i915""#, ENODEV, 1),
    ("i915", #""driver": "amdgpu""#, ENODEV, 1),
    ("amdgpu", #""driver": "virtio_gpu""#, ENODEV, 0),
    ("amdgpu", #""driver": "qxl", "import": false"#, ENOSYS, 0),
    ("nvidia-drm", #""driver": "amdgpu""#, ENOMEM, 0),
  ])
  func aFailedImportCanMoveToo(_ exporter: String, _ importer: String, _ errno: Int32, _ moves: Int)
    throws
  {
    let rig = Rig(try hybrid(exporter: exporter, importer: importer, reaches: ""))
    #expect(try rig.probe(0, "b", .safeImport) == .refused(errno: errno))
    #expect(rig.moves == moves)
    #expect(rig.kernel.held == 0)
  }

  @Test func theFlagKeepsAFailingImportFromMoving() throws {
    let rig = Rig(try hybrid(noMove: "honoured", exporter: "radeon", reaches: ""))
    #expect(try rig.probe(0, "b", .noMoveImport) == .wouldMove)
    #expect(rig.moves == 0)
  }

  /// EINVAL from a device that imports nothing says nothing about moving.
  @Test func einvalOfOneThatNeverImports() throws {
    let importer = #""driver": "bochs-drm", "import": false"#
    let rig = Rig(try hybrid(noMove: "honoured", importer: importer, reaches: ""))
    #expect(try rig.probe(0, "b", .noMoveImport) == .refused(errno: EINVAL))
  }

  @Test func anImportThatHangsAtUseSucceedsAndMovesNothing() throws {
    let rig = Rig(
      try hybrid(exporter: "nvidia-drm", reaches: #"["i", "d", "hangs"], ["i", "d", "system"]"#))
    #expect(try rig.probe(0, "b", .safeImport) == .reached(.none))
    #expect(rig.moves == 0)
    let identity = try rig.hold("b").identity
    #expect(rig.kernel.useHangs(identity, on: 0))
    rig.kernel.migrate(0, to: .system)
    #expect(!rig.kernel.useHangs(identity, on: 0))
  }

  @Test func buffersOfNoDeviceAreReachedByAllThatImport() throws {
    let rig = Rig(try hybrid())
    #expect(try rig.probe(0, "u", .safeImport) == .reached(.none))
    #expect(try rig.probe(1, "u", .safeImport) == .reached(.preferred(.system)))
    #expect(rig.moves == 0)
  }

  @Test func theSameDMABufTwiceIsOneHandle() throws {
    let kernel = SimulatedKernel(try hybrid())
    let file = try kernel.open(1)
    let own = try #require(kernel.dmabuf(0, plane: 0))
    try kernel.primeImport(own, into: file, flags: 0)
    try kernel.primeImport(own, into: file, flags: 0)
    #expect(kernel.held == 2)
    kernel.gemClose(own, in: file)
    #expect(kernel.held == 1)
    try kernel.primeImport(own, into: file, flags: 0)
    kernel.close(file)
    #expect(kernel.held == 0)
  }
}

@Suite struct PowerAndMasterTests {
  @Test func aSleepingDeviceIsNotOpened() throws {
    let rig = Rig(try hybrid(power: "suspended"))
    #expect(rig.kernel.power(of: try rig.description(1)).power == .suspended)
    #expect(try rig.probe(1, "b", .safeImport) == .asleep)
    #expect(try rig.assess(1) == .asleep)
    #expect(rig.wakes == 0)
  }

  @Test func openingWakesAndIsCountedOnce() throws {
    let rig = Rig(try hybrid(power: "suspended"))
    #expect(try rig.probe(1, "b", .safeImport, wake: true) == .reached(.preferred(.dedicated)))
    #expect(try rig.probe(1, "b", .safeImport, wake: true) == .reached(.preferred(.dedicated)))
    #expect(rig.wakes == 1)
    #expect(rig.kernel.power(of: try rig.description(1)).power == .active)
  }

  @Test func movingABufferWakesItsExporter() throws {
    let rig = Rig(try hybrid(power: "suspended"))
    #expect(try rig.probe(0, "b", .safeImport) == .reached(.none))
    #expect(rig.moves == 1 && rig.wakes == 1)
  }

  @Test func xeWakesWhenSomeoneAttaches() throws {
    for (driver, wakes) in [("xe", 1), ("amdgpu", 0)] {
      let rig = Rig(try hybrid(exporter: driver, power: "suspended", residency: "system"))
      #expect(try rig.probe(0, "b", .safeImport) == .reached(.none))
      #expect(rig.wakes == wakes)
    }
  }

  @Test func aCardWithoutAMasterMakesItsOpenerMaster() throws {
    let devices = """
      { "id": "kms", "driver": "cirrus", "card": 0 }, { "id": "gpu", "driver": "xe", "card": 1, "render": 128 }
      """
    let kernel = SimulatedKernel(try machine(devices: devices, buffers: ""))
    let first = try kernel.open(0)
    let second = try kernel.open(0)
    #expect(first.isMaster && !second.isMaster)
    #expect(!(try kernel.open(1)).isMaster)
    kernel.dropMaster(first)
    kernel.close(first)
    #expect(kernel.harm.masters == 0)
    let third = try kernel.open(0)
    kernel.close(third)
    #expect(kernel.harm.masters == 1)
  }

  @Test func theWorkersDropMasterFirst() throws {
    let scenario = try machine(
      devices: #"{ "id": "kms", "driver": "cirrus", "card": 0 }"#,
      buffers: #"{ "id": "u", "exporter": null, "home": "system", "residency": "system" }"#)
    let rig = Rig(scenario)
    #expect(try rig.probe(0, "u", .safeImport) == .reached(.none))
    _ = try rig.assess(0)
    #expect(rig.kernel.harm.masters == 0)
  }
}

/// A dma-buf's inode only grows.
@Suite struct AllocationTests {
  private func inode(_ rig: Rig, _ id: String) throws -> UInt64 { try rig.hold(id).identity.inode }

  @Test func whatIsAllocatedLaterHasAHigherNumber() throws {
    let rig = Rig(try hybrid())
    let first = try inode(rig, "u")
    let between = try #require(rig.kernel.newestIdentity()?.inode)
    let second = try inode(rig, "b")
    #expect(first < between && between < second)
    #expect(try inode(rig, "u") == first)
  }

  @Test(arguments: [Step.DeviceEvent.suspend, .unplug])
  func whatIsFirstAskedAboutAfterwardsWasAllocatedBefore(_ event: Step.DeviceEvent) throws {
    let rig = Rig(try hybrid())
    let before = try #require(rig.kernel.newestIdentity()?.inode)
    rig.kernel.play(event, on: 1)
    let after = try #require(rig.kernel.newestIdentity()?.inode)
    let allocated = try inode(rig, "b")
    #expect(before < allocated && allocated < after)
    rig.kernel.play(event == .suspend ? .resume : .plug, on: 1)
    #expect(
      try rig.probe(1, "b", .safeImport)
        == (event == .suspend ? .reached(.preferred(.dedicated)) : .refused(errno: ENODEV)))
  }

  @Test func theTimeAwakeStandsStillInSleep() throws {
    let rig = Rig(try hybrid())
    let device = try rig.description(1)
    func awake() -> Milliseconds? { rig.kernel.power(of: device).activeTime }
    rig.clock.advance(to: rig.clock.now + 1_000)
    #expect(awake() == 1_000)
    rig.kernel.play(.suspend, on: 1)
    rig.clock.advance(to: rig.clock.now + 5_000)
    #expect(awake() == 1_000)
    rig.kernel.play(.resume, on: 1)
    rig.clock.advance(to: rig.clock.now + 500)
    #expect(awake() == 1_500)
  }

  @Test func aNodeThatCantBeOpened() throws {
    let rig = Rig(
      try machine(
        devices: #"{ "id": "a", "driver": "xe", "card": 0, "render": 128, "openable": false }"#,
        buffers: #"{ "id": "u", "exporter": null, "home": "system", "residency": "system" }"#))
    #expect(try rig.probe(0, "u", .safeImport) == .unopened)
    #expect(rig.kernel.held == 0)
  }

  @Test func aHangEndsByAReset() throws {
    let rig = Rig(try hybrid())
    rig.kernel.play(.hang, on: 0)
    var outcomes: [ProbeOutcome] = []
    try rig.ask(0, "b", .safeImport) { outcomes.append($0) }
    rig.clock.advance(to: rig.clock.now + probeDeadline)
    rig.prober.runPending()
    #expect(outcomes == [.timedOut] && rig.kernel.held == 2)
    rig.kernel.play(.reset, on: 0)
    rig.prober.runPending()
    #expect(rig.kernel.held == 0)
  }
}

@Suite struct AbilityTests {
  @Test(arguments: [("ignored", NoMove.ignored), ("honoured", .honoured), ("validated", .honoured)])
  func theFlagIsAskedForWithoutAClientsBuffer(_ mode: String, _ expected: NoMove) throws {
    let rig = Rig(try hybrid(noMove: mode))
    for device in 0...1 {
      #expect(try rig.assess(device) == .known(DeviceAbilities(noMove: expected, imports: true)))
    }
    #expect(rig.moves == 0 && rig.wakes == 0 && rig.kernel.harm.masters == 0)
    #expect(rig.kernel.held == 0)
  }

  @Test func oneThatImportsNothingSaysNothingOfTheFlag() throws {
    let rig = Rig(
      try hybrid(
        noMove: "validated", importer: #""driver": "bochs-drm", "import": false"#, reaches: ""))
    #expect(try rig.assess(0) == .known(DeviceAbilities(noMove: .ignored, imports: false)))
  }
}
