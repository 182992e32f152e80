// Rows of the driver table: renderers and display controllers of systems on a chip. All their
// buffers are pages of shmem or of the DMA allocator.

extension DriverInfo {
  static var renderers: [DriverInfo] {
    [
      .renderer("asahi", imports: "asahi_gem_prime_import", wakes: nil, [.apple], "[told]"),
      .renderer("etnaviv", wakes: [], [.vivante], "etnaviv_gem_prime.c [census]"),
      .renderer("lima", wakes: [], [.arm], "lima_drv.c [census]"),
      DriverInfo(
        names: ["panfrost"], kind: .renderer, exporterNames: shownByModule("panfrost"),
        imports: [
          Dated(ImportFunction.core, .until(6, 12)),
          Dated("panfrost_gem_prime_import", .since(7, 2)),
        ],
        memory: .system, wakes: [.close], layouts: [.arm], readsSystemMemory: true,
        source: "panfrost_gem.c, panfrost_perfcnt_close resumes [census]"),
      DriverInfo(
        names: ["panthor"], kind: .renderer, exporterNames: shownByModule("panthor"),
        imports: [
          Dated(ImportFunction.core, .until(6, 12)),
          Dated("panthor_gem_prime_import", .since(7, 2)),
        ],
        memory: .system, wakes: [], layouts: [.arm], readsSystemMemory: true,
        source: "panthor_gem.c [census]"),
      // Its DRM name is `panthor`: a lookup by that name finds panthor's row, which exports and
      // imports alike.
      .renderer("tyr", also: ["panthor"], wakes: nil, [.arm], "tyr/driver.rs, tyr/gem.rs [census]"),
      .renderer("powervr", wakes: [], nil, "imagination/pvr_gem.c [census]"),
      .renderer("v3d", wakes: [], [.broadcom], "v3d_drv.c, v3d_bo.c [census]"),
    ]
  }

  static var displays: [DriverInfo] {
    [
      // Both a GPU and a display controller, in most cases as one device.
      DriverInfo(
        names: ["msm", "msm-kms"],
        busNames: ["msm-mdss", "msm_dpu", "msm_mdp", "msm_mdp5", "mdp4", "adreno"], kind: .gpu,
        exporterNames: shownByModule("msm"),
        imports: [
          Dated(ImportFunction.core, .until(6, 12)), Dated("msm_gem_prime_import", .since(7, 2)),
        ],
        memory: .system, wakes: [.open, .close], layouts: [.qcom, .samsung],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory, readsSystemMemory: true,
        source: "msm_drv.c, msm_gem_prime.c, adreno_load_gpu resumes [census]"),
      DriverInfo(
        names: ["tegra"], busNames: ["drm", "tegra-drm"], kind: .gpu,
        exporterNames: [Dated("tegra_drm")], imports: [Dated("tegra_gem_prime_import")],
        memory: .system, wakes: [.close], layouts: [.nvidia],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
        source: "tegra/gem.c, tegra/drm.c: its host1x driver is called drm [census]"),
      DriverInfo(
        names: ["omapdrm"], kind: .display, exporterNames: [Dated("omapdrm")],
        imports: [Dated("omap_gem_prime_import")], memory: .system, wakes: [.close],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
        source: "omap_gem_dmabuf.c [census]"),
      DriverInfo(
        names: ["armada-drm", "armada"], kind: .display, exporterNames: [Dated("armada")],
        imports: [Dated("armada_gem_prime_import")], memory: .system, wakes: [.close],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
        source: "armada_gem.c, armada_gem_prime_map_dma_buf [census]"),
      DriverInfo(
        names: ["exynos"], busNames: ["exynos-drm"], kind: .display,
        imports: [
          Dated("exynos_drm_gem_prime_import", .until(6, 12)),
          Dated(ImportFunction.core, .since(7, 2)),
        ],
        memory: .system, wakes: [.close], layouts: [.samsung],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
        source: "exynos_drm_gem.c [census]"),
      DriverInfo(
        names: ["mediatek"], busNames: ["mediatek-drm"], kind: .display,
        imports: [
          Dated("mtk_drm_gem_prime_import", .until(6, 1)),
          Dated("mtk_gem_prime_import", KernelRange(since: .init(6, 12), until: .init(6, 12))),
          Dated(ImportFunction.core, .since(7, 2)),
        ],
        memory: .system, wakes: [.close],
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
        source: "mtk_gem.c; mtk_plane.c no longer offers AFBC [census]"),
      .display(
        ["rockchip"], bus: ["rockchip-drm"], layouts: [.arm],
        "rockchip_drm_gem.c, rockchip_drm_vop2.c"),
      .display(
        ["meson"], bus: ["meson-drm"], layouts: [.arm, .amlogic],
        "meson_drv.c, meson_plane.c, meson_overlay.c"),
      .display(["komeda"], layouts: [.arm], "arm/display/komeda/komeda_format_caps.c"),
      .display(["mali-dp"], layouts: [.arm], "arm/malidp_planes.c"),
      .display(["hdlcd"], "arm/hdlcd_drv.c"),
      .display(["vc4"], bus: ["vc4-drm"], layouts: [.broadcom], "vc4_drv.c, vc4_plane.c"),
      .display(["sun4i-drm"], layouts: [.allwinner], "sun4i_drv.c, sun4i_frontend.c"),
      .display(["imx-drm"], layouts: [.vivante], "imx/ipuv3/imx-drm-core.c, ipuv3-plane.c"),
      .display(["imx-dcss"], layouts: [.vivante], "imx/dcss/dcss-kms.c, dcss-plane.c"),
      .display(["imx8-dc"], "imx/dc/dc-drv.c"),
      .display(["imx-lcdc"], "imx/lcdc/imx-lcdc.c"),
      .display(["imx-lcdif"], "mxsfb/lcdif_drv.c"),
      .display(["mxsfb-drm"], bus: ["mxsfb"], "mxsfb/mxsfb_drv.c"),
      // Out of tree, by the Asahi project.
      DriverInfo(
        names: ["apple", "apple-drm"], kind: .display, memory: .system, wakes: nil, layouts: nil,
        scanOut: .systemMemory, scanOutDiscrete: .systemMemory, source: "[told]"),
      .display(["adp"], "adp/adp_drv.c"),
      .display(["aspeed-gfx-drm"], bus: ["aspeed_gfx"], "aspeed/aspeed_gfx_drv.c"),
      .display(["atmel-hlcdc"], bus: ["atmel-hlcdc-display-controller"], "atmel_hlcdc_dc.c"),
      .display(["fsl-dcu-drm"], bus: ["fsl-dcu"], "fsl_dcu_drm_drv.c"),
      .display(["ingenic-drm"], "ingenic-drm-drv.c"),
      .display(["kirin"], bus: ["kirin-drm"], "hisilicon/kirin/kirin_drm_ade.c"),
      .display(["kmb-drm"], "kmb_drv.c"),
      .display(["logicvc-drm"], "logicvc_drm.c"),
      .display(["mcde"], "mcde_drv.c"),
      .display(["pl111"], bus: ["drm-clcd-pl111"], "pl111_drv.c"),
      .display(["rcar-du"], "renesas/rcar-du/rcar_du_drv.c"),
      .display(["rzg2l-du"], refusesImports: .until(6, 12), "renesas/rz-du/rzg2l_du_drv.c"),
      .display(["shmob-drm"], "renesas/shmobile/shmob_drm_drv.c"),
      .display(["sprd"], bus: ["sprd-drm-drv"], "sprd_drm.c"),
      .display(["sti"], "sti_drv.c"),
      .display(["stm"], bus: ["stm32-display"], "stm/drv.c"),
      .display(["tidss"], "tidss_drv.c"),
      .display(["tilcdc"], "tilcdc_drv.c"),
      .display(["tve200"], "tve200_drv.c"),
      .display(["verisilicon"], bus: ["verisilicon-dc"], "verisilicon/vs_drm.c"),
      .display(["zynqmp-dpsub"], "xlnx/zynqmp_kms.c"),
      .display(["arcpgu"], "tiny/arcpgu.c"),
    ]
  }

  /// Exports by DRM core up to 6.12, and from 7.2 on by the module's own file.
  fileprivate static func shownByModule(_ name: String) -> [Dated<String>] {
    [Dated("drm", .until(7, 1)), Dated(name, .since(6, 13))]
  }

  /// A renderer whose buffers are shmem pages behind its own MMU; no display; exports and imports
  /// by DRM core.
  fileprivate static func renderer(
    _ name: String, also others: [String] = [], imports: String = ImportFunction.core,
    wakes: Wakes?, _ layouts: [LayoutVendor]?, _ source: String
  ) -> DriverInfo {
    DriverInfo(
      names: [name] + others, kind: .renderer, imports: [Dated(imports)], memory: .system,
      wakes: wakes, layouts: layouts, readsSystemMemory: true, source: source)
  }

  /// A display controller whose buffers come from the DMA allocator: what it can import (contiguous
  /// memory, or any memory behind an IOMMU: drm_gem_dma_prime_import_sg_table) it can also scan
  /// out. The last close restores the console (drm_lastclose), which may resume it.
  fileprivate static func display(
    _ names: [String], bus: [String] = [], refusesImports: KernelRange? = nil,
    layouts: [LayoutVendor]? = [], _ file: String
  ) -> DriverInfo {
    DriverInfo(
      names: names, busNames: bus, kind: .display, refusesImports: refusesImports,
      memory: .system, wakes: [.close],
      layouts: layouts, scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
      source: "\(file) [census]")
  }
}
