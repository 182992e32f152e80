// The pair table: each built-in row, and a user's rows.

import Testing

@testable import Placement

@Suite struct PairTests {
  @Test(arguments: [
    "vgem", "vkms", "cirrus", "virtio_gpu", "udl", "gud", "simpledrm", "panfrost", "panthor",
    "lima", "v3d", "asahi", "etnaviv", "msm", "vc4", "imx-drm", "meson", "sun4i-drm", "apple-drm",
    "rockchip", "exynos", "mediatek", "omapdrm", "intel_vpu", "armada-drm", "evdi", "mgag200",
    "hyperv_drm", "mxsfb-drm", "powervr", "panel-mipi-dbi", "amdxdna", "rocket",
  ])
  func systemMemoryOnly(driver: String) {
    let row = PairTable().row(exporter: DriverID(driver), importer: DriverID("amdgpu"))
    #expect(row?.neverMoves == true)
    #expect(row?.attach == .pins)
    #expect(PairTable().systemOnly(DriverID(driver)))
  }

  @Test(arguments: ["i915", "nouveau", "radeon", "loongson"])
  func movesAtAttach(driver: String) {
    let row = PairTable().row(exporter: DriverID(driver), importer: DriverID("vgem"))
    #expect(row?.attach == .moves)
    #expect(!PairTable().systemOnly(DriverID(driver)))
  }

  @Test(arguments: [
    ("amdgpu", "6.12", ImportEffect.nothing), ("amdgpu", "6.10", .nothing),
    ("amdgpu", "6.9", .wakes), ("amdgpu", "", .wakes), ("xe", "6.12", .wakes), ("xe", "", .wakes),
  ])
  func movesAtMap(driver: String, version: String, attach: ImportEffect) {
    let kernel = KernelVersion(version)
    let table = PairTable()
    let row = table.row(exporter: DriverID(driver), importer: DriverID("vgem"), kernel: kernel)
    #expect(row?.attach == attach)
    #expect(row?.map == .moves)
    #expect(row?.neverMoves == false)
    var machine = Machine.laptop(driver)
    machine.kernel = kernel
    #expect(machine.names(machine.table.wakesAtAttach) == (attach == .wakes ? ["dgpu"] : []))
    func stays(_ importer: String) -> Bool {
      table.stays(exporter: DriverID(driver), importer: DriverID(importer), kernel: kernel)
    }
    #expect(stays("amdgpu") && stays("xe"), "they map at the first use")
    #expect(!stays("radeon") && !stays("nouveau") && !stays("i915") && !stays("vgem"))
  }

  @Test func whatOthersAttachmentsDoIsNotUndoneByAnImporterThatMapsLate() {
    for driver in ["i915", "nouveau", "radeon", "vmwgfx"] {
      let stays = PairTable().stays(exporter: DriverID(driver), importer: DriverID("amdgpu"))
      #expect(!stays, "\(driver)")
    }
  }

  /// Nothing moves where mapping fails. vmwgfx's attachments are not known to do nothing.
  @Test func whatCantBeMappedStays() {
    for importer in ["amdgpu", "radeon", "nouveau", "i915"] {
      func stays(_ exporter: String) -> Bool {
        PairTable().stays(
          exporter: DriverID(exporter), importer: DriverID(importer), kernel: KernelVersion(7, 3))
      }
      #expect(stays("nvidia-drm") && !stays("vmwgfx"), "\(importer)")
    }
  }

  /// dma_buf_dynamic_attach maps nothing any more, not even of an exporter that is not dynamic.
  @Test func anImporterThatMapsLateMapsNothingAtAttachOnNewKernels() {
    let own = PairRow("mydrm", "*", attach: .nothing, map: .moves, use: .works, source: "own")
    let table = PairTable(own: [own])
    func stays(_ importer: String, _ kernel: KernelVersion) -> Bool {
      table.stays(exporter: DriverID("mydrm"), importer: DriverID(importer), kernel: kernel)
    }
    #expect(stays("amdgpu", KernelVersion(7, 3)))
    #expect(!stays("amdgpu", KernelVersion(6, 12)))
    #expect(!stays("radeon", KernelVersion(7, 3)), "it maps inside the ioctl")
  }

  @Test func nvidiaHangsOthersAndNotItself() {
    let table = PairTable()
    #expect(
      table.row(exporter: DriverID("nvidia-drm"), importer: DriverID("amdgpu"))?.use == .hangs)
    #expect(table.row(exporter: DriverID("nvidia-drm"), importer: DriverID(.other))?.use == .hangs)
    #expect(table.row(exporter: DriverID("nvidia-drm"), importer: DriverID("nvidia-drm")) == nil)
  }

  @Test(arguments: ["ast", "tgpu", "never-heard-of"])
  func nothingIsAssumedOfTheRest(driver: String) {
    #expect(PairTable().row(exporter: DriverID(driver), importer: DriverID("amdgpu")) == nil)
    #expect(!PairTable().systemOnly(DriverID(driver)))
  }

  @Test(arguments: ["qxl", "bochs-drm", "vboxvideo"])
  func whoLetsNobodyAtItsBuffersIsNoneOfSystemMemory(driver: String) {
    let table = PairTable()
    let (exporter, kernel) = (DriverID(driver), KernelVersion(6, 12))
    let row = table.row(exporter: exporter, importer: DriverID("amdgpu"), kernel: kernel)
    #expect(row?.neverWorks == true && row?.neverMoves == true)
    #expect(table.row(exporter: exporter, importer: exporter, kernel: kernel) == nil)
    #expect(table.refusesAll(exporter, kernel: kernel))
    #expect(!table.systemOnly(exporter, kernel: kernel))
    #expect(!table.refusesAll(DriverID("nvidia-drm")), "an import of its buffers may succeed")
  }

  /// qxl and bochs changed between 6.12 and 7.2: a row holds on the kernels that were read.
  @Test func whatChangedBetweenTwoKernelsIsClaimedForNeitherSideOfTheGap() {
    let table = PairTable()
    let (qxl, bochs, vgem) = (DriverID("qxl"), DriverID("bochs-drm"), DriverID("vgem"))
    for kernel in [KernelVersion(6, 13), KernelVersion(7, 1), nil] {
      #expect(!table.refusesAll(qxl, kernel: kernel) && !table.refusesAll(bochs, kernel: kernel))
      #expect(!table.systemOnly(bochs, kernel: kernel))
    }
    for kernel in [KernelVersion(7, 2), KernelVersion(7, 3)] {
      #expect(!table.refusesAll(qxl, kernel: kernel) && !table.systemOnly(qxl, kernel: kernel))
      #expect(table.systemOnly(bochs, kernel: kernel))
      for importer in ["vgem", "vkms", "cirrus", "bochs", "udl"] {
        let row = table.row(exporter: qxl, importer: DriverID(importer), kernel: kernel)
        #expect(row?.attach == .unknown && row?.use == .works, "an evicted one is brought home")
      }
      #expect(
        table.row(exporter: qxl, importer: DriverID("amdgpu"), kernel: kernel)?.map == .fails)
      #expect(!table.neverMoves(exporter: qxl, importer: vgem, kernel: kernel))
    }
  }

  @Test func nvidiasHangIsOfVideoMemory() {
    let table = PairTable()
    let (nvidia, i915) = (DriverID("nvidia-drm"), DriverID("i915"))
    #expect(table.row(exporter: nvidia, importer: i915, in: .dedicated)?.use == .hangs)
    #expect(table.row(exporter: nvidia, importer: i915, in: .system)?.use == .works)
    #expect(table.row(exporter: nvidia, importer: i915)?.use == .hangs, "the one to fear")
    #expect(table.neverMoves(exporter: nvidia, importer: i915, in: .system))
  }

  @Test func vmwgfxOopsesInAnImportersMappingOfItsOwnMemory() {
    let table = PairTable()
    let vmwgfx = DriverID("vmwgfx")
    #expect(table.row(exporter: vmwgfx, importer: DriverID("radeon"))?.use == .hangs)
    #expect(table.row(exporter: vmwgfx, importer: vmwgfx, in: .dedicated) == nil)
    #expect(!table.systemOnly(vmwgfx) && !table.refusesAll(vmwgfx))
  }

  @Test(arguments: ["amdgpu", "xe", "i915", "nouveau", "radeon", "loongson"])
  func aCopyInSystemMemoryIsMovedByNoImport(driver: String) {
    let exporter = DriverID(driver)
    for kernel in [KernelVersion(6, 1), KernelVersion(6, 12), KernelVersion(7, 3), nil] {
      let row = PairTable().row(
        exporter: exporter, importer: DriverID("vgem"), in: .system, kernel: kernel)
      #expect(row?.neverMoves == true && row?.use == .works)
      #expect(
        !PairTable().neverMoves(
          exporter: exporter, importer: DriverID("vgem"), in: .dedicated, kernel: kernel))
    }
  }

  @Test func anAcceleratorsOwnMemoryCantBeMapped() {
    let row = PairTable().row(exporter: DriverID("habanalabs"), importer: DriverID("amdgpu"))
    #expect(row?.neverWorks == true && row?.neverMoves == false)
  }

  @Test func everyRowHasItsSource() {
    #expect(PairTable.builtIn.allSatisfy { !$0.source.isEmpty })
    #expect(PairTable.builtIn.allSatisfy { $0.exporter.driver != .other })
    let others = PairTable.pairs.filter { $0.exporterName != "qxl" }
    #expect(others.count == 14, "a new row needs a test of its own above")
  }

  @Test func onlyTheIntegratedIntelIsSystemMemory() {
    var machine = Machine()
    machine.add("integrated", "i915") {
      $0.description.sysfsPath = "/sys/devices/pci0000:00/0000:00:02.0"
    }
    machine.add("discrete", "i915") {
      $0.description.sysfsPath = "/sys/devices/pci0000:00/0000:03:00.0"
    }
    #expect(machine.names(machine.table.systemOnly) == ["integrated"])
  }

  // MARK: A user's own rows

  @Test(arguments: [
    "amdgpu nouveau fails unknown unknown", "amdgpu nouveau nothing fails works",
    "amdgpu nouveau nothing moves hangs",
  ])
  func pairsThatFailOrHangAreDropped(row: String) {
    var machine = Machine.workstation()
    let facts = machine.facts(
      machine.look(reached: ["a", "b"], records: ["a": .dedicated]))
    let hints: (inout Hints) -> Void = { $0.samplingDevice = machine.number("b") }
    #expect(machine.name(machine.decide(facts, hints: hints).device) == "b")
    machine.pairs = row
    let decision = machine.decide(facts, hints: hints)
    #expect(machine.name(decision.device) == "a")
    #expect(decision.access == .native)
  }

  @Test func ownRowsGoFirst() {
    let (rows, errors) = PairRow.parse("nvidia-drm amdgpu nothing nothing works  # mine works")
    #expect(errors.isEmpty)
    let table = PairTable(own: rows)
    #expect(
      table.row(exporter: DriverID("nvidia-drm"), importer: DriverID("amdgpu"))?.use == .works)
    #expect(
      table.row(exporter: DriverID("nvidia-drm"), importer: DriverID("amdgpu"))?.source
        == "own, line 1: mine works")
    #expect(table.row(exporter: DriverID("nvidia-drm"), importer: DriverID("i915"))?.use == .hangs)
  }

  @Test func ownRowsMayNameDriversThatAreNotKnown() {
    let table = PairTable(own: PairRow.parse("mydrm * pins nothing works").rows)
    #expect(table.rows.first?.source == "own, line 1")
    #expect(table.systemOnly(DriverID("mydrm")))
    #expect(!table.systemOnly(DriverID("yourdrm")))
  }

  // MARK: Measured rows

  @Test(
    arguments: [
      (nil, Memory.dedicated, ImportEffect.nothing, ImportEffect.unknown, ""),
      (nil, .system, .moves, .unknown, ""),
      ("No such device", .dedicated, .fails, .unknown, ": No such device"),
      ("No such device", .system, .moves, .fails, ": No such device, and it had moved"),
    ] as [(String?, Memory, ImportEffect, ImportEffect, String)])
  func whatAnImportWasSeenToDo(
    refusal: String?, memory: Memory, attach: ImportEffect, map: ImportEffect, note: String
  ) {
    let row = PairRow.measured(
      MeasuredDriver(name: "radeon", version: "2.50"), MeasuredDriver(name: "vgem", version: ""),
      refusal: refusal, memory: memory, release: "6.12.57-amd64")
    #expect(
      row?.words == [
        "radeon:dedicated", "vgem", attach.rawValue, map.rawValue, "unknown", "6.12..6.12",
      ])
    #expect(row?.source == "measured on 6.12.57-amd64, radeon 2.50, vgem\(note)")
  }

  @Test func aBufferThatWasNotFoundAgainTellsNothing() {
    let driver = MeasuredDriver(name: "radeon", version: "")
    let row = PairRow.measured(driver, driver, refusal: nil, memory: .unknown, release: "6.12")
    #expect(row == nil)
  }

  private static let moves = PairRow.parse("amdgpu xe moves unknown unknown").rows

  private func stays(_ table: PairTable, _ importer: String = "xe") -> Bool {
    table.stays(
      exporter: DriverID("amdgpu"), importer: DriverID(importer), kernel: KernelVersion(6, 12))
  }

  @Test func aMeasuredMoveForbidsWhatTheTablePermits() {
    let table = PairTable(measured: Self.moves)
    #expect(stays(PairTable()))
    #expect(!stays(table))
    #expect(stays(table, "amdgpu"), "it was not measured")
    #expect(table.forbidden(kernel: KernelVersion(6, 12)) == Self.moves)
    // The rest of the row is unchanged.
    let row = table.row(
      exporter: DriverID("amdgpu"), importer: DriverID("xe"), kernel: KernelVersion(6, 9))
    #expect(row?.attach == .wakes)
  }

  @Test func anOwnRowOverrulesAMeasuredMove() {
    let own = PairRow.parse("amdgpu xe nothing moves works").rows
    let table = PairTable(own: own, measured: Self.moves)
    #expect(stays(table))
    #expect(table.forbidden(kernel: KernelVersion(6, 12)) == [])
  }

  @Test(arguments: ["nothing", "fails"])
  func noOtherMeasuredRowChangesAnything(attach: String) {
    let measured = PairRow.parse(
      "amdgpu xe \(attach) unknown unknown\nradeon vgem \(attach) nothing works")
    #expect(measured.errors.isEmpty)
    let table = PairTable(measured: measured.rows)
    #expect(stays(table))
    #expect(!table.stays(exporter: DriverID("radeon"), importer: DriverID("vgem")))
    #expect(!table.neverMoves(exporter: DriverID("radeon"), importer: DriverID("vgem")))
    #expect(
      table.row(exporter: DriverID("radeon"), importer: DriverID("vgem"))?.attach == .moves)
    #expect(table.row(exporter: DriverID("ast"), importer: DriverID("vgem")) == nil)
    #expect(table.forbidden(kernel: KernelVersion(6, 12)) == [])
  }

  @Test func aMeasuredMoveIsNoHomeForABuffer() {
    var machine = Machine()
    machine.add("a", "amdgpu", dedicated: 8 << 30)
    machine.add("b", "xe", dedicated: 8 << 30)
    let (a, b) = (machine["a"], machine["b"])
    #expect(machine.table.staying(in: b).contains(a))
    machine.measured = "amdgpu xe moves unknown unknown"
    #expect(!machine.table.staying(in: b).contains(a))
    #expect(
      !machine.table.unable(toUse: a, in: .unknown).contains(b), "it can be used there all the same"
    )
  }

  @Test func rowsAreShownInTheOrderInWhichTheyOverrule() {
    let table = PairTable(
      own: PairRow.parse("amdgpu xe nothing moves works").rows, measured: Self.moves)
    let all = table.all
    #expect(all.prefix(2).map(\.origin) == [.own, .measured])
    #expect(all.dropFirst(2).allSatisfy { $0.origin == .table })
    #expect(all.count == 2 + PairTable.builtIn.count)
    #expect(table.rows.count == 1 + PairTable.builtIn.count, "measured rows are not tried")
  }

  @Test func kernelRange() throws {
    let (rows, errors) = PairRow.parse("amdgpu * pins nothing works 6.1..6.12")
    #expect(errors.isEmpty)
    let table = PairTable(own: rows)
    func neverMoves(_ kernel: KernelVersion?) -> Bool {
      table.row(exporter: DriverID("amdgpu"), importer: DriverID("i915"), kernel: kernel)!
        .neverMoves
    }
    #expect(neverMoves(KernelVersion(6, 1)) && neverMoves(KernelVersion("6.12.117-amd64")))
    #expect(!neverMoves(KernelVersion(6, 13)) && !neverMoves(KernelVersion(5, 19)))
    #expect(!neverMoves(nil), "a bound row must not hold on an unknown kernel")
  }

  @Test(arguments: [
    ("6.1..", KernelVersion(6, 1), nil), ("..6.12", nil, KernelVersion(6, 12)),
    ("6.1..6.12", KernelVersion(6, 1), KernelVersion(6, 12)), ("..", nil, nil),
  ])
  func rangesAreWrittenSo(text: String, since: KernelVersion?, until: KernelVersion?) throws {
    let row = try #require(PairRow.parse("vgem * pins nothing works \(text)").rows.first)
    #expect(row.kernels.since == since)
    #expect(row.kernels.until == until)
  }

  @Test(arguments: [
    "vgem * pins nothing", "vgem * sticks nothing works", "vgem * pins nothing maybe",
    "vgem * pins nothing works 6.12", "vgem * pins nothing works six..", "a b c d e f g",
  ])
  func errorsNameTheirLine(line: String) {
    let (rows, errors) = PairRow.parse("# header\n\nvgem * pins nothing works\n\(line)\n")
    #expect(rows.count == 1)
    #expect(errors.map(\.line) == [4])
  }
}

/// Questions about one pair.
extension PairTable {
  func row(
    exporter: DriverID, importer: DriverID, in memory: Memory = .unknown,
    kernel: KernelVersion? = nil
  ) -> PairRow? {
    rows(of: exporter, kernel: kernel).row(importer, in: memory)
  }
  func neverMoves(
    exporter: DriverID, importer: DriverID, in memory: Memory = .unknown,
    kernel: KernelVersion? = nil
  ) -> Bool {
    rows(of: exporter, kernel: kernel).neverMoves(importer, in: memory)
  }
  func stays(exporter: DriverID, importer: DriverID, kernel: KernelVersion? = nil) -> Bool {
    rows(of: exporter, kernel: kernel).stays(importer)
  }
  func systemOnly(_ exporter: DriverID, kernel: KernelVersion? = nil) -> Bool {
    rows(of: exporter, kernel: kernel).systemOnly()
  }
  func refusesAll(_ exporter: DriverID, kernel: KernelVersion? = nil) -> Bool {
    rows(of: exporter, kernel: kernel).refusesAll
  }
}
