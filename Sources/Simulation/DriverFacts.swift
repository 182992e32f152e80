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
  package enum Imports: Sendable { case anything, itsOwn, nothing }
  /// What another device's attachment does to a buffer in its dedicated memory, whether or not the
  /// import then succeeds.
  package enum Attach: Sendable { case nothing, moves, wakes }

  package var driver: String
  package var memory = Memory.system
  /// `exp_name` in fdinfo; nil: DRM core's `drm`.
  package var exporterName: String?
  /// The first kernel with that name; older ones show `drm`. nil: all kernels.
  package var exporterNameSince: KernelVersion?
  package var imports = Imports.anything
  /// It attaches before it refuses an import.
  package var refusesAfterAttach = false
  package var attach = Attach.nothing
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

  private static let gpus: [DriverFacts] = [
    DriverFacts("amdgpu") {
      $0.memory = .either
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
      $0.isUnmappable = true
      // The importer oopses (seen in the guest with radeon).
      $0.hangsOthers = true
      $0.imports = .itsOwn
    },
    DriverFacts("virtio_gpu") {
      $0.exporterName = "virtio_gpu"
      $0.imports = .itsOwn
      $0.refusesAfterAttach = true
    },
    DriverFacts("qxl") {
      $0.imports = .nothing
      $0.refusesAfterAttach = true
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
      $0.openWakes = false
      $0.scanout = .none
      $0.role = .software
    },
    DriverFacts("vkms") {
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

  private static let sinks: [DriverFacts] = ["udl", "evdi", "gud"].map { name in
    DriverFacts(name) {
      $0.scanout = .anything
      $0.role = .sink
    }
  }

  private static let displayLayouts: KeyValuePairs<String, [UInt64]> = [
    "bochs-drm": [], "cirrus": [], "simpledrm": [], "ast": [], "mgag200": [], "hyperv_drm": [],
    "hibmc": [], "apple-drm": [], "rockchip": [0x08], "meson": [0x08, 0x0a], "sun4i-drm": [0x09],
    "mediatek": [], "imx-drm": [0x06], "exynos": [0x04], "mxsfb-drm": [],
  ]
  private static let displays: [DriverFacts] = displayLayouts.map { name, layouts in
    DriverFacts(name) {
      $0.layouts = layouts
      $0.scanout = .anything
      $0.role = .display
    }
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
