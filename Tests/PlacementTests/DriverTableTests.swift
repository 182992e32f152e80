// The driver table: consistency of its rows, and facts that primed once had wrong. Tests/Census/run
// compares the rows with the kernel's source.

import Testing

@testable import Placement

@Suite struct DriverTableTests {
  private func info(_ name: String) -> DriverInfo { Driver(name: name).info }
  private let kernels = [KernelVersion(6, 1), KernelVersion(6, 12), KernelVersion(7, 3)]

  @Test func everyRowSaysWhereItComesFrom() {
    #expect(Driver.table.allSatisfy { !$0.names.isEmpty && !$0.source.isEmpty })
    #expect(Driver.table.count < UInt8.max, "a row's number is a byte")
  }

  @Test func everyNameIsOneDriversAlone() {
    var seen: Set<String> = []
    for name in Driver.table.flatMap({ $0.names + $0.busNames }) where name != "panthor" {
      #expect(seen.insert(name).inserted, "\(name)")
    }
    #expect(info("panthor").source.contains("panthor_gem.c"), "tyr calls itself that, too")
  }

  @Test func everyRowShowsAName() {
    for row in Driver.table {
      for kernel in kernels + [KernelVersion(6, 18), nil] {
        #expect(!row.exporterNames(on: kernel).isEmpty, "\(row.names)")
      }
    }
  }

  @Test(arguments: [
    ("armada", "armada-drm"), ("exynos", "exynos-drm"), ("tegra", "tegra-drm"), ("tegra", "drm"),
    ("cirrus", "cirrus-qemu"), ("panel-mipi-dbi", "panel-mipi-dbi-spi"), ("mxsfb", "mxsfb-drm"),
    ("nvidia", "nvidia-drm"), ("msm", "msm_dpu"), ("virtio_gpu", "virtio-pci"), ("vc4", "vc4-drm"),
    ("simpledrm", "simple-framebuffer"), ("rocket", "rknn"), ("bochs", "bochs-drm"),
  ])
  func oneDriverUnderTwoNames(a: String, b: String) {
    #expect(Driver(name: a) != .other)
    #expect(Driver(name: a) == Driver(name: b))
    #expect(DriverID(a) == DriverID(b))
  }

  @Test func driversWithoutARowAreToldApart() {
    #expect(Driver(name: "one") == .other)
    #expect(DriverID("one") != DriverID("two"))
    #expect(info("one").wakesWhenAsked && info("one").layouts == nil)
    #expect(info("one").importFunction(on: KernelVersion(7, 3)) == nil)
  }

  @Test(arguments: [
    ("virtio-pci", "virtio_gpu"), ("nvidia", "nvidia-drm"), ("msm_dpu", "msm"), ("drm", "tegra"),
    ("cirrus", "cirrus"), ("cirrus-qemu", "cirrus-qemu"), ("mydrm", "mydrm"),
  ])
  func theNameThatDRMKnowsItBy(bus: String, drm: String) {
    #expect(DriverInfo.drmName(ofBusName: bus) == drm)
  }

  // MARK: Exporter names

  @Test func aDumbBufferOfVmwgfxShowsDRMCoresName() {
    var machine = Machine()
    machine.add("vm", "vmwgfx", dedicated: 16 << 20)
    machine.add("radeon", "radeon", dedicated: 16 << 20)
    let table = machine.table
    #expect(table.exporters(named: .drm)?.devices == machine.set(["vm", "radeon"]))
    #expect(table.exporters(named: .named("vmwgfx"))?.devices == machine.set(["vm"]))
  }

  @Test func panthorsNameDependsOnTheKernel() {
    var machine = Machine()
    machine.add("mali", "panthor")
    func may(_ name: ExporterName, on kernel: KernelVersion?) -> Bool {
      machine.kernel = kernel
      return machine.table.exporters(named: name)?.devices.isEmpty == false
    }
    #expect(may(.drm, on: .init(6, 12)) && !may(.named("panthor"), on: .init(6, 12)))
    #expect(!may(.drm, on: .init(7, 3)) && may(.named("panthor"), on: .init(7, 3)))
    #expect(may(.drm, on: .init(6, 18)) && may(.named("panthor"), on: .init(6, 18)))
    #expect(may(.drm, on: nil) && may(.named("panthor"), on: nil))
  }

  @Test func aNameThatNobodyKnowsMayBeOfADriverThatNobodyKnows() {
    var machine = Machine()
    machine.add("known", "amdgpu")
    let unknown = ExporterSet(DeviceSet(), beyond: .otherModule)
    #expect(
      machine.table.exporters(named: .named("mydrm")) == unknown, "perhaps of no system memory")
    let same = ExporterSet(DeviceSet(), beyond: .anything)
    #expect(
      machine.table.exporters(named: .named("nvidia")) == same, "perhaps nvidia-drm's device")
    machine.add("unknown", "mydrm")
    #expect(machine.table.exporters(named: .named("mydrm"))?.devices == machine.set(["unknown"]))
  }

  // MARK: NO_MOVE verdicts

  @Test func aVerdictIsSharedByWhomImportsByTheSameFunction() {
    func function(_ name: String, _ kernel: KernelVersion) -> String? {
      info(name).importFunction(on: kernel)
    }
    for kernel in kernels {
      for own in ["i915", "amdgpu", "virtio_gpu", "tegra", "omapdrm", "armada", "armada-drm"] {
        let others = Driver.table.filter { !$0.names.contains(own) && info(own).names != $0.names }
        let theirs = function(own, kernel)
        #expect(theirs != nil)
        #expect(others.allSatisfy { $0.importFunction(on: kernel) != theirs }, "\(own)")
      }
    }
    #expect(function("vgem", .init(6, 12)) == function("radeon", .init(6, 12)))
    #expect(function("vgem", .init(7, 3)) != function("radeon", .init(7, 3)))
    #expect(function("vgem", .init(7, 3)) == function("udl", .init(7, 3)))
    #expect(function("vgem", .init(6, 18)) == nil, "it changed somewhere there")
    #expect(function("exynos", .init(6, 12)) != function("radeon", .init(6, 12)))
  }

  // MARK: Memory

  @Test func nvidiasRowsAreAboutOneMemoryEach() {
    var machine = Machine()
    machine.add("nvidia", "nvidia-drm", dedicated: 8 << 30)
    machine.add("intel", "i915")
    let (table, nvidia) = (machine.table, machine["nvidia"])
    let intel = machine.set(["intel"])
    #expect(table.importers(of: nvidia, in: .dedicated).hanging == intel)
    #expect(table.importers(of: nvidia, in: .system).hanging.isEmpty)
    #expect(table.importers(of: nvidia, in: .system).inPlace == intel)
    #expect(table.importers(of: nvidia, in: .unknown).hanging == intel)
    #expect(!table.unmoved(by: machine["intel"]).contains(nvidia))
  }

  @Test func whatLiesInSystemMemoryIsMovedByNoImport() {
    for exporter in ["amdgpu", "xe", "i915", "nouveau", "radeon", "nvidia-drm", "loongson"] {
      let never = PairTable().neverMoves(
        exporter: DriverID(exporter), importer: DriverID("vgem"), in: .system,
        kernel: KernelVersion(7, 3))
      #expect(never, "\(exporter)")
      #expect(
        !PairTable().neverMoves(exporter: DriverID(exporter), importer: DriverID("vgem")),
        "\(exporter)")
    }
  }

  @Test(arguments: Memory.allCases)
  func nobodyIsLetAtWhatVmwgfxExported(memory: Memory) {
    let row = PairTable().row(
      exporter: DriverID("vmwgfx"), importer: DriverID("radeon"), in: memory)
    #expect(row?.use == .hangs)
  }

  @Test func toLetNobodyAttachAndToHaveSystemMemoryAloneAreTwoFacts() {
    let table = PairTable()
    #expect(table.refusesAll(DriverID("gma500")) && table.systemOnly(DriverID("gma500")))
    #expect(table.refusesAll(DriverID("vboxvideo")) && !table.systemOnly(DriverID("vboxvideo")))
    #expect(!table.refusesAll(DriverID("vgem")) && table.systemOnly(DriverID("vgem")))
  }

  // MARK: Sets of a machine

  @Test func layoutsAreReadByTheVendorsHardware() {
    var machine = Machine()
    for name in [
      "i915", "amdgpu", "panfrost", "rockchip", "mediatek", "udl", "mydrm", "virtio_gpu",
    ] {
      machine.add(name, name)
    }
    func readers(_ vendor: LayoutVendor) -> [String] {
      let table = machine.table
      return machine.names(
        table.present.subtracting(table.blind(to: UInt64(vendor.rawValue) << 56)))
    }
    #expect(readers(.intel) == ["i915", "mydrm", "virtio_gpu"])
    #expect(readers(.amd) == ["amdgpu", "mydrm", "virtio_gpu"])
    #expect(readers(.arm) == ["mydrm", "panfrost", "rockchip", "virtio_gpu"])
    #expect(machine.table.blind(to: 0x7f << 56).isEmpty)
    #expect(machine.table.devices(tilingWith: 1 << 56).map(machine.names) == ["i915"])
  }

  @Test func whatIsNotKnownToScanImportsOutDoesNot() {
    var machine = Machine()
    machine.add("apu", "amdgpu", dedicated: 512 << 20) { $0.description.integrated = true }
    machine.add("card", "amdgpu", dedicated: 8 << 30) { $0.description.integrated = false }
    machine.add("either", "amdgpu", dedicated: 8 << 30)
    machine.add("integrated", "i915") { $0.description.sysfsPath = "/sys/0000:00:02.0" }
    machine.add("dg2", "i915", dedicated: 8 << 30) { $0.description.integrated = false }
    for name in ["radeon", "nvidia-drm", "nouveau", "mydrm", "vc4", "udl", "vkms", "ast"] {
      machine.add(name, name)
    }
    #expect(
      machine.names(machine.table.scansOutImports) == [
        "apu", "ast", "integrated", "udl", "vc4", "vkms",
      ])
  }

  @Test func onlyNVIDIAIsKnownNotToRenderIntoImports() {
    var machine = Machine.workstation("amdgpu", "nvidia-drm")
    machine.add("c", "mydrm")
    #expect(machine.names(machine.table.readsImportsOnly) == ["b"])
  }

  @Test func whoSleepsThroughAQuestionIsAsked() {
    var machine = Machine()
    for name in ["v3d", "amdgpu", "mydrm", "xe"] {
      machine.add(name, name) { $0.description.power = .suspended }
    }
    #expect(machine.names(ProbeScope().permitted(machine.table)) == ["v3d"])
    machine.change("xe") { $0.description.power = .active }
    #expect(machine.names(ProbeScope().permitted(machine.table)) == ["v3d", "xe"])
  }
}
