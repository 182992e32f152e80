// Devices that appear, go, are released or hang, and the fds that stand for buffers.

import Glibc
import Linux
import Placement
import Ports
import Simulation
import Testing

@Suite struct HotplugTests {
  @Test func eventsAreToldAndTwiceIsNothing() throws {
    let rig = Rig(try hybrid())
    var told: [String] = []
    try rig.kernel.listen { event in
      switch event {
      case .present(let device): told.append("+\(device.model)")
      case .absent(let path): told.append("-\(path)")
      case .overrun: told.append("!")
      }
    }
    #expect(rig.kernel.enumerate().map(\.model) == ["i", "d"])
    rig.kernel.unplug(1)
    rig.kernel.unplug(1)
    #expect(rig.kernel.enumerate().map(\.model) == ["i"])
    #expect(rig.kernel.find(rig.scenario.devices[1].number) == nil)
    rig.kernel.plug(1)
    rig.kernel.plug(1)
    #expect(told == ["-/sys/devices/simulated/d", "+d"])
  }

  @Test func eitherNodeNamesTheDevice() throws {
    let rig = Rig(try hybrid())
    #expect(rig.kernel.find(DeviceNumber(major: 226, minor: 0))?.model == "d")
    #expect(rig.kernel.find(DeviceNumber(major: 226, minor: 129))?.model == "d")
    #expect(rig.kernel.find(DeviceNumber(major: 226, minor: 5)) == nil)
  }

  @Test func anUnpluggedExporterIsStillNamedButNotRegistered() throws {
    let rig = Rig(try hybrid(introspection: true))
    let buffer = try rig.hold("b")
    let number = DeviceNumber(major: 226, minor: 129)
    var seen = try #require(rig.kernel.introspect(buffer))
    #expect(seen.render == number && seen.registered && seen.preferred == .dedicated)
    rig.kernel.unplug(1)
    rig.kernel.plug(1)
    seen = try #require(rig.kernel.introspect(buffer))
    #expect(seen.render == number && !seen.registered)
    // The device that came back is another one: its imports are not self-imports.
    #expect(try rig.probe(1, "b", .safeImport) == .refused(errno: ENODEV))
    #expect(rig.moves == 0)
  }

  @Test func whatIsUnderWayEndsAsGone() throws {
    let rig = Rig(try hybrid())
    var outcomes: [ProbeOutcome] = []
    try rig.ask(0, "b", .safeImport) { outcomes.append($0) }
    rig.kernel.unplug(0)
    rig.prober.runPending()
    #expect(outcomes == [.gone])
    #expect(rig.moves == 0)
  }

  @Test func releaseEndsWhatIsUnderWay() throws {
    let rig = Rig(try hybrid())
    var events: [String] = []
    try rig.ask(0, "b", .safeImport) { events.append("\($0)") }
    rig.prober.release(DeviceSlot(0)) { _ in events.append("released") }
    #expect(events == [])
    rig.prober.runPending()
    #expect(events == ["gone", "released"])
    #expect(rig.moves == 0 && rig.kernel.held == 0)
  }

  @Test func aHungDriverAnswersAtTheDeadline() throws {
    let rig = Rig(try hybrid())
    rig.kernel.play(.hang, on: 0)
    var outcomes: [String] = []
    try rig.ask(0, "b", .safeImport) { outcomes.append("hung \($0)") }
    try rig.ask(1, "b", .safeImport) { _ in outcomes.append("other") }
    rig.prober.runPending()
    #expect(outcomes == ["other"])
    #expect(rig.prober.nextDue == rig.clock.now + probeDeadline)
    rig.clock.advance(to: rig.clock.now + probeDeadline - 1)
    rig.prober.runPending()
    #expect(outcomes == ["other"])
    rig.clock.advance(to: rig.clock.now + 1)
    rig.prober.runPending()
    #expect(outcomes == ["other", "hung timedOut"])
    // The call is still in the driver, with the node and the dma-buf that it was given.
    #expect(rig.kernel.held == 2)
    #expect(rig.prober.nextDue == nil)
    rig.kernel.unplug(0)
    rig.prober.runPending()
    #expect(rig.kernel.held == 0)
  }

  @Test func importsTakeTheirTimeSideBySide() throws {
    var machine = try hybrid()
    machine.devices[0].importTime = 20
    machine.devices[1].importTime = 30
    let rig = Rig(machine)
    let start = rig.clock.now
    var ends: [String] = []
    for (device, name) in [(0, "first"), (0, "second"), (1, "other")] {
      try rig.ask(device, "b", .safeImport) { _ in ends.append("\(name) \(rig.clock.now - start)") }
    }
    rig.prober.runPending()
    #expect(ends == [])
    while let due = rig.prober.nextDue {
      rig.clock.advance(to: due)
      rig.prober.runPending()
    }
    #expect(ends == ["first 20", "other 30", "second 40"])
    #expect(rig.kernel.held == 0)
  }

  /// The device is released meanwhile: nobody waits for the import.
  @Test func anImportThatTakesTimeEndsWithARelease() throws {
    var machine = try hybrid()
    machine.devices[0].importTime = 20
    let rig = Rig(machine)
    var events: [String] = []
    try rig.ask(0, "b", .safeImport) { events.append("\($0)") }
    rig.prober.runPending()
    rig.prober.release(DeviceSlot(0)) { _ in events.append("released") }
    rig.prober.runPending()
    #expect(events == ["gone", "released"])
  }

  @Test func onlyTheFirstCallIsStuckInAHungDriver() throws {
    let rig = Rig(try hybrid())
    rig.kernel.play(.hang, on: 0)
    var outcomes: [ProbeOutcome] = []
    for _ in 0..<3 { try rig.ask(0, "b", .safeImport) { outcomes.append($0) } }
    rig.prober.runPending()
    rig.clock.advance(to: rig.clock.now + probeDeadline)
    rig.prober.runPending()
    #expect(outcomes == [.timedOut, .timedOut, .timedOut])
    #expect(rig.kernel.held == 2)
  }
}

@Suite struct BufferTests {
  @Test func fdsAreRecognised() throws {
    let rig = Rig(try hybrid())
    let (b, u0, u1) = (try rig.hold("b"), try rig.hold("u"), try rig.hold("u", plane: 1))
    #expect(Set([b.identity, u0.identity, u1.identity]).count == 3)
    #expect(try rig.hold("u", plane: 1).identity == u1.identity)
    #expect(rig.kernel.label(of: b.fd.rawValue).exporter == .drm)
    #expect(rig.kernel.label(of: u0.fd.rawValue).exporter == .named("udmabuf"))
    #expect(rig.kernel.introspect(b) == nil)
  }

  @Test func everythingElseIsNotADMABuf() throws {
    let kernel = SimulatedKernel(try hybrid())
    for (id, plane) in [("nobody", 0), ("b", 1), ("u", 2), ("b.x", 0), ("b.", 0), ("b.0.0", 0)] {
      let fd = try makeBuffer(id, plane: plane)
      #expect(kernel.identity(of: fd.rawValue) == nil, "\(id).\(plane)")
    }
    let null = OwnedFD(try Errno.check(open("/dev/null", O_RDWR)))
    #expect(kernel.identity(of: null.rawValue) == nil)
    #expect(kernel.identity(of: -1) == nil)
  }

  @Test(arguments: [
    ("i915", ExporterName.named("i915")), ("vmwgfx", .named("vmwgfx")),
    ("virtio_gpu", .named("virtio_gpu")), ("omapdrm", .named("omapdrm")),
    ("tegra", .named("tegra_drm")), ("armada-drm", .named("armada")), ("amdgpu", .drm),
    ("xe", .drm),
    ("nouveau", .drm), ("radeon", .drm), ("nvidia-drm", .drm), ("vgem", .drm), ("qxl", .drm),
  ])
  func exporterNames(_ driver: String, _ name: ExporterName) throws {
    let rig = Rig(try hybrid(exporter: driver))
    let buffer = try rig.hold("b")
    #expect(rig.kernel.label(of: buffer.fd.rawValue).exporter == name)
  }

  @Test func heldFdsAreCountedForAsLongAsTheyAre() throws {
    let rig = Rig(try hybrid())
    var buffer: HeldBuffer? = try rig.hold("b")
    rig.kernel.watch(try #require(buffer))
    rig.kernel.watch(try #require(buffer))
    #expect(rig.kernel.held == 1)
    buffer = nil
    #expect(rig.kernel.held == 0)
  }
}
