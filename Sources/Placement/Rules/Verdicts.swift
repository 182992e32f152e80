// What every device could do with a buffer: the hint `verdicts`, as sets of devices.

package struct Verdicts: Sendable, Equatable {
  /// Devices by access, in the order of `Access.allCases`; together all devices that have a node.
  package var native = DeviceSet()
  package var inPlace = DeviceSet()
  package var unknown = DeviceSet()
  package var mayMove = DeviceSet()
  package var moves = DeviceSet()
  package var unreachable = DeviceSet()
  /// Those that are native or in-place and can sample, scan out, write.
  package var sampling = DeviceSet()
  package var scanningOut = DeviceSet()
  package var writing = DeviceSet()
  /// The exporter's number, if it is known and the same for all planes.
  package var home: DeviceNumber?
  package var homeMemory = Memory.unknown
  /// Maps the sets' slots to device numbers.
  package let devices: DeviceTable

  package init(among devices: DeviceTable) { self.devices = devices }

  package static func == (a: Self, b: Self) -> Bool {
    a.native == b.native && a.inPlace == b.inPlace && a.unknown == b.unknown
      && a.mayMove == b.mayMove && a.moves == b.moves && a.unreachable == b.unreachable
      && a.sampling == b.sampling && a.scanningOut == b.scanningOut && a.writing == b.writing
      && a.home == b.home && a.homeMemory == b.homeMemory
      && (a.devices === b.devices || a.numbers == b.numbers)
  }

  private var all: DeviceSet {
    native.union(inPlace).union(unknown).union(mayMove).union(moves).union(unreachable)
  }
  private var numbers: [DeviceNumber] { all.map { devices.number(of: $0) } }

  package func access(of slot: DeviceSlot) -> Access {
    if native.contains(slot) { return .native }
    if inPlace.contains(slot) { return .inPlace }
    if mayMove.contains(slot) { return .mayMove }
    if moves.contains(slot) { return .moves }
    if unreachable.contains(slot) { return .unreachable }
    return .unknown
  }

  package func abilities(of slot: DeviceSlot) -> Usage {
    var usage: Usage = []
    if sampling.contains(slot) { usage.insert(.sample) }
    if scanningOut.contains(slot) { usage.insert(.scanout) }
    if writing.contains(slot) { usage.insert(.capture) }
    return usage
  }

  /// Calls `body` once for each device, in no order, with its number, its access, and what it can
  /// do.
  package func forEach<E: Error>(
    _ body: (DeviceNumber, Access, Usage) throws(E) -> Void
  ) throws(E) {
    for slot in all { try body(devices.number(of: slot), access(of: slot), abilities(of: slot)) }
  }
}
