// Which device is the primary one.

import Placement
import Testing

@Suite struct PrimaryDeviceTests {
  private func primary(_ devices: DeviceDescription...) -> String? {
    let table = DeviceTable(devices.map { DeviceEntry($0) })
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

  @Test func udevsWordThenBootVGAThenPanelThenOrder() {
    let panel = device("d") { $0.connectors = ["HDMI-A-1", "eDP-1"] }
    let boot = device("c") { $0.bootVGA = true }
    let tagged = device("b") { $0.preferredPrimary = true }
    #expect(primary(device("z"), panel, boot, tagged) == "b")
    #expect(primary(device("a"), panel, boot) == "c")
    #expect(primary(device("a"), panel) == "d")
    #expect(primary(device("z"), device("a")) == "a")
  }

  @Test func softwareOnlyIfThereIsNothingElse() {
    let software = device("a") {
      $0.role = .software
      $0.preferredPrimary = true
      $0.bootVGA = true
    }
    #expect(primary(software, device("z") { $0.role = .sink }) == "z")
    #expect(primary(software) == "a")
    #expect(primary() == nil)
  }
}
