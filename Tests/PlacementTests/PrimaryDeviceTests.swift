// Which device is the primary one.

import Placement
import Testing

@Suite struct PrimaryDeviceTests {
  private func primary(
    _ devices: DeviceDescription..., kernel: KernelVersion? = nil
  ) -> String? {
    let table = DeviceTable(devices.map { DeviceEntry($0) }, kernel: kernel)
    return table.primary.flatMap { table[$0]?.description.stableID }
  }

  private func device(
    _ id: String, _ edit: (inout DeviceDescription) -> Void = { _ in }
  ) -> DeviceDescription {
    var device = DeviceDescription(stableID: id, sysfsPath: "/sys/\(id)", driver: "amdgpu")
    let minor = UInt32(id.utf8.last! & 0x3f)
    device.render = Node(
      path: "/dev/dri/renderD\(minor)", number: DeviceNumber(major: 226, minor: minor))
    edit(&device)
    return device
  }

  /// "PRIMED_PRIMARY, the tag; a connected built-in panel; boot_display; boot_vga; awake before
  /// asleep; stable order": each of these is put behind all that comes before it.
  @Test func udevsWordThenPanelThenBootThenAwakeThenOrder() {
    let tagged = device("f") { $0.preferredPrimary = true }
    let panel = device("e") {
      $0.connectors = ["eDP-1", "HDMI-A-1"]
      $0.connected = ["eDP-1"]
    }
    let bootDisplay = device("d") { $0.bootDisplay = true }
    let bootVGA = device("c") { $0.bootVGA = true }
    let awake = device("b")
    let asleep = device("a") { $0.power = .suspended }
    #expect(primary(asleep, awake, bootVGA, bootDisplay, panel, tagged) == "f")
    #expect(primary(asleep, awake, bootVGA, bootDisplay, panel) == "e")
    #expect(primary(asleep, awake, bootVGA, bootDisplay) == "d")
    #expect(primary(asleep, awake, bootVGA) == "c")
    #expect(primary(asleep, awake) == "b")
    #expect(primary(device("z"), device("a")) == "a")
  }

  /// Desktop boards have connectors for panels that don't exist.
  @Test func aPanelThatIsNotThereCountsForNothing() {
    let board = device("z") { $0.connectors = ["eDP-1", "HDMI-A-1"] }
    #expect(primary(board, device("a")) == "a")
  }

  @Test func neverOneThatIsIgnored() {
    let ignored = device("a") {
      $0.preferredPrimary = true
      $0.ignored = true
    }
    #expect(primary(ignored, device("z")) == "z")
    #expect(primary(ignored) == nil)
  }

  /// "Of devices that render and import (else of any)."
  @Test func softwareOnlyIfThereIsNothingThatRenders() {
    let software = device("a") {
      $0.role = .software
      $0.preferredPrimary = true
      $0.bootVGA = true
    }
    let sink = device("y") { $0.role = .sink }
    let unable = device("x") { $0.imports = false }
    #expect(primary(software, sink, unable, device("z")) == "z")
    #expect(primary(software, sink, unable) == "a", "udev's word, of those that are there")
    #expect(primary(software) == "a")
    #expect(primary() == nil)
  }

  /// What a row says of an import holds before anybody has tried one: up to 6.12 virtio_gpu takes
  /// nobody else's buffers, and from then on it may.
  @Test func oneThatRefusesOthersBuffersByItsRowDoesNotImport() {
    let virtio = device("a") {
      $0.driver = "virtio_gpu"
      $0.bootVGA = true
    }
    let other = device("z")
    #expect(primary(virtio, other, kernel: KernelVersion(6, 12)) == "z")
    #expect(primary(virtio, other, kernel: KernelVersion(7, 3)) == "a")
    #expect(primary(virtio, kernel: KernelVersion(6, 12)) == "a", "there is no other")
    var seen = DeviceEntry(virtio)
    seen.importsSeen = true
    let table = DeviceTable([seen, DeviceEntry(other)], kernel: KernelVersion(6, 12))
    #expect(table.primary == DeviceSlot(0), "seen, it outdoes the row")
  }
}
