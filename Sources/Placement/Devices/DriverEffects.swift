// What the pair table says of a machine's devices, as sets. Machines have few drivers, though many
// devices, so each pair of drivers is looked up once for each memory.

/// What importers do to one exporter's buffers.
package struct ImporterSets: Sendable {
  /// Importers on which use hangs. If the memory is unknown: hangs in one of the memories that the
  /// buffer may lie in.
  package var hanging = DeviceSet()
  /// Importers whose imports are known to fail. If the memory is unknown: in each memory; likewise
  /// for the sets below.
  package var failing = DeviceSet()
  /// Those of `failing` whose import is refused. With the others the import may succeed, but not
  /// the use.
  package var refused = DeviceSet()
  /// Importers that use it where it lies.
  package var inPlace = DeviceSet()
  /// Importers known to move it out of dedicated memory.
  package var moving = DeviceSet()

  fileprivate mutating func note(
    _ pair: DriverPair, in memory: Memory, _ importers: DeviceSet
  ) {
    if pair.isRefused(in: memory) { refused = refused.union(importers) }
    switch pair.effect(in: memory) {
    case .hangs: hanging = hanging.union(importers)
    case .fails: failing = failing.union(importers)
    case .inPlace: inPlace = inPlace.union(importers)
    case .moves: moving = moving.union(importers)
    case .unknown: break
    }
  }

  fileprivate init() {}

  /// For a buffer that lies in one of two memories.
  fileprivate init(_ a: Self, or b: Self) {
    hanging = a.hanging.union(b.hanging)
    failing = a.failing.intersection(b.failing)
    refused = a.refused.intersection(b.refused)
    inPlace = a.inPlace.intersection(b.inPlace)
  }

  fileprivate mutating func remove(_ exporter: DeviceSlot) {
    hanging.remove(exporter)
    failing.remove(exporter)
    refused.remove(exporter)
    inPlace.remove(exporter)
    moving.remove(exporter)
  }
}

struct DriverEffects: Sendable {
  /// By exporter's slot and memory.
  private var sets: [ImporterSets]
  private static let memories = 3
  /// By importer's slot: the exporters.
  private var unmoved: [DeviceSet]
  private var staying: [DeviceSet]
  /// By exporter's slot: the importers that don't move its buffers, as `unmoved`.
  private var unmoving: [DeviceSet]
  /// Exporters that an attachment by some importer wakes.
  private(set) var waking = DeviceSet()
  private(set) var hangingOnGone = DeviceSet()

  init(
    _ ids: [DriverID], _ present: DeviceSet, systemOnly: DeviceSet,
    _ rows: [DriverID: ExporterRows], gone: [ExporterRows]
  ) {
    var devices: [DriverID: DeviceSet] = [:]
    for slot in present { devices[ids[Int(slot.index)], default: DeviceSet()].insert(slot) }
    sets = Array(repeating: ImporterSets(), count: ids.count * Self.memories)
    unmoved = ids.map { _ in systemOnly }
    staying = unmoved
    unmoving = ids.indices.map {
      systemOnly.contains(DeviceSlot(UInt8($0))) ? present : DeviceSet()
    }
    for (exporter, exporters) in devices {
      for (importer, importers) in devices {
        let pair = DriverPair(rows[exporter]!, importer: importer)
        if pair.wakes { waking = waking.union(exporters) }
        for slot in exporters {
          sets[Self.place(slot, .dedicated)].note(
            pair, in: systemOnly.contains(slot) ? .system : .dedicated, importers)
          sets[Self.place(slot, .system)].note(pair, in: .system, importers)
          if pair.neverMoves {
            unmoving[Int(slot.index)] = unmoving[Int(slot.index)].union(importers)
          }
        }
        for slot in importers.map({ Int($0.index) }) {
          if pair.neverMoves { unmoved[slot] = unmoved[slot].union(exporters) }
          if pair.stays { staying[slot] = staying[slot].union(exporters) }
        }
      }
    }
    for slot in present {
      for memory in [Memory.dedicated, .system] { sets[Self.place(slot, memory)].remove(slot) }
      sets[Self.place(slot, .unknown)] = ImporterSets(
        sets[Self.place(slot, .dedicated)], or: sets[Self.place(slot, .system)])
    }
    for exporter in gone {
      for (importer, importers) in devices {
        let pair = DriverPair(exporter, importer: importer)
        if pair.effect(in: .dedicated) == .hangs || pair.effect(in: .system) == .hangs {
          hangingOnGone = hangingOnGone.union(importers)
        }
      }
    }
  }

  private static func place(_ slot: DeviceSlot, _ memory: Memory) -> Int {
    Int(slot.index) * memories + Int(memory.rawValue)
  }

  func importers(of exporter: DeviceSlot, in memory: Memory) -> ImporterSets {
    sets[Self.place(exporter, memory)]
  }
  func unmoved(by importer: DeviceSlot) -> DeviceSet { unmoved[Int(importer.index)] }
  func unmoving(of exporter: DeviceSlot) -> DeviceSet { unmoving[Int(exporter.index)] }
  func staying(in importer: DeviceSlot) -> DeviceSet { staying[Int(importer.index)] }
}

/// Two drivers, and what the table says of the second one's imports of the first one's buffers.
fileprivate struct DriverPair {
  enum Effect { case unknown, inPlace, moves, fails, hangs }
  private let exporter: ExporterRows
  private let importer: DriverID

  init(_ exporter: ExporterRows, importer: DriverID) {
    (self.exporter, self.importer) = (exporter, importer)
  }

  private func row(in memory: Memory) -> PairRow? { exporter.row(importer, in: memory) }

  var wakes: Bool { row(in: .dedicated)?.attach == .wakes || row(in: .system)?.attach == .wakes }
  var neverMoves: Bool { exporter.neverMoves(importer) }
  var stays: Bool { exporter.stays(importer) }

  func isRefused(in memory: Memory) -> Bool { exporter.refusesImport(importer, in: memory) }

  func effect(in memory: Memory) -> Effect {
    guard let row = row(in: memory) else { return .unknown }
    if row.use == .hangs { return .hangs }
    if row.neverWorks { return .fails }
    let canRead = memory == .dedicated || importer.driver.info.readsSystemMemory
    if row.use == .works && canRead && exporter.neverMoves(importer, in: memory) {
      return .inPlace
    }
    return memory == .dedicated && (row.attach == .moves || row.map == .moves) ? .moves : .unknown
  }
}
