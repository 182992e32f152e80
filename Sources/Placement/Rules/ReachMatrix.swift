// Which device can use whose buffers, from which memory, without a move: the rules and tables
// applied to a buffer that each device would export. Pure.

package struct ReachMatrix: Sendable {
  package enum Outcome: Sendable, CaseIterable {
    /// The exporter itself.
    case own
    case inPlace, unknown, mayMove, moves, fails, hangs
  }
  package enum Origin: Sendable, Equatable {
    case itself
    case row(PairOrigin)
    /// An answer that was given says so.
    case seen
    case none
  }
  package struct Cell: Sendable, Equatable {
    package var outcome: Outcome
    /// What the importer can do with the buffer there.
    package var abilities: Usage
    package var origin: Origin
    package var why: String
  }
  /// One memory of one exporter, with a cell for each importer in the order of `devices`.
  package struct Row: Sendable, Equatable {
    package var exporter: DeviceSlot
    package var memory: Memory
    package var cells: [Cell]
  }

  package let table: DeviceTable
  /// The importers, in stable order until `order`.
  package private(set) var devices: [DeviceSlot]
  package private(set) var rows: [Row] = []

  package init(_ table: DeviceTable, _ pairs: PairTable, kernel: KernelVersion?) {
    self.table = table
    devices = table.stableOrder(table.named)
    for exporter in devices where table.exporting.contains(exporter) {
      let known = pairs.rows(of: DriverID(table[exporter]!.description), kernel: kernel)
      for memory in table.memories(of: exporter) {
        let export = Export(exporter, memory, known, table)
        rows.append(
          Row(exporter: exporter, memory: memory, cells: devices.map { export.cell(for: $0) }))
      }
    }
  }

  /// - Parameter slots: the same devices in another order.
  package mutating func order(by slots: [DeviceSlot]) {
    let columns = slots.compactMap { devices.firstIndex(of: $0) }
    precondition(columns.count == devices.count)
    for row in rows.indices { rows[row].cells = columns.map { rows[row].cells[$0] } }
    rows = slots.flatMap { slot in rows.filter { $0.exporter == slot } }
    devices = slots
  }

  /// An answer said this of a buffer in this memory of the exporter. It overrules what only a table
  /// says.
  package mutating func see(
    _ access: Access, by importer: DeviceSlot, of exporter: DeviceSlot, in memory: Memory
  ) {
    guard [.native, .inPlace, .moves].contains(access), importer != exporter,
      let row = rows.firstIndex(where: { $0.exporter == exporter && $0.memory == memory }),
      let column = devices.firstIndex(of: importer)
    else { return }
    rows[row].cells[column].outcome = access == .moves ? .moves : .inPlace
    rows[row].cells[column].origin = .seen
    rows[row].cells[column].why = "an answer about such a buffer said so"
  }

  /// Takes the scan-out bit from primed, which knows more of its devices than this table.
  package mutating func set(
    scanout: Bool, by importer: DeviceSlot, of exporter: DeviceSlot, in memory: Memory
  ) {
    guard let row = rows.firstIndex(where: { $0.exporter == exporter && $0.memory == memory }),
      let column = devices.firstIndex(of: importer)
    else { return }
    if scanout {
      rows[row].cells[column].abilities.insert(.scanout)
    } else {
      rows[row].cells[column].abilities.remove(.scanout)
    }
  }
}

/// A buffer that a device exported from one of its memories.
private struct Export {
  private let exporter: DeviceSlot
  private let memory: Memory
  private let known: ExporterRows
  private let table: DeviceTable
  private let verdicts: Verdicts

  init(_ exporter: DeviceSlot, _ memory: Memory, _ known: ExporterRows, _ table: DeviceTable) {
    (self.exporter, self.memory, self.known, self.table) = (exporter, memory, known, table)
    let facts = BufferFacts(exportedBy: exporter, in: memory, among: table)
    verdicts = PolicyInput(facts, QueryContext(Hints(), among: table), among: table)
      .verdicts(among: table)
  }

  func cell(for importer: DeviceSlot) -> ReachMatrix.Cell {
    let (origin, why) = reason(importer)
    return ReachMatrix.Cell(
      outcome: outcome(importer), abilities: verdicts.abilities(of: importer), origin: origin,
      why: why)
  }

  private func outcome(_ importer: DeviceSlot) -> ReachMatrix.Outcome {
    switch verdicts.access(of: importer) {
    case .native: .own
    case .inPlace: .inPlace
    case .unknown: .unknown
    case .mayMove: .mayMove
    case .moves: .moves
    case .unreachable:
      table.importers(of: exporter, in: memory).hanging.contains(importer) ? .hangs : .fails
    }
  }

  private func reason(_ importer: DeviceSlot) -> (ReachMatrix.Origin, String) {
    if importer == exporter { return (.itself, "exported it") }
    if let standing = table.standing(of: importer, asExporter: false) { return (.none, standing) }
    let driver = DriverID(table[importer]!.description)
    guard let (origin, row) = known.telling(driver, in: memory) else {
      return (.none, "no row of the pair table is about these two")
    }
    return (.row(origin), row.source)
  }
}
