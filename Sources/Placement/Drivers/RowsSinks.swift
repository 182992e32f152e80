// Rows of the driver table: displays that the CPU copies into (USB and SPI displays, firmware
// framebuffers, servers' management controllers), and accelerators.

extension DriverInfo {
  static var sinks: [DriverInfo] {
    [
      .shmemSink(["udl"], importsUntil612: "udl_driver_gem_prime_import", "udl/udl_drv.c"),
      .shmemSink(["gud"], importsUntil612: "gud_gem_prime_import", "gud/gud_drv.c"),
      .shmemSink(["gm12u320"], importsUntil612: "gm12u320_gem_prime_import", "tiny/gm12u320.c"),
      DriverInfo(
        names: ["evdi"], kind: .sink, memory: .system, wakes: nil,
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory, readsSystemMemory: true,
        source: "evdi_gem.c of evdi-dkms 1.14.8"),
      DriverInfo(
        names: ["fl2000_drm"], busNames: ["fl2000"], kind: .sink, memory: .system, wakes: nil,
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory, source: "out of tree [told]"),
      .shmemSink(["appletbdrm"], "tiny/appletbdrm.c"),
      .shmemSink(["simpledrm"], bus: ["simple-framebuffer"], "sysfb/simpledrm.c"),
      .shmemSink(["efidrm"], bus: ["efi-framebuffer"], "sysfb/efidrm.c"),
      .shmemSink(["vesadrm"], bus: ["vesa-framebuffer"], "sysfb/vesadrm.c"),
      .shmemSink(["ofdrm"], bus: ["of-display"], "sysfb/ofdrm.c"),
      .shmemSink(["corebootdrm"], bus: ["coreboot-framebuffer"], "sysfb/corebootdrm.c"),
      .shmemSink(["pixpaper"], "tiny/pixpaper.c"),
      .shmemSink(["ssd130x"], bus: ["ssd130x-i2c", "ssd130x-spi"], "solomon/ssd130x.c"),
      .shmemSink(["st7571"], bus: ["st7571-i2c", "st7571-spi"], "sitronix/st7571.c"),
      .shmemSink(["sitronix_st7920"], "sitronix/st7920.c"),
      .panel(["panel-mipi-dbi"], bus: ["panel-mipi-dbi-spi"], "tiny/panel-mipi-dbi.c"),
      .panel(["hx8357d"], "tiny/hx8357d.c"),
      .panel(["ili9163"], "tiny/ili9163.c"),
      .panel(["ili9225"], "tiny/ili9225.c"),
      .panel(
        ["ili9341"], bus: ["panel-ilitek-ili9341"], "tiny/ili9341.c, panel/panel-ilitek-ili9341.c"),
      .panel(["ili9486"], "tiny/ili9486.c"),
      .panel(["mi0283qt"], "tiny/mi0283qt.c"),
      .panel(["repaper"], "tiny/repaper.c"),
      .panel(["sharp_memory_display"], bus: ["sharp_memory"], "tiny/sharp-memory.c"),
      .panel(["st7586"], "sitronix/st7586.c"),
      .panel(["st7735r"], "sitronix/st7735r.c"),
      // Servers' management controllers.
      DriverInfo(
        names: ["ast"], kind: .display, imports: importedByShmem, refusesImports: .until(6, 1),
        refusesAttachments: .until(6, 1), memory: .system(.since(6, 12)), wakes: [.close],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory, readsSystemMemory: true,
        source: "ast_drv.c: drm_gem_vram_helper.c without PRIME on 6.1, shmem on 6.12 and 7.3"),
      .virtualDisplay(["mgag200"], shmemSince: nil, "mgag200_drv.c"),
      .virtualDisplay(
        ["hibmc"], bus: ["hibmc-drm"], shmemSince: KernelVersion(7, 2), "hibmc_drm_drv.c"),
    ]
  }

  static var accelerators: [DriverInfo] {
    [
      DriverInfo(
        names: ["intel_vpu"], kind: .accelerator,
        exporterNames: [Dated("drm"), Dated("ivpu_userptr_dmabuf", .since(6, 13))],
        imports: [Dated("ivpu_gem_prime_import")], memory: .system, wakes: [.close],
        source: "ivpu_gem.c, ivpu_gem_userptr.c, ivpu_ms_cleanup resumes [census]"),
      DriverInfo(
        names: ["amdxdna", "amdxdna_accel_driver"], kind: .accelerator,
        exporterNames: [Dated("amdxdna"), Dated("drm", .until(7, 1))],
        imports: [Dated("amdxdna_gem_prime_import")],
        memory: .system, wakes: nil,
        source: "amdxdna_gem.c, amdxdna_ubuf.c, amdxdna_cbuf.c [census]"),
      DriverInfo(
        names: ["qaic"], kind: .accelerator, imports: [Dated("qaic_gem_prime_import")],
        refusesAttachments: .until(6, 12), memory: .system, wakes: nil,
        source: "qaic_data.c: pages of the host [census]"),
      DriverInfo(
        names: ["rocket"], busNames: ["rknn"], kind: .accelerator, refusesImports: .all,
        memory: .system, wakes: nil, source: "rocket_gem.c: shmem [census]"),
      DriverInfo(
        names: ["ethosu"], kind: .accelerator, refusesImports: .all, memory: .system, wakes: nil,
        source: "ethosu_gem.c: the DMA allocator [census]"),
      DriverInfo(
        names: ["habanalabs"], kind: .accelerator, exporterNames: [Dated("habanalabs")],
        imports: [], refusesImports: .all, memory: .dedicated, wakes: nil,
        source: "habanalabs/common/memory.c [census]"),
    ]
  }

  fileprivate static func shmemSink(
    _ names: [String], bus: [String] = [], importsUntil612: String = ImportFunction.core,
    _ file: String
  ) -> DriverInfo {
    DriverInfo(
      names: names, busNames: bus, kind: .sink,
      imports: [Dated(importsUntil612, .until(6, 12)), Dated(ImportFunction.shmem, .since(7, 2))],
      memory: .system, wakes: [.close], scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
      readsSystemMemory: true,
      source: "\(file), drm_gem_shmem_helper.c: the CPU reads linear buffers [census]")
  }

  /// Displays behind SPI, whose buffers come from the DMA allocator.
  fileprivate static func panel(
    _ names: [String], bus: [String] = [], _ file: String
  ) -> DriverInfo {
    DriverInfo(
      names: names, busNames: bus, kind: .sink, memory: .system, wakes: [.close],
      scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
      source: "\(file), drm_mipi_dbi.c: the CPU reads linear buffers [census]")
  }
}
