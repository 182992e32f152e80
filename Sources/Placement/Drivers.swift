// What is known of DRM drivers by name: data, each column with where it comes from.

/// The drivers that primed knows something about; `other` for all the rest, of which nothing is
/// assumed.
package enum Driver: UInt8, Sendable, CaseIterable {
  case other
  case i915, xe, amdgpu, radeon, nouveau, nvidia, vmwgfx
  case virtioGPU, vgem, vkms, cirrus, qxl, bochs, udl, gud, simpledrm
  case asahi, appleDRM, panfrost, panthor, lima, v3d, vc4, etnaviv, imx, msm, rockchip, meson
  case sun4i, exynos, mediatek, omapdrm, tegra, armada
  /// An accelerator of Intel's (/dev/accel): exports as DRM drivers do.
  case ivpu

  /// A driver by the name that sysfs, udev or DRM_IOCTL_VERSION gives it.
  package init(name: String) { self = Driver.names[name] ?? .other }

  private static let names: [String: Driver] = [
    "i915": .i915, "xe": .xe, "amdgpu": .amdgpu, "radeon": .radeon, "nouveau": .nouveau,
    "nvidia": .nvidia, "nvidia-drm": .nvidia, "vmwgfx": .vmwgfx, "virtio_gpu": .virtioGPU,
    "vgem": .vgem, "vkms": .vkms, "cirrus": .cirrus, "cirrus-qemu": .cirrus, "qxl": .qxl,
    "bochs-drm": .bochs, "udl": .udl,
    "gud": .gud, "simpledrm": .simpledrm, "simple-framebuffer": .simpledrm, "asahi": .asahi,
    "apple-drm": .appleDRM, "apple": .appleDRM, "panfrost": .panfrost, "panthor": .panthor,
    "lima": .lima, "v3d": .v3d, "vc4": .vc4, "vc4-drm": .vc4, "etnaviv": .etnaviv,
    "imx-drm": .imx, "msm": .msm, "rockchip": .rockchip, "rockchip-drm": .rockchip,
    "meson": .meson, "meson-drm": .meson, "sun4i-drm": .sun4i, "exynos": .exynos,
    "exynos-drm": .exynos, "mediatek": .mediatek, "mediatek-drm": .mediatek,
    "omapdrm": .omapdrm, "tegra": .tegra, "tegra-drm": .tegra, "armada-drm": .armada,
    "intel_vpu": .ivpu,
  ]

  /// The name that its exports show in fdinfo's `exp_name`; nil: the core's `drm`.
  package var exporterName: String? {
    switch self {
    case .i915: "i915"
    case .vmwgfx: "vmwgfx"
    case .virtioGPU: "virtio_gpu"
    case .omapdrm: "omapdrm"
    case .tegra: "tegra_drm"
    case .armada: "armada"
    default: nil
    }
  }

  /// The driver whose exports show `name`; nil: no DRM driver's (a heap, udmabuf, a camera).
  package static func exporting(as name: String) -> Driver? {
    allCases.first { $0.exporterName == name }
  }

  /// Vendor in bits 63:56 of the modifiers that its hardware tiles with (drm_fourcc.h); nil: none of
  /// its own, or one that several vendors' drivers share (ARM's).
  package var modifierVendor: UInt8? {
    switch self {
    case .i915, .xe: 0x01
    case .amdgpu, .radeon: 0x02
    case .nouveau, .nvidia, .tegra: 0x03
    case .msm: 0x05
    case .etnaviv: 0x06
    case .vc4, .v3d: 0x07
    case .asahi: 0x0c
    default: nil
    }
  }

  /// Uses other devices' system memory where it lies, and lets others use its own (seen in the
  /// guest for radeon, vgem, vkms and cirrus; the others by their source).
  package var sharesSystemMemory: Bool {
    switch self {
    case .i915, .xe, .amdgpu, .radeon, .nouveau, .vgem, .vkms, .cirrus: true
    default: false
    }
  }

  /// Its devices may reach each other's dedicated memory over the bus (the `allow_peer2peer` of
  /// their dma_buf_attach_ops).
  package var isPeerToPeer: Bool { self == .amdgpu || self == .xe }

  /// Attaches and maps dynamically, as exporter and as importer: between two such an import maps nothing
  /// before its first use (amdgpu_dma_buf.c and xe_dma_buf.c: exports with `pin`, imports by
  /// dma_buf_dynamic_attach). i915, too, maps later from 6.16 on, but tells nothing that would be
  /// worth such an import.
  package var mapsAtUse: Bool { self == .amdgpu || self == .xe }

  /// Keeps what an allocation was meant for, to be read after a self-import.
  package var keepsRecord: Bool {
    switch self {
    case .amdgpu, .radeon, .nouveau: true
    default: false
    }
  }
}

/// A driver, one that primed knows nothing about by its name.
package struct DriverID: Hashable, Sendable {
  package let driver: Driver
  private let name: String

  package init(_ name: String) {
    driver = Driver(name: name)
    self.name = driver == .other ? name : ""
  }
  package init(_ driver: Driver) {
    self.driver = driver
    name = ""
  }
}

/// A set of drivers in one word.
package struct DriverSet: Sendable, Equatable {
  package var bits: UInt64 = 0
  package init() {}
  package mutating func insert(_ driver: Driver) { bits |= 1 << UInt64(driver.rawValue) }
  package func contains(_ driver: Driver) -> Bool { bits & (1 << UInt64(driver.rawValue)) != 0 }
  package func allSatisfy(_ holds: (Driver) -> Bool) -> Bool {
    Driver.allCases.allSatisfy { !contains($0) || holds($0) }
  }
  package func contains(where holds: (Driver) -> Bool) -> Bool { !allSatisfy { !holds($0) } }
}
