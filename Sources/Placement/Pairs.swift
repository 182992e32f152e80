// What an import does to a buffer, by pair of drivers: data, each row with its source.
// On kernels without NO_MOVE this table alone permits an import. Rows are tried in order, a user's
// own before these; the first that matches holds, and no match means that nothing is known. Rows that
// were measured on this machine permit nothing: they only forbid what the built-in ones permit.

/// What the exporter does to its buffer when an importer attaches or maps.
package enum ImportEffect: String, Sendable {
  case nothing
  /// Moves nothing, and keeps the exporter awake until detach.
  case wakes
  /// Holds system pages where they are.
  case pins
  case moves
  case fails
  case unknown
}

extension ImportEffect {
  var stays: Bool { self == .nothing || self == .wakes || self == .pins }
}

/// What use by the importer does once an import succeeded.
package enum ImportUse: String, Sendable { case works, hangs, unknown }

package struct KernelVersion: Sendable, Comparable {
  package var major: Int
  package var minor: Int
  package init(_ major: Int, _ minor: Int) {
    self.major = major
    self.minor = minor
  }
  package static func < (a: Self, b: Self) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
}

package struct PairRow: Sendable, Equatable {
  package enum Importer: Sendable, Equatable {
    case any
    /// Any but the exporter's driver.
    case others
    case driver(DriverID)
  }
  package var exporter: DriverID
  package var importer: Importer
  package var attach: ImportEffect
  package var map: ImportEffect
  package var use: ImportUse
  /// First and last kernel that it is known for; nil: no bound.
  package var since: KernelVersion?
  package var until: KernelVersion?
  package var source: String
  /// As they were written.
  package let exporterName: String
  package let importerName: String

  /// `importer`: a driver's name, `*` for any, or `others`.
  package init(
    _ exporter: String, _ importer: String, attach: ImportEffect, map: ImportEffect,
    use: ImportUse, since: KernelVersion? = nil, until: KernelVersion? = nil, source: String
  ) {
    (exporterName, importerName) = (exporter, importer)
    self.exporter = DriverID(exporter)
    self.importer =
      switch importer {
      case "*": .any
      case "others": .others
      default: .driver(DriverID(importer))
      }
    self.attach = attach
    self.map = map
    self.use = use
    self.since = since
    self.until = until
    self.source = source
  }

  package var neverMoves: Bool { (attach.stays || attach == .fails) && map.stays }
  /// Nobody is let at its buffers, and so nobody's import does anything to them.
  var isRefusal: Bool { attach == .fails && map.stays }
  /// An import is refused, or use hangs.
  package var neverWorks: Bool { attach == .fails || map == .fails || use == .hangs }

  func matches(_ exporter: DriverID, _ importer: DriverID, _ kernel: KernelVersion?) -> Bool {
    guard self.exporter == exporter else { return false }
    switch self.importer {
    case .any: break
    case .others: if importer == exporter { return false }
    case .driver(let driver): if importer != driver { return false }
    }
    if since == nil && until == nil { return true }
    guard let kernel else { return false }
    return since.map { kernel >= $0 } ?? true && until.map { kernel <= $0 } ?? true
  }
}

/// Where a row comes from.
package enum PairOrigin: String, Sendable {
  /// A user's file.
  case own
  /// An import of a buffer of primed's own on this machine.
  case measured
  case table
}

package struct PairTable: Sendable {
  /// Those that are tried one after the other.
  package var rows: [PairRow] { own + PairTable.builtIn }
  private let own: [PairRow]
  private let measured: [PairRow]

  /// `own` are a user's rows: they go before the built-in ones. `measured` is what imports were seen to
  /// do here, each with drivers by name.
  package init(own: [PairRow] = [], measured: [PairRow] = []) {
    self.own = own
    self.measured = measured
  }

  /// All of it: in the order in which rows overrule each other.
  package var all: [(origin: PairOrigin, row: PairRow)] {
    own.map { (.own, $0) } + measured.map { (.measured, $0) }
      + PairTable.builtIn.map { (.table, $0) }
  }

  /// What is known of an import by another device than the exporter; nil: nothing.
  package func row(
    exporter: DriverID, importer: DriverID, kernel: KernelVersion? = nil
  ) -> PairRow? {
    rows.first { $0.matches(exporter, importer, kernel) }
  }

  /// An import was seen to move a buffer here, and no row of the user's knows better.
  private func isSeenToMove(
    _ exporter: DriverID, _ importer: DriverID, _ kernel: KernelVersion?
  ) -> Bool {
    !own.contains { $0.matches(exporter, importer, kernel) }
      && measured.contains { $0.attach == .moves && $0.matches(exporter, importer, kernel) }
  }

  /// The measured rows that another row is overruled by.
  package func forbidden(kernel: KernelVersion? = nil) -> [PairRow] {
    measured.filter {
      guard case .driver(let importer) = $0.importer else { return false }
      return isSeenToMove($0.exporter, importer, kernel)
        && row(exporter: $0.exporter, importer: importer, kernel: kernel)?.attach.stays == true
    }
  }

  /// Whether neither an import by `importer` nor its use moves the buffer.
  package func neverMoves(
    exporter: DriverID, importer: DriverID, kernel: KernelVersion? = nil
  ) -> Bool {
    row(exporter: exporter, importer: importer, kernel: kernel)?.neverMoves == true
      && !isSeenToMove(exporter, importer, kernel)
  }

  /// Whether an import by `importer` leaves the buffer where it is: nothing of this pair moves it, or
  /// both drivers do their mapping at the first use, which primed never comes to.
  package func stays(
    exporter: DriverID, importer: DriverID, kernel: KernelVersion? = nil
  ) -> Bool {
    guard let row = row(exporter: exporter, importer: importer, kernel: kernel),
      !isSeenToMove(exporter, importer, kernel)
    else { return false }
    return row.neverMoves
      || row.attach.stays && exporter.driver.mapsAtUse && importer.driver.mapsAtUse
  }

  /// Whether buffers of this driver can only lie in system memory, so that no import moves them.
  /// Rows for one importer alone don't count.
  package func systemOnly(_ exporter: DriverID, kernel: KernelVersion? = nil) -> Bool {
    let row = row(exporter: exporter, importer: DriverID(.other), kernel: kernel)
    return row?.neverMoves == true && row?.isRefusal == false
  }

  /// Whether no other device can import a buffer of this driver.
  package func refusesAll(_ exporter: DriverID, kernel: KernelVersion? = nil) -> Bool {
    row(exporter: exporter, importer: DriverID(.other), kernel: kernel)?.isRefusal ?? false
  }

  private static let systemMemory: [(String, String)] = [
    ("vgem", inTheGuest),
    ("vkms", inTheGuest),
    ("cirrus", inTheGuest),
    ("virtio_gpu", inTheGuest),
    ("udl", shmem), ("gud", shmem), ("simpledrm", shmem), ("panfrost", shmem),
    ("panthor", shmem), ("lima", shmem), ("v3d", shmem), ("asahi", shmem), ("etnaviv", shmem),
    ("msm", shmem), ("vc4", cma), ("imx-drm", cma), ("meson", cma), ("sun4i-drm", cma),
    ("apple-drm", cma), ("rockchip", cma), ("exynos", cma), ("mediatek", cma), ("omapdrm", cma),
    ("intel_vpu", "ivpu_bo_alloc: shmem"),
  ]
  private static let inTheGuest = "Tests/Guest/tests/test_pairs.py: nothing moved"
  private static let shmem = "drm_gem_map_attach pins pages of shmem"
  private static let cma = "drm_gem_map_attach pins memory of the DMA allocator"

  package static let builtIn: [PairRow] =
    [
      PairRow(
        "nvidia-drm", "others", attach: .nothing, map: .fails, use: .hangs,
        source: "NVIDIA/open-gpu-kernel-modules#1037"),
      PairRow(
        "i915", "others", attach: .moves, map: .nothing, use: .works,
        source: "i915_gem_dmabuf_attach migrates to SMEM and pins"),
      PairRow(
        "nouveau", "others", attach: .moves, map: .nothing, use: .works,
        source: "drm_gem_map_attach, nouveau_gem_prime_pin: to GART"),
      PairRow(
        "radeon", "others", attach: .moves, map: .nothing, use: .works,
        source: "drm_gem_map_attach, radeon_gem_prime_pin: to GTT"),
      PairRow(
        "amdgpu", "*", attach: .nothing, map: .moves, use: .works, since: KernelVersion(6, 10),
        source: "amdgpu_dma_buf_map: to GTT, unless peer-to-peer"),
      PairRow(
        "amdgpu", "*", attach: .wakes, map: .moves, use: .works,
        source: "amdgpu_dma_buf_attach wakes, until 030631e97b20"),
      PairRow(
        "xe", "*", attach: .wakes, map: .moves, use: .works,
        source: "xe_dma_buf_attach wakes, xe_dma_buf_map: to TT"),
    ]
    + systemMemory.map {
      PairRow($0.0, "*", attach: .pins, map: .nothing, use: .works, source: $0.1)
    }
    + ["qxl", "bochs-drm"].map {
      PairRow(
        $0, "others", attach: .fails, map: .nothing, use: .works,
        source: "drm_gem_map_attach: ENOSYS without get_sg_table")
    }
}
