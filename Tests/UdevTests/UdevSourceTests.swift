// `UdevSource` on machines that the guest tests don't have.

import Glibc
import Linux
import Placement
import Ports
import Testing

@testable import Udev

// One mock-up at a time, since it is set up by the process's environment.
@Suite(.serialized) struct UdevSourceTests {
  private let machine: MockMachine

  init() throws { machine = try MockMachine() }

  // MARK: Grouping

  @Test func nodesOfOneParentAreOneDevice() throws {
    let amd = machine.pci(
      "0000:03:00.0", "amdgpu",
      properties: ["ID_VENDOR_FROM_DATABASE=AMD", "ID_MODEL_FROM_DATABASE=Navi 21"],
      attributes: ["boot_vga": "1", "mem_info_vram_total": "17163091968"])
    machine.node(amd, card: 1, properties: ["ID_SEAT=seat1"])
    machine.node(amd, render: 128)
    let device = try machine.device()
    #expect(
      device.primary == Node(path: "/dev/dri/card1", number: DeviceNumber(major: 226, minor: 1)))
    #expect(
      device.render
        == Node(path: "/dev/dri/renderD128", number: DeviceNumber(major: 226, minor: 128)))
    #expect(device.sysfsPath == amd)
    #expect(device.stableID == "pci-0000:03:00.0")
    #expect(device.bus == "pci:0000:03:00.0")
    #expect((device.driver, device.vendor, device.model) == ("amdgpu", "AMD", "Navi 21"))
    #expect((device.seat, device.bootVGA, device.role) == ("seat1", true, .render))
    #expect(!device.driverVersion.isEmpty)
  }

  @Test func aUSBDisplayIsASinkWithItsProductsName() throws {
    let usb = machine.parent(
      "pci0000:00/0000:00:14.0/usb1/1-2", bus: "usb", driver: "usb",
      properties: ["DEVTYPE=usb_device"],
      attributes: ["manufacturer": "DisplayLink", "product": "USB Dock"])
    let interface = machine.parent(
      String(usb.dropFirst("/sys/devices/".count)) + "/1-2:1.0", bus: "usb", driver: "udl",
      properties: ["DEVTYPE=usb_interface", "ID_PATH=pci-0000:00:14.0-usb-0:2:1.0"])
    machine.node(interface, card: 2)
    let device = try machine.device()
    #expect((device.role, device.bus) == (.sink, "usb:1-2"))
    #expect((device.vendor, device.model) == ("DisplayLink", "USB Dock"))
    #expect(device.stableID == "pci-0000:00:14.0-usb-0:2:1.0")
  }

  @Test(arguments: [("vgem", nil), ("vkms", nil), ("vgem", "faux_driver")])
  func softwareHangsBelowTheVirtualPlatform(name: String, driver: String?) throws {
    let parent = machine.parent(
      "platform/\(name)", bus: driver == nil ? "platform" : "faux", driver: driver)
    machine.node(parent, card: 0)
    let device = try machine.device()
    #expect((device.driver, device.role, device.bus) == (name, .software, ""))
    #expect(device.stableID == "platform/\(name)")
  }

  @Test func virtioIsNamedByWhatItIs() throws {
    let gpu = machine.pci("0000:00:01.0", "virtio-pci")
    machine.node(gpu, card: 0)
    machine.node(gpu, render: 128)
    #expect(try machine.device().driver == "virtio_gpu")
  }

  @Test func aDeviceWithoutANodeIsNone() throws {
    _ = machine.pci("0000:03:00.0", "amdgpu")
    #expect(machine.devices.isEmpty)
  }

  @Test func anAcceleratorIsDescribedWithoutANode() throws {
    let npu = machine.pci("0000:00:0b.0", "intel_vpu")
    machine.accelerator(npu, 0)
    let device = try machine.device()
    #expect(device.node == nil)
    #expect((device.exports, device.imports, device.ignored) == (true, false, true))
  }

  // MARK: Split machines

  @Test(arguments: [
    ("asahi", "apple-drm"), ("v3d", "vc4-drm"), ("panfrost", "rockchip-drm"),
    ("etnaviv", "imx-drm"),
  ])
  func rendererAndDisplayOfAnSoCAreAPair(renderer: String, display: String) throws {
    let (r, d) = pair(renderer, display)
    let devices = machine.devices
    #expect(devices.allSatisfy { $0.role == .split })
    #expect(Set(devices.map(\.sysfsPath)) == [r, d])
    for device in devices {
      #expect(device.pairedWith == devices.first { $0.sysfsPath != device.sysfsPath }?.stableID)
    }
  }

  private func pair(_ renderer: String, _ display: String) -> (String, String) {
    let gpu = machine.platform("406400000.gpu", renderer)
    machine.node(gpu, card: 0)
    machine.node(gpu, render: 128)
    let controller = machine.platform("display-subsystem", display)
    machine.node(controller, card: 1)
    return (gpu, controller)
  }

  @Test func whichOfTwoDisplaysIsMeantIsNotGuessed() throws {
    _ = pair("panfrost", "rockchip-drm")
    machine.node(machine.platform("other-display", "tidss"), card: 2)
    #expect(machine.devices.allSatisfy { $0.pairedWith == nil })
  }

  @Test func whatTheCPUCopiesIntoIsNoHalfOfAPair() throws {
    let (renderer, display) = pair("panfrost", "rockchip-drm")
    let panel = machine.platform("spi-display", "panel-mipi-dbi-spi")
    machine.node(panel, card: 2)
    let paired = machine.devices.filter { $0.pairedWith != nil }
    #expect(Set(paired.map(\.sysfsPath)) == [renderer, display])
    #expect(machine.devices.first { $0.sysfsPath == panel }?.role == .sink)
  }

  @Test func whenOneHalfGoesTheOtherIsToldAnew() throws {
    let (gpu, controller) = pair("asahi", "apple-drm")
    _ = machine.devices
    let events = try machine.events(2) { machine.remove(controller + "/drm/card1") }
    #expect(events.compactMap(\.absentPath) == [controller])
    let renderer = try #require(events.compactMap(\.present).first)
    #expect((renderer.sysfsPath, renderer.role, renderer.pairedWith) == (gpu, .render, nil))
  }

  @Test func whenTheOtherHalfComesBothAreTold() throws {
    let gpu = machine.platform("406400000.gpu", "asahi")
    machine.node(gpu, render: 128)
    let controller = machine.platform("display-subsystem", "apple-drm")
    let events = try machine.events(2) { machine.node(controller, card: 1) }
    #expect(events.allSatisfy { $0.present?.role == .split })
    #expect(machine.source.find(DeviceNumber(major: 226, minor: 128))?.role == .split)
  }

  // MARK: Memory

  /// `resource` of a card with a small and a large prefetchable window.
  private static let windows = """
    0x00000000e0000000 0x00000000e003ffff 0x0000000000040200
    0x00000000d0000000 0x00000000dfffffff 0x000000000014220c
    0x0000000000000000 0x0000000000000000 0x0000000000000000
    """

  @Test func whatTheDriverSaysGoesBeforeTheWindow() throws {
    let amd = machine.pci("0000:03:00.0", "amdgpu")
    machine.set(amd, "mem_info_vram_total", "17163091968\n")
    machine.set(amd, "resource", Self.windows)
    machine.node(amd, render: 128)
    let device = try machine.device()
    #expect(device.dedicatedMemory == 17_163_091_968)
    #expect(!device.dedicatedMemoryIsEstimate)
  }

  @Test(arguments: ["radeon", "nouveau", "i915", "xe", "amdgpu"])
  func theWindowIsAnEstimate(driver: String) throws {
    let card = machine.pci("0000:03:00.0", driver)
    machine.set(card, "resource", Self.windows)
    machine.node(card, render: 128)
    let device = try machine.device()
    #expect(device.dedicatedMemory == 256 << 20)
    #expect(device.dedicatedMemoryIsEstimate)
  }

  @Test(arguments: [("0000:00:02.0", "i915"), ("0000:00:02.0", "xe"), ("0000:04:00.0", "cirrus")])
  func aWindowOnOtherThingsIsNoMemory(address: String, driver: String) throws {
    let gpu = machine.pci(address, driver)
    machine.set(gpu, "resource", Self.windows)
    machine.node(gpu, card: 0)
    let device = try machine.device()
    #expect((device.dedicatedMemory, device.dedicatedMemoryIsEstimate) == (0, false))
  }

  // MARK: What an administrator says

  @Test func propertiesOfAnyNodeHoldForTheDevice() throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu")
    machine.node(gpu, card: 0, properties: ["PRIMED_PRIMARY=1"])
    machine.node(gpu, render: 128, properties: ["PRIMED_IGNORE=1", "PRIMED_ROLE=sink"])
    let device = try machine.device()
    #expect((device.preferredPrimary, device.ignored, device.role) == (true, true, .sink))
  }

  @Test func wordsThatMeanNothingChangeNothing() throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu")
    machine.node(
      gpu, render: 128, properties: ["PRIMED_PRIMARY=0", "PRIMED_IGNORE=0", "PRIMED_ROLE=toaster"])
    let device = try machine.device()
    #expect((device.preferredPrimary, device.ignored, device.role) == (false, false, .render))
  }

  // MARK: Power

  @Test(arguments: [
    ("active", Power.active), ("suspended", .suspended), ("suspending", .suspended),
    ("unsupported", .active), ("error", .unknown),
  ])
  func powerIsReadFromSysfs(status: String, power: Power) throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu", attributes: ["power/runtime_status": status])
    machine.node(gpu, render: 128)
    #expect(try machine.device().power == power)
  }

  /// nova-drm's device is an auxiliary one: it is the PCI device which that is of that sleeps.
  @Test func powerThatIsTheParentDevices() throws {
    machine.pci("0000:03:00.0", "NovaCore", attributes: ["power/runtime_status": "suspended"])
    let part = machine.parent(
      "pci0000:00/0000:03:00.0/NovaCore.nova-drm.0", bus: "auxiliary", driver: "nova-drm",
      attributes: ["power/runtime_status": "unsupported"])
    machine.node(part, render: 128)
    #expect(try machine.device().power == .suspended)
  }

  @Test func powerIsReadAnew() throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu", attributes: ["power/runtime_status": "active"])
    machine.node(gpu, render: 128)
    let device = try machine.device()
    machine.set(gpu, "power/runtime_status", "suspended\n")
    #expect(machine.source.power(of: device).power == .suspended)
  }

  @Test func whatItsPowerWasReadFromIsClosedWhenItGoes() throws {
    let gpu = machine.pci("0000:7f:00.0", "amdgpu", attributes: ["power/runtime_status": "active"])
    let render = machine.node(gpu, render: 128)
    _ = machine.source.power(of: try machine.device())
    #expect(openFiles(below: gpu) == ["runtime_status"])
    _ = try machine.events(1) { machine.remove(render) }
    #expect(openFiles(below: gpu) == [])
  }

  /// Names of the files below a device's folder that this process has open.
  private func openFiles(below sysfsPath: String) -> [String] {
    (0..<256).compactMap { fd in
      let link = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
        let length = readlink("/proc/self/fd/\(fd)", buffer.baseAddress!, buffer.count)
        return length < 0
          ? "" : String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      }
      return link.contains("\(sysfsPath)/") ? link.split(separator: "/").last.map(String.init) : nil
    }
  }

  // MARK: Hotplug

  @Test func aReplugKeepsTheNameAndIsAnotherRegistration() throws {
    let first = machine.pci("0000:03:00.0", "amdgpu")
    let render = machine.node(first, render: 128)
    let before = try machine.device()
    machine.remove(render)
    machine.remove(first)
    #expect(machine.devices.isEmpty)
    _ = machine.node(machine.pci("0000:03:00.0", "amdgpu"), render: 129)
    let after = try machine.device()
    #expect(after.stableID == before.stableID)
    #expect(after.node?.number == DeviceNumber(major: 226, minor: 129))
    #expect(before.registration != 0 && after.registration != 0)
  }

  @Test func theSameEventTwiceTellsTheSame() throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu")
    let card = machine.node(gpu, card: 0)
    let events = try machine.events(2) {
      machine.change(card)
      machine.change(card)
    }
    #expect(events[0].present != nil)
    #expect(events[0].present == events[1].present)
    var registry = Registry()
    #expect(registry.apply(try #require(events[0].present)).count == 1)
    #expect(registry.apply(try #require(events[1].present)).isEmpty)
  }

  @Test func connectedConnectorsComeFirstAndAChangeIsTold() throws {
    let gpu = machine.pci("0000:00:02.0", "i915")
    let card = machine.node(gpu, card: 0)
    machine.connector(card, "DP-1", "disconnected")
    machine.connector(card, "eDP-1", "connected")
    #expect(try machine.device().connectors == ["eDP-1", "DP-1"])
    #expect(try machine.device().connected == ["eDP-1"])
    let events = try machine.events(1) {
      machine.set("\(card)/card0-DP-1", "status", "connected\n")
      machine.change(card)
    }
    #expect(events.first?.present?.connectors == ["DP-1", "eDP-1"])
    #expect(events.first?.present?.connected == ["DP-1", "eDP-1"])
  }

  @Test func aDeviceIsThereUntilItsLastNodeGoes() throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu")
    let card = machine.node(gpu, card: 0)
    let render = machine.node(gpu, render: 128)
    let events = try machine.events(2) {
      machine.remove(card)
      machine.remove(render)
    }
    #expect(events.last?.absentPath == gpu)
  }

  /// An event may be handled as late as that. Reported as present, it would be a device with
  /// another driver.
  @Test func aDeviceThatItsDriverIsLeavingIsGone() throws {
    let gpu = machine.pci("0000:03:00.0", "bochs-drm")
    let card = machine.node(gpu, card: 0)
    let before = try machine.device()
    let events = try machine.events(1) {
      machine.unbind(gpu)
      machine.change(card)
    }
    #expect(events.compactMap(\.absentPath) == [gpu])
    #expect(machine.devices.isEmpty)
    #expect(machine.source.find(try #require(before.node).number) == nil)
  }

  @Test func whatComesThereLaterMayHaveNoDriver() throws {
    let path = machine.platform("rknn", "rocket")
    let card = machine.node(path, card: 0)
    _ = try machine.device()
    machine.remove(card)
    machine.remove(path)
    #expect(machine.devices.isEmpty)
    machine.parent("platform/rknn", bus: "platform", driver: nil)
    machine.node(path, card: 1)
    #expect(try machine.device().driver == "rknn")
  }

  @Test func whatUdevToldComesBeforeWhateverElseIsThere() throws {
    let card = machine.node(machine.pci("0000:03:00.0", "amdgpu"), card: 0)
    let loop = machine.loop
    var told = 0
    loop.soon { loop.exit(0) }
    try machine.source.listen { _ in told += 1 }
    for _ in 0..<10 { machine.change(card) }
    _ = try loop.run()
    #expect(told == 10)
  }

  @Test func eitherNumberFindsTheDeviceBeforeItsEvent() throws {
    let gpu = machine.pci("0000:03:00.0", "amdgpu")
    machine.node(gpu, card: 3)
    machine.node(gpu, render: 130)
    for minor: UInt32 in [3, 130] {
      #expect(machine.source.find(DeviceNumber(major: 226, minor: minor))?.sysfsPath == gpu)
    }
    #expect(machine.source.find(DeviceNumber(major: 226, minor: 131)) == nil)
    #expect(machine.source.find(DeviceNumber(major: 1, minor: 3)) == nil)
  }
}
