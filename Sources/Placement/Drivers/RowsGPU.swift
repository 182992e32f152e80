// Rows of the driver table: desktop GPUs and virtual ones.

extension DriverInfo {
  /// The GPU in an Intel processor or chipset is PCI function 00:02.0.
  private static let intelGPU = "0000:00:02.0"

  static var gpus: [DriverInfo] {
    [
      DriverInfo(
        names: ["amdgpu", "amdgpu_xcp_drv"], busNames: ["amdgpu_xcp"], kind: .gpu,
        imports: [Dated("amdgpu_gem_prime_import")], memory: .dedicated,
        // Vendor AMD; all functions of a card have vendor ATI, 0x1002.
        wakes: [.open, .ioctl, .close], processorVendor: "0x1022", ownNodes: ["/dev/kfd"],
        layouts: [.amd], scanOut: .systemMemory, scanOutDiscrete: .none, readsSystemMemory: true,
        peerToPeer: .ifAwake, mapsAtUse: true, ownIoctls: true, keepsRecord: true,
        source: """
          amdgpu_dma_buf.c, amdgpu_drv.c, amdgpu_kms.c; amdgpu_display_user_framebuffer_create: \
          EINVAL for an import without gpu_vm_support, which APUs have [census]
          """),
      DriverInfo(
        names: ["i915"], kind: .gpu, exporterNames: [Dated("i915")],
        imports: [Dated("i915_gem_prime_import")], memory: .dedicatedUnlessIntegrated,
        wakes: [.open, .close], integratedFunction: intelGPU, layouts: [.intel],
        scanOut: .systemMemory, scanOutDiscrete: .none, readsSystemMemory: true, ownIoctls: true,
        source: """
          i915_gem_dmabuf.c; i915_gem_context_open resumes; i915_bo_framebuffer_lookup: EREMOTE \
          outside local memory [census]
          """),
      DriverInfo(
        names: ["xe"], kind: .gpu, imports: [Dated("xe_gem_prime_import")],
        memory: .dedicatedUnlessIntegrated, wakes: [.ioctl, .close],
        integratedFunction: intelGPU, layouts: [.intel],
        scanOut: .systemMemory, scanOutDiscrete: .none, readsSystemMemory: true,
        peerToPeer: .always, mapsAtUse: true, ownIoctls: true, scratchSize: 65536,
        source: """
          xe_dma_buf.c, xe_drm_ioctl, xe_file_close; __xe_pin_fb_vma migrates to VRAM, which fails \
          for an import; VRAM pages of 64 KiB where XE_VRAM_FLAGS_NEED64K [census]
          """),
      DriverInfo(
        names: ["nvidia-drm"], busNames: ["nvidia"], kind: .gpu,
        imports: [Dated("nv_drm_gem_prime_import")], memory: .dedicated,
        wakes: nil,
        ownNodes: [
          "/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools",
        ],
        layouts: [.nvidia], scanOut: .none, scanOutDiscrete: .none, readsSystemMemory: true,
        rendersIntoImports: false,
        source: """
          nvidia-drm-gem.c, nvidia-drm-gem-dma-buf.c (open-gpu-kernel-modules); no scan-out from \
          system memory, no rendering into foreign linear buffers, power [told]
          """),
      DriverInfo(
        names: ["nouveau"], kind: .gpu, memory: .dedicated, wakes: [.open, .ioctl, .close],
        layouts: [.nvidia], readsSystemMemory: true, ownIoctls: true, keepsRecord: true,
        source: "nouveau_prime.c, nouveau_drm.c, nouveau_gem.c [census]"),
      DriverInfo(
        names: ["radeon"], kind: .gpu, memory: .dedicated, wakes: [.open, .ioctl, .close],
        layouts: [.amd], scanOut: .none, scanOutDiscrete: .none, readsSystemMemory: true,
        ownIoctls: true, keepsRecord: true,
        source: """
          radeon_prime.c, radeon_drv.c, radeon_kms.c; radeon_user_framebuffer_create: EINVAL for \
          an import [census]
          """),
      DriverInfo(
        names: ["nova-drm"],
        busNames: ["nova", "nova_drm", "nova-drm.nova-drm", "nova_drm.nova-drm"],
        kind: .gpu, refusesImports: .all, refusesAttachments: .all, memory: .unknown,
        wakes: nil, powerIsParents: true, layouts: [.nvidia],
        source: """
          nova/driver.rs: gem::Object has no sg_table either way; on the auxiliary bus [census]; \
          the bus driver's name [told]
          """),
      DriverInfo(
        names: ["loongson"], kind: .gpu, memory: .dedicated, wakes: [.close],
        source: "loongson/lsdc_gem.c, lsdc_gem_prime_pin: to GTT [census]"),
      DriverInfo(
        names: ["gma500"], kind: .gpu, refusesImports: .all, refusesAttachments: .all,
        memory: .system, wakes: [.close], integratedFunction: intelGPU,
        source: "gma500/gem.c: no get_sg_table, no import [census]"),
      DriverInfo(
        names: ["tgpu"], kind: .gpu, imports: [Dated("tgpu_gem_prime_import")],
        importsByCoreInTheEnd: true, memory: .unknown, wakes: nil, layouts: nil, ownIoctls: true,
        source: "this project's test driver, Tests/Guest/tgpu"),
    ]
  }

  static var virtualGPUs: [DriverInfo] {
    [
      DriverInfo(
        names: ["virtio_gpu"], busNames: ["virtio-pci", "virtio-mmio"], kind: .gpu,
        exporterNames: [Dated("virtio_gpu")],
        imports: [Dated("virtgpu_gem_prime_import")], refusesImports: .until(6, 12),
        memory: .system, wakes: [.close], layouts: nil,
        source: """
          virtgpu_prime.c, virtgpu_gem_prime_import: others' buffers with blobs and without virgl \
          only; the host's GPU may be of any vendor [census]
          """),
      DriverInfo(
        names: ["vmwgfx"], kind: .gpu,
        // Surfaces are exported by the driver's own TTM objects, dumb buffers by DRM core.
        exporterNames: [Dated("vmwgfx"), Dated("drm")], refusesImports: .until(6, 1),
        memory: .dedicated, wakes: [.close],
        source: "vmwgfx_prime.c, ttm_object.c, vmwgfx_gem.c [census]"),
      DriverInfo(
        names: ["vgem"], kind: .software, imports: importedByShmem, memory: .system,
        wakes: [], readsSystemMemory: true, source: "vgem_drv.c; Tests/Guest [census]"),
      DriverInfo(
        names: ["vkms"], kind: .software, imports: importedByShmem, memory: .system,
        wakes: [.close], scanOut: .systemMemory, scanOutDiscrete: .systemMemory,
        readsSystemMemory: true, source: "vkms_drv.c; Tests/Guest [census]"),
      DriverInfo(
        names: ["qxl"], kind: .display, refusesImports: .all,
        refusesAttachments: .until(6, 12), memory: .dedicated, wakes: [.close],
        source: """
          qxl_prime.c: import and get_sg_table are ENOSYS; from 7.x on importers that map nothing \
          are let in, and the attachment pins by ttm_bo_validate [census]
          """),
      .virtualDisplay(["bochs-drm", "bochs"], shmemSince: KernelVersion(7, 2), "tiny/bochs.c"),
      .virtualDisplay(
        ["cirrus-qemu", "cirrus"], shmemSince: nil, "tiny/cirrus.c, tiny/cirrus-qemu.c"),
      .virtualDisplay(["hyperv_drm"], shmemSince: nil, "hyperv_drm_drv.c"),
      DriverInfo(
        names: ["vboxvideo"], kind: .display, refusesImports: .all, refusesAttachments: .all,
        memory: .dedicated, wakes: [.close],
        source: "vbox_drv.c, drm_gem_vram_helper.c: no get_sg_table [census]"),
      DriverInfo(
        names: ["xendrm-du"], busNames: ["vdispl"], kind: .display, memory: .system,
        wakes: [.close], source: "xen_drm_front_gem.c [census]; the bus driver's name [told]"),
    ]
  }

  /// Imports by DRM core up to 6.12, and from 7.2 on by the function that maps nothing. In which
  /// version between them it changed was not read.
  static let importedByShmem = [
    Dated(ImportFunction.core, .until(6, 12)), Dated(ImportFunction.shmem, .since(7, 2)),
  ]

  /// A display of a virtual machine or of a server's management controller: the CPU copies what it
  /// shows from system memory, which it exports and imports. `shmemSince`: before this kernel its
  /// buffers lay in video memory, to which no other device could attach.
  static func virtualDisplay(
    _ names: [String], bus: [String] = [], shmemSince: KernelVersion?, _ file: String
  ) -> DriverInfo {
    let before = shmemSince.map { _ in KernelRange.until(6, 12) }
    return DriverInfo(
      names: names, busNames: bus, kind: .display, imports: importedByShmem,
      refusesImports: before, refusesAttachments: before,
      memory: .system(KernelRange(since: shmemSince)), wakes: [.close],
      scanOut: shmemSince == nil ? .systemMemory : .unknown,
      scanOutDiscrete: shmemSince == nil ? .systemMemory : .unknown, readsSystemMemory: true,
      source: "\(file), drm_gem_shmem_helper.c [census]")
  }
}
