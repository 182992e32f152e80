// All rows in force: a user's own, the built-in ones, and what was measured here.

package struct PairTable: Sendable {
  package let own: [PairRow]
  private let measured: [PairRow]

  /// `own`: rows of a user's file, which go before the built-in ones. `measured`: what imports were
  /// seen to do on this machine, by driver names.
  package init(own: [PairRow] = [], measured: [PairRow] = []) {
    self.own = own
    self.measured = measured
  }

  /// The same table with other rows of the user's.
  package func with(own: [PairRow]) -> PairTable { PairTable(own: own, measured: measured) }
  /// The same table with other measured rows.
  package func with(measured: [PairRow]) -> PairTable { PairTable(own: own, measured: measured) }

  /// The rows that are searched in order. Measured rows are not: they only forbid.
  package var rows: [PairRow] { own + PairTable.builtIn }

  /// All rows, in the order in which they overrule each other.
  package var all: [(origin: PairOrigin, row: PairRow)] {
    own.map { (.own, $0) } + measured.map { (.measured, $0) }
      + PairTable.builtIn.map { (.table, $0) }
  }

  /// The rows of one exporter, for questions about several importers.
  package func rows(of exporter: DriverID, kernel: KernelVersion?) -> ExporterRows {
    ExporterRows(
      exporter, own: own.filter { $0.exporter == exporter },
      measured: measured.filter { $0.exporter == exporter }, kernel: kernel)
  }

  /// The measured rows that overrule another row.
  package func forbidden(kernel: KernelVersion? = nil) -> [PairRow] {
    measured.filter {
      guard case .driver(let importer) = $0.importer else { return false }
      return rows(of: $0.exporter, kernel: kernel).isOverruled(importer)
    }
  }
}

/// What is known of imports of one driver's buffers, on one kernel. A question that names no memory
/// is about both.
package struct ExporterRows {
  private let own: [PairRow]
  private let measured: [PairRow]
  private let builtIn: [PairRow]
  private let driver: Driver
  /// By the driver's row.
  private let hasSystemMemoryOnly: Bool
  /// By a user's row for all importers.
  private let ownSystemOnly: Bool?
  private let kernel: KernelVersion?

  fileprivate init(
    _ exporter: DriverID, own: [PairRow], measured: [PairRow], kernel: KernelVersion?
  ) {
    driver = exporter.driver
    self.own = own.filter { $0.kernels.contains(kernel) }
    self.measured = measured.filter { $0.kernels.contains(kernel) }
    self.kernel = kernel
    let info = driver.info
    let known = PairTable.pairs.filter { $0.exporter == exporter } + info.pairRows
    builtIn = known.filter { $0.kernels.contains(kernel) }
    hasSystemMemoryOnly = info.exportsSystemMemoryOnly(on: kernel)
    let dedicated = self.own.first { $0.concerns(DriverID(.other), in: .dedicated) }
    let system = self.own.first { $0.concerns(DriverID(.other), in: .system) }
    // A row that says that system memory moves does not imply that the buffers lie there.
    ownSystemOnly =
      dedicated.map { $0.neverMoves && !$0.isRefusal }
      ?? (system?.neverMoves == false ? false : nil)
  }

  /// The row of an import of a buffer in this memory; nil: nothing is known. If no memory is named
  /// and the rows differ, the row of dedicated memory, where more can go wrong.
  package func row(_ importer: DriverID, in memory: Memory = .unknown) -> PairRow? {
    if memory == .system || memory == .unknown && hasSystemMemoryOnly {
      return find(importer, in: .system)
    }
    return find(importer, in: .dedicated)
  }

  /// The first row about this memory in the order of `PairTable.all`, and its origin. A measured
  /// row that is returned need not be the one that decides.
  package func telling(
    _ importer: DriverID, in memory: Memory
  ) -> (origin: PairOrigin, row: PairRow)? {
    for (origin, rows) in [(PairOrigin.own, own), (.measured, measured), (.table, builtIn)] {
      if let row = rows.first(where: { $0.concerns(importer, in: memory) }) { return (origin, row) }
    }
    return nil
  }

  private func find(_ importer: DriverID, in memory: Memory) -> PairRow? {
    own.first { $0.concerns(importer, in: memory) }
      ?? builtIn.first { $0.concerns(importer, in: memory) }
  }

  private func holds(
    _ importer: DriverID, in memory: Memory, _ holds: (PairRow) -> Bool
  ) -> Bool {
    func check(_ memory: Memory) -> Bool { find(importer, in: memory).map(holds) ?? false }
    if memory != .unknown { return check(memory) }
    return check(.system) && (hasSystemMemoryOnly || check(.dedicated))
  }

  /// An import was seen to move a buffer out of dedicated memory on this machine, and no row of the
  /// user's file is about this pair.
  private func isSeenToMove(_ importer: DriverID, in memory: Memory = .dedicated) -> Bool {
    memory != .system
      && !own.contains { $0.concerns(importer, in: .dedicated) }
      && measured.contains { $0.attach == .moves && $0.concerns(importer, in: .dedicated) }
  }

  fileprivate func isOverruled(_ importer: DriverID) -> Bool {
    isSeenToMove(importer) && row(importer, in: .dedicated)?.attach.stays == true
  }

  /// Whether neither an import nor the use after it moves a buffer that lies in `memory`.
  package func neverMoves(_ importer: DriverID, in memory: Memory = .unknown) -> Bool {
    holds(importer, in: memory) { $0.neverMoves } && !isSeenToMove(importer, in: memory)
  }

  /// Whether an import leaves the buffer where it is: nothing of this pair moves it, or mapping it
  /// fails, or it is mapped at the first use only, and primed never uses a buffer.
  package func stays(_ importer: DriverID, in memory: Memory = .unknown) -> Bool {
    let mapsLater =
      importer.driver.info.mapsAtUse
      && (driver.info.mapsAtUse || KernelRange.attachMapsNothing.contains(kernel))
    return holds(importer, in: memory) {
      $0.neverMoves || $0.attach.stays && (mapsLater || $0.map == .fails)
    }
      && !isSeenToMove(importer, in: memory)
  }

  /// Whether the import itself is refused, and not only the use after it.
  func refusesImport(_ importer: DriverID, in memory: Memory) -> Bool {
    holds(importer, in: memory) {
      $0.attach == .fails
        || $0.map == .fails && importer.driver.info.mapsInImport(on: kernel)
    }
  }

  /// Whether its buffers can lie in system memory only, by the driver's row or by a user's row for
  /// all importers: no import moves them then.
  package func systemOnly(isIntegrated: Bool = false) -> Bool {
    let byNature =
      hasSystemMemoryOnly || isIntegrated && driver.info.memory == .dedicatedUnlessIntegrated
    return ownSystemOnly ?? byNature
  }

  /// Whether no other device can import a buffer of this driver.
  package var refusesAll: Bool { holds(DriverID(.other), in: .unknown) { $0.isRefusal } }
}

/// Where a row comes from.
package enum PairOrigin: String, Sendable {
  /// A user's file.
  case own
  /// The import of a scratch buffer on this machine.
  case measured
  case table
}

extension PairTable {
  /// The rows of particular pairs, and those that follow from a driver's row.
  package static var builtIn: [PairRow] { pairs + Driver.table.flatMap(\.pairRows) }

  static let pairs = known + qxl()

  private static let known: [PairRow] = [
    PairRow(
      "nvidia-drm", of: .dedicated, "others", attach: .nothing, map: .fails, use: .hangs,
      source: "NVIDIA/open-gpu-kernel-modules#1037"),
    PairRow(
      "nvidia-drm", of: .system, "*", attach: .nothing, map: .nothing, use: .works,
      source: "nv_drm_gem_prime_get_sg_table: PRIME render offload's copies [told]"),
    PairRow(
      "i915", of: .dedicated, "*", attach: .moves, map: .nothing, use: .works,
      source: "i915_gem_dmabuf_attach migrates to SMEM and pins [6.1, 6.12, 7.3]"),
    PairRow(
      "nouveau", of: .dedicated, "*", attach: .moves, map: .nothing, use: .works,
      source: "drm_gem_map_attach, nouveau_gem_prime_pin: to GART [6.1, 6.12, 7.3]"),
    PairRow(
      "radeon", of: .dedicated, "*", attach: .moves, map: .nothing, use: .works,
      source: "drm_gem_map_attach, radeon_gem_prime_pin: to GTT [6.1, 6.12, 7.3]"),
    PairRow(
      "loongson", of: .dedicated, "*", attach: .moves, map: .nothing, use: .works,
      source: "drm_gem_map_attach, lsdc_gem_prime_pin: to GTT [6.12, 7.3]"),
    PairRow(
      "amdgpu", of: .dedicated, "*", attach: .nothing, map: .moves, use: .works, on: .since(6, 10),
      source: "amdgpu_dma_buf_map: to GTT, unless peer-to-peer [6.12, 7.3]"),
    PairRow(
      "amdgpu", of: .dedicated, "*", attach: .wakes, map: .moves, use: .works,
      source: "amdgpu_dma_buf_attach wakes, until 030631e97b20 [6.1]"),
    PairRow(
      "amdgpu", of: .system, "*", attach: .nothing, map: .nothing, use: .works, on: .since(6, 10),
      source: "amdgpu_dma_buf_map: in GTT already [6.12, 7.3]"),
    PairRow(
      "amdgpu", of: .system, "*", attach: .wakes, map: .nothing, use: .works,
      source: "amdgpu_dma_buf_attach wakes, until 030631e97b20 [6.1]"),
    PairRow(
      "xe", of: .dedicated, "*", attach: .wakes, map: .moves, use: .works,
      source: "xe_dma_buf_attach wakes, xe_dma_buf_map: to TT, unless peer-to-peer [6.12, 7.3]"),
    PairRow(
      "xe", of: .system, "*", attach: .wakes, map: .nothing, use: .works,
      source: "xe_dma_buf_attach wakes; xe_dma_buf_map: in TT already [6.12, 7.3]"),
    PairRow(
      // Many importers map inside the ioctl, so nothing here permits an import. The attach function
      // of surfaces refuses all (vmw_prime_map_attach), and buffers in system memory can't be told
      // from them.
      "vmwgfx", "others", attach: .unknown, map: .fails, use: .hangs,
      source: "vmw_gem_object_get_sg_table oopses without pages [6.12, 7.3]"),
    PairRow(
      "habanalabs", of: .dedicated, "others", attach: .nothing, map: .fails, use: .unknown,
      source: "hl_map_dmabuf: EPERM without peer-to-peer [6.12, 7.3]"),
  ]

  /// From 7.2 on qxl's buffers can be attached to, and an importer that maps nothing reads them by
  /// the CPU.
  private static func qxl() -> [PairRow] {
    let takers = Driver.table.filter {
      $0.importFunction(on: KernelVersion(7, 2)) == ImportFunction.shmem
    }
    var rows = takers.map {
      PairRow(
        "qxl", $0.names[0], attach: .unknown, map: .nothing, use: .works, on: .since(7, 2),
        source: """
          drm_gem_shmem_prime_import_no_map; qxl_gem_prime_pin validates, which brings an evicted \
          buffer home [7.2, 7.3]
          """)
    }
    rows.append(
      PairRow(
        "qxl", "others", attach: .unknown, map: .fails, use: .unknown, on: .since(7, 2),
        source: "qxl_gem_prime_pin as above; qxl_gem_prime_get_sg_table: ENOSYS [7.2, 7.3]"))
    return rows
  }
}

extension DriverInfo {
  /// The rows that follow from this driver's row for any importer.
  var pairRows: [PairRow] {
    guard let name = names.first else { return [] }
    var rows: [PairRow] = []
    if let refusesAttachments {
      rows.append(
        PairRow(
          name, "others", attach: .fails, map: .nothing, use: .works, on: refusesAttachments,
          source: "drm_gem_map_attach: ENOSYS without get_sg_table; \(source)"))
    }
    switch memory {
    case .system(let kernels):
      rows.append(
        PairRow(
          name, "*", attach: .pins, map: .nothing, use: .works, on: kernels,
          source: "only pages of system memory; \(source)"))
    case .dedicatedUnlessIntegrated, .dedicated:
      rows.append(
        PairRow(
          name, of: .system, "*", attach: .pins, map: .nothing, use: .works,
          source: "an import only pins pages of system memory; \(source)"))
    case .unknown: break
    }
    return rows
  }
}
