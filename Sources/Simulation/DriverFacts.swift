// What drivers do, as far as the simulated kernel needs it: a separate copy, written from the
// kernel's sources and from tests in the guest, so that it is independent of primed's table
// (Placement/Drivers). A test compares the two.

internal import Glibc
package import Placement

package struct DriverFacts: Sendable {
  /// Where its buffers can lie.
  package enum Memory: Sendable {
    case system
    /// Each of its devices has dedicated memory.
    case dedicated
    /// Some of its devices have dedicated memory.
    case either
  }
  /// Which buffers its PRIME_FD_TO_HANDLE accepts.
  package enum Imports: Sendable { case anything, itsOwn }
  /// Which devices can import its buffers in system memory.
  package enum Exports: Sendable {
    case toAll, toNone
    /// To drivers that map nothing when they import, and then read it by the CPU.
    case toThoseThatMapNothing
  }
  /// What another device's attachment does to a buffer in its dedicated memory, whether or not the
  /// import then succeeds.
  package enum Attach: Sendable { case nothing, moves, wakes }

  package var driver: String
  package var memory = Memory.system
  /// The first kernel on which it keeps its buffers in shmem (drm_gem_shmem_helper.c). Before, they
  /// lay in video memory, and it neither let others map them nor imported others' buffers
  /// (drm_gem_vram_helper.c). nil: all kernels.
  package var shmemSince: KernelVersion?
  /// `exp_name` in fdinfo; nil: DRM core's `drm`.
  package var exporterName: String?
  /// The first kernel with that name; older ones show `drm`. nil: all kernels.
  package var exporterNameSince: KernelVersion?
  package var imports = Imports.anything
  /// The first kernel on which it imports others' buffers; nil: all kernels.
  package var importsSince: KernelVersion?
  /// A virtio GPU imports others' buffers where its host gives it blobs and no virgl
  /// (virtgpu_gem_prime_import); the simulated one has virgl.
  package var importsByHost = false
  /// It imports by drm_gem_shmem_prime_import_no_map where the kernel has that (7.2).
  package var importsByShmem = false
  package var exports = Exports.toAll
  /// The first kernel on which another device can import its buffers; nil: all kernels.
  package var exportsSince: KernelVersion?
  /// It attaches before it refuses an import.
  package var refusesAfterAttach = false
  package var attach = Attach.nothing
  /// Before this kernel an attachment woke it.
  package var attachWokeBefore: KernelVersion?
  /// Attaches dynamically, as exporter and importer: between two such drivers nothing is mapped
  /// before the first use.
  package var isDynamic = false
  /// Mapping its dedicated memory for another driver's device fails, and moves nothing.
  package var isUnmappable = false
  /// Another device's use of its dedicated memory hangs.
  package var hangsOthers = false
  /// Draws into what other devices exported.
  package var writesImports = true
  /// Keeps the domain that a buffer was allocated for, which can be read after a self-import.
  package var keepsRecord = false
  /// Vendors (bits 63:56 of a modifier) whose layouts its hardware reads; its own buffers use the
  /// first one.
  package var layouts: [UInt64] = []
  package var scanout = Scanout.own
  /// Opening its node wakes it.
  package var openWakes = true
  package var role = Role.render

  /// Which buffers its displays can show.
  package enum Scanout: Sendable {
    /// No displays.
    case none
    /// Its own buffers only.
    case own
    /// Also imported ones, if it is integrated or has no dedicated memory.
    case integrated
    /// Any.
    case anything
  }

  package init(_ driver: String, _ edit: (inout DriverFacts) -> Void = { _ in }) {
    self.driver = driver
    edit(&self)
  }

  /// By the name that sysfs or DRM gives the driver. An unknown driver gets the defaults.
  package static func of(_ driver: String) -> DriverFacts {
    byName[aliases[driver] ?? driver] ?? DriverFacts(driver)
  }

  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.driver, $0) })
  private static let aliases = [
    "nvidia": "nvidia-drm", "tegra-drm": "tegra", "armada": "armada-drm", "bochs": "bochs-drm",
    "cirrus-qemu": "cirrus", "simple-framebuffer": "simpledrm", "apple": "apple-drm",
    "vc4-drm": "vc4", "rockchip-drm": "rockchip", "meson-drm": "meson", "mediatek-drm": "mediatek",
    "exynos-drm": "exynos", "mxsfb": "mxsfb-drm",
  ]

  package static let all: [DriverFacts] = gpus + renderers + sinks + displays

  /// panfrost, panthor and msm export by functions of their own, under their modules' names (7.2:
  /// panfrost_gem_prime_export ...).
  private static let ownExports = KernelVersion(7, 2)

  /// drm_gem_shmem_prime_import_no_map is not in 6.12, and is in 7.2.
  private static let importsUnmapped = KernelVersion(7, 2)

  private static let gpus: [DriverFacts] = [
    DriverFacts("amdgpu") {
      $0.memory = .either
      // amdgpu_dma_buf_attach, until 030631e97b20.
      $0.attachWokeBefore = KernelVersion(6, 10)
      $0.isDynamic = true
      $0.keepsRecord = true
      $0.layouts = [0x02]
      $0.scanout = .integrated
    },
    DriverFacts("radeon") {
      $0.memory = .dedicated
      $0.attach = .moves
      $0.keepsRecord = true
      $0.layouts = [0x02]
    },
    DriverFacts("nouveau") {
      $0.memory = .dedicated
      $0.attach = .moves
      $0.keepsRecord = true
      $0.layouts = [0x03]
    },
    DriverFacts("i915") {
      $0.memory = .either
      $0.exporterName = "i915"
      $0.attach = .moves
      $0.layouts = [0x01]
      $0.scanout = .integrated
    },
    DriverFacts("xe") {
      $0.memory = .either
      $0.attach = .wakes
      $0.isDynamic = true
      $0.layouts = [0x01]
      $0.scanout = .integrated
    },
    DriverFacts("nvidia-drm") {
      $0.memory = .dedicated
      $0.isUnmappable = true
      $0.hangsOthers = true
      $0.writesImports = false
      $0.layouts = [0x03]
    },
    DriverFacts("vmwgfx") {
      $0.memory = .dedicated
      $0.exporterName = "vmwgfx"
      // The importer oopses (seen in the guest with radeon).
      $0.hangsOthers = true
      // vmw_prime_import_sg_table, which 6.1 lacks; vmw_prime_map_attach refuses all.
      $0.importsSince = KernelVersion(6, 12)
      $0.exports = .toNone
    },
    DriverFacts("virtio_gpu") {
      $0.exporterName = "virtio_gpu"
      $0.imports = .itsOwn
      $0.importsByHost = true
      $0.refusesAfterAttach = true
    },
    DriverFacts("qxl") {
      $0.memory = .dedicated
      $0.imports = .itsOwn
      $0.refusesAfterAttach = true
      // qxl_gem_prime_get_sg_table: ENOSYS. Only an import that maps nothing gets past it.
      $0.exports = .toThoseThatMapNothing
      $0.exportsSince = importsUnmapped
      $0.role = .display
    },
    DriverFacts("tegra") {
      $0.exporterName = "tegra_drm"
      $0.layouts = [0x03]
      $0.scanout = .anything
    },
    DriverFacts("asahi") {
      $0.layouts = [0x0c]
      $0.scanout = .none
      $0.role = .split
    },
    DriverFacts("v3d") {
      $0.layouts = [0x07]
      $0.scanout = .none
      $0.openWakes = false
      $0.role = .split
    },
    DriverFacts("msm") {
      $0.exporterName = "msm"
      $0.exporterNameSince = ownExports
      $0.layouts = [0x04, 0x05]
      $0.scanout = .anything
    },
    DriverFacts("omapdrm") {
      $0.exporterName = "omapdrm"
      $0.scanout = .anything
      $0.role = .display
    },
    DriverFacts("armada-drm") {
      $0.exporterName = "armada"
      $0.scanout = .anything
      $0.role = .display
    },
    DriverFacts("vc4") {
      $0.layouts = [0x07]
      $0.scanout = .anything
      $0.role = .display
    },
    DriverFacts("etnaviv") {
      $0.layouts = [0x06]
      $0.scanout = .none
      $0.openWakes = false
      $0.role = .split
    },
    DriverFacts("vgem") {
      $0.importsByShmem = true
      $0.openWakes = false
      $0.scanout = .none
      $0.role = .software
    },
    DriverFacts("vkms") {
      $0.importsByShmem = true
      $0.scanout = .anything
      $0.role = .software
    },
    DriverFacts("amdxdna") {
      $0.exporterName = "amdxdna"
      $0.scanout = .none
    },
    DriverFacts("intel_vpu") { $0.scanout = .none },
  ]

  private static let renderers: [DriverFacts] = [
    "panfrost", "panthor", "lima", "powervr",
  ].map { name in
    DriverFacts(name) {
      $0.layouts = name == "powervr" ? [] : [0x08]
      if name.hasPrefix("pan") { ($0.exporterName, $0.exporterNameSince) = (name, ownExports) }
      $0.scanout = .none
      $0.openWakes = name == "panfrost"
      $0.role = .split
    }
  }

  private static let sinks: [DriverFacts] = ["udl", "evdi", "gud", "simpledrm"].map { name in
    DriverFacts(name) {
      $0.importsByShmem = name != "evdi"
      $0.scanout = .anything
      $0.role = .sink
    }
  }

  private static let displayLayouts: KeyValuePairs<String, [UInt64]> = [
    "bochs-drm": [], "cirrus": [], "ast": [], "mgag200": [], "hyperv_drm": [], "hibmc": [],
    "apple-drm": [], "rockchip": [0x08], "meson": [0x08, 0x0a], "sun4i-drm": [0x09],
    "mediatek": [], "imx-drm": [0x06], "exynos": [0x04], "mxsfb-drm": [],
  ]
  /// Of virtual machines and management controllers: the CPU copies from shmem, since a kernel.
  private static let copiedByCPU: [String: KernelVersion?] = [
    "bochs-drm": KernelVersion(7, 2), "hibmc": KernelVersion(7, 2), "ast": KernelVersion(6, 12),
    "cirrus": nil, "mgag200": nil, "hyperv_drm": nil,
  ]
  private static let displays: [DriverFacts] = displayLayouts.map { name, layouts in
    DriverFacts(name) {
      $0.importsByShmem = copiedByCPU[name] != nil
      $0.shmemSince = copiedByCPU[name] ?? nil
      $0.layouts = layouts
      $0.scanout = .anything
      $0.role = .display
    }
  }

  private func hasVideoMemory(on kernel: KernelVersion) -> Bool {
    shmemSince.map { kernel < $0 } ?? false
  }

  package func memory(on kernel: KernelVersion) -> Memory {
    hasVideoMemory(on: kernel) ? .dedicated : memory
  }

  package func imports(on kernel: KernelVersion) -> Imports {
    if hasVideoMemory(on: kernel) { return .itsOwn }
    return importsSince.map { kernel < $0 } ?? false ? .itsOwn : imports
  }

  /// An import into it maps nothing.
  package func mapsNothing(on kernel: KernelVersion) -> Bool {
    importsByShmem && kernel >= Self.importsUnmapped
  }

  package func exports(on kernel: KernelVersion) -> Exports {
    if hasVideoMemory(on: kernel) { return .toNone }
    return exportsSince.map { kernel < $0 } ?? false ? .toNone : exports
  }

  /// Whether that driver can import its buffers in system memory.
  package func exports(to importer: DriverFacts, on kernel: KernelVersion) -> Bool {
    switch exports(on: kernel) {
    case .toAll: true
    case .toNone: false
    case .toThoseThatMapNothing: importer.mapsNothing(on: kernel)
    }
  }

  package func attach(on kernel: KernelVersion) -> Attach {
    attachWokeBefore.map { kernel < $0 } ?? false ? .wakes : attach
  }

  /// The exporter name that its buffers show in fdinfo.
  package func shownName(on kernel: KernelVersion) -> ExporterName {
    if let exporterNameSince, kernel < exporterNameSince { return .drm }
    return exporterName.map { .named($0) } ?? .drm
  }

  /// The error of a refused import of a buffer of this driver.
  func refusal(of dedicated: Bool, by importer: String) -> Int32 {
    if hangsOthers && dedicated { return ENOMEM }
    return importer == "qxl" ? ENOSYS : ENODEV
  }
}
