// What is known of one driver: the columns of the driver table. Its rows are in the Rows files
// beside this one; what a pair of drivers does is in PairTable.swift.
//
// `Tests/Census/run` reads a kernel's source and fails where a driver has no row, or where a row
// differs from the source. A column that the census can't read names its source in the row;
// `[told]` marks what nobody of this project has read or tried.

package struct DriverInfo: Sendable {
  /// drm_driver.name, as DRM_IOCTL_VERSION returns it, the newest kernel's name first. Unique in
  /// the table except for `tyr`, which calls itself `panthor`.
  package var names: [String]
  /// The name of the driver that the parent device is bound to, as in sysfs and udev, where it is a
  /// different one.
  package var busNames: [String] = []
  package var kind: Kind
  /// What its exports may show in fdinfo as exp_name. Several: it depends on the kind of buffer.
  package var exporterNames = DriverInfo.shownByCore
  /// The functions that import. Drivers that import by the same function treat import flags alike.
  package var imports = [Dated(ImportFunction.core)]
  /// Its own import function passes other devices' buffers on to DRM core's.
  package var importsByCoreInTheEnd = false
  /// Kernels on which an import of another device's buffer always fails.
  package var refusesImports: KernelRange?
  /// Kernels on which no other device can attach to its buffers (drm_gem_map_attach returns ENOSYS
  /// without get_sg_table, or the driver refuses): imports then do nothing to them, wherever they
  /// lie.
  package var refusesAttachments: KernelRange?
  /// Where exported buffers can lie.
  package var memory: ExportMemory
  /// Which of primed's own calls resume the device; nil: unknown, so possibly each. What an
  /// attachment does to the exporter is in the pair table (ImportEffect.wakes).
  package var wakes: Wakes?
  /// The PCI vendor of the processor's functions that an integrated device shares its slot with; a
  /// card's functions have another vendor.
  package var processorVendor: String?
  /// The PCI function that an integrated device always is.
  package var integratedFunction: String?
  /// Its device nodes besides those of DRM; nodes with a number of the device's are found in /proc.
  package var ownNodes: [String] = []
  /// Its runtime PM is on the parent of the device.
  package var powerIsParents = false
  /// Vendors (bits 63:56 of a modifier, drm_fourcc.h) whose layouts its hardware reads; nil:
  /// unknown.
  package var layouts: [LayoutVendor]? = []
  /// What it scans out of other devices' buffers, as an integrated device and as a card.
  package var scanOut = ScanOut.unknown
  package var scanOutDiscrete = ScanOut.unknown
  /// It maps scattered pages of system memory, so it can use what another device exported from
  /// there.
  package var readsSystemMemory = false
  /// False: it is known not to draw into other devices' buffers.
  package var rendersIntoImports = true
  package var peerToPeer = PeerToPeer.never
  /// Attaches and maps dynamically, as exporter and as importer: between two such drivers an import
  /// maps nothing before the first use.
  package var mapsAtUse = false
  /// primed knows the driver's own ioctls, for allocating in a chosen memory and for reading what
  /// an allocation was for: CShims/drm.c has them by its first name.
  package var ownIoctls = false
  /// It keeps the domain that a buffer was allocated for, which can be read after a self-import.
  package var keepsRecord = false
  /// Bytes of the smallest buffer that it certainly places in dedicated memory.
  package var scratchSize: UInt64 = 4096
  /// Kernel file and function, and the versions that were read or tried.
  package var source: String

  static let shownByCore = [Dated("drm")]
}

extension DriverInfo {
  package enum Kind: UInt8, Sendable {
    /// Renders, and in most cases displays too.
    case gpu
    /// Renders only; the display controller beside it is another device.
    case renderer
    case display
    /// Only displays what the CPU copies into it.
    case sink
    /// No hardware.
    case software
    /// /dev/accel: exports as DRM devices do, and is never chosen.
    case accelerator
  }

  package enum ExportMemory: Sendable, Hashable {
    /// System memory only, on these kernels; on others possibly memory of its own.
    case system(KernelRange)
    /// Also memory of its own; the largest prefetchable BAR is a window on it.
    case dedicated
    /// The same, unless the device is integrated, which then has none.
    case dedicatedUnlessIntegrated
    case unknown

    static let system = ExportMemory.system(.all)
  }

  package struct Wakes: OptionSet, Sendable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let open = Wakes(rawValue: 1)
    package static let ioctl = Wakes(rawValue: 2)
    package static let close = Wakes(rawValue: 4)
    package static let `import` = Wakes(rawValue: 8)
  }

  package enum ScanOut: UInt8, Sendable {
    case unknown
    /// No imported buffer.
    case none
    /// Linear buffers in system memory.
    case systemMemory
  }

  /// Whether another device can use its dedicated memory over the bus (allow_peer2peer of its
  /// dma_buf_attach_ops). An attachment's `peer2peer` shows whether one does.
  package enum PeerToPeer: UInt8, Sendable {
    case never
    /// If the exporter is awake when the other device attaches (amdgpu_dma_buf_attach:
    /// pm_runtime_get_if_active).
    case ifAwake
    case always
  }
}

/// Import functions that several drivers share; any other name is the driver's own function.
package enum ImportFunction {
  package static let core = "drm_gem_prime_import"
  /// drm_gem_shmem_helper.c: attaches and maps nothing.
  package static let shmem = "drm_gem_shmem_prime_import_no_map"
}

/// drm_fourcc.h, DRM_FORMAT_MOD_VENDOR_*.
package enum LayoutVendor: UInt8, Sendable, CaseIterable {
  case intel = 1
  case amd, nvidia, samsung, qcom, vivante, broadcom, arm, allwinner, amlogic, mtk, apple
}
