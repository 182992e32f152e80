// The registry: device events, and the changes that it returns.

import Testing

@testable import Placement

@Suite struct RegistryTests {
  private func device(
    _ id: String, minor: UInt32 = 0, _ edit: (inout DeviceDescription) -> Void = { _ in }
  ) -> DeviceDescription {
    var device = DeviceDescription(stableID: id, sysfsPath: "/sys/\(id)", driver: "amdgpu")
    device.render = Node(
      path: "/dev/dri/renderD\(128 + minor)", number: DeviceNumber(major: 226, minor: 128 + minor))
    edit(&device)
    return device
  }

  @Test func appliedTwiceChangesNothing() {
    var registry = Registry()
    #expect(registry.apply(device("a")).map(\.kind) == [.added])
    #expect(registry.apply(device("a")).isEmpty)
    #expect(registry.remove(sysfsPath: "/sys/a").map(\.kind) == [.removed])
    #expect(registry.remove(sysfsPath: "/sys/a").isEmpty)
  }

  @Test func slotsAreUsedAgain() {
    var registry = Registry()
    _ = registry.apply(device("a"))
    _ = registry.apply(device("b", minor: 1))
    _ = registry.remove(sysfsPath: "/sys/a")
    #expect(registry.apply(device("c", minor: 2)).map(\.slot) == [DeviceSlot(0)])
  }

  @Test func nodesMayComeOneByOne() {
    var registry = Registry()
    _ = registry.apply(device("a") { $0.render = nil })
    let changes = registry.apply(device("a"))
    #expect(changes.map(\.kind) == [.changed])
    #expect(changes.map(\.matters) == [true])
  }

  @Test func anotherDriverOrNodeIsAnotherDevice() {
    for edit: (inout DeviceDescription) -> Void in [
      { $0.driver = "vfio" },
      { $0.render?.number = DeviceNumber(major: 226, minor: 140) },
    ] {
      var registry = Registry()
      _ = registry.apply(device("a"))
      #expect(registry.apply(device("a", edit)).map(\.kind) == [.removed, .added])
    }
  }

  @Test func whatIsOnlyShownMattersToNoAnswer() {
    let edits: [(Bool, (inout DeviceDescription) -> Void)] = [
      (false, { $0.model = "other" }), (false, { $0.connectors = ["HDMI-A-1"] }),
      (false, { $0.connected = ["HDMI-A-1"] }),
      (true, { $0.connectors = ["eDP-1"] }), (true, { $0.power = .suspended }),
      (true, { $0.ignored = true }), (true, { $0.role = .software }),
    ]
    for (matters, edit) in edits {
      var registry = Registry()
      _ = registry.apply(device("a"))
      #expect(registry.apply(device("a", edit)).map(\.matters) == [matters])
    }
  }

  @Test func overrunBringsOnlyTheDifference() {
    var registry = Registry()
    for (i, id) in ["a", "b", "c"].enumerated() { _ = registry.apply(device(id, minor: UInt32(i))) }
    let changes = registry.replaceAll(by: [
      device("b", minor: 1), device("c", minor: 2) { $0.model = "new" }, device("d", minor: 3),
    ])
    #expect(changes.map(\.kind) == [.removed, .changed, .added])
    #expect(changes.map { $0.entry.description.stableID } == ["a", "c", "d"])
  }

  @Test func goneDriversAreRemembered() {
    var registry = Registry()
    _ = registry.apply(device("a"))
    #expect(!registry.goneDrivers.contains(Driver(name: "amdgpu")))
    _ = registry.remove(sysfsPath: "/sys/a")
    #expect(registry.goneDrivers.contains(Driver(name: "amdgpu")))
  }

  @Test func sixtyFourDevicesAndNoMore() {
    var registry = Registry()
    for i in 0..<64 { #expect(!registry.apply(device("\(i)", minor: UInt32(i))).isEmpty) }
    #expect(registry.apply(device("one more", minor: 64)).isEmpty)
    _ = registry.remove(sysfsPath: "/sys/7")
    #expect(registry.apply(device("one more", minor: 64)).map(\.slot) == [DeviceSlot(7)])
  }

  // MARK: Release

  private func state(_ registry: Registry, _ id: String) -> DeviceState? {
    registry.slot(ofSysfsPath: "/sys/\(id)").flatMap { registry[$0]?.state }
  }

  @Test func releasedUntilTheGuardIsClosed() {
    var registry = Registry()
    _ = registry.apply(device("a"))
    #expect(registry.release(DeviceSlot(0))?.kind == .changed)
    #expect(state(registry, "a") == .released)
    #expect(registry.unrelease("a")?.kind == .changed)
    #expect(state(registry, "a") == .ready)
    #expect(registry.unrelease("a") == nil)
  }

  @Test func comesBackReleasedWhileItIsHeld() {
    var registry = Registry()
    _ = registry.apply(device("a"))
    _ = registry.release(DeviceSlot(0))
    _ = registry.remove(sysfsPath: "/sys/a")
    _ = registry.apply(device("a", minor: 5))
    #expect(state(registry, "a") == .released)
    _ = registry.unrelease("a")
    #expect(state(registry, "a") == .ready)
  }

  /// One device is given to a virtual machine, and another device gets its numbers meanwhile.
  @Test func aReleaseIsOfTheDeviceAndNotOfItsNumbers() {
    var registry = Registry()
    _ = registry.apply(device("a"))
    _ = registry.release(DeviceSlot(0))
    _ = registry.remove(sysfsPath: "/sys/a")
    _ = registry.apply(device("b"))
    #expect(state(registry, "b") == .ready)
    _ = registry.release(DeviceSlot(0))
    _ = registry.unrelease("b")
    #expect(state(registry, "b") == .ready)
    _ = registry.remove(sysfsPath: "/sys/b")
    _ = registry.apply(device("a"))
    #expect(state(registry, "a") == .released)
  }
}
