// What an import does to a buffer, by pair of drivers and by the exporter's memory that the buffer
// lies in: data, each row with its source. On kernels without NO_MOVE only this table permits an
// import. Rows are tried in order, a user's rows before the built-in ones; the first that matches
// holds. If none matches, nothing is known. Rows that were measured on this machine permit nothing:
// they only forbid what built-in rows permit.

/// What the exporter does to its buffer when an importer attaches or maps.
package enum ImportEffect: String, Sendable {
  case nothing
  /// Moves nothing, but wakes the exporter and keeps it awake until detach.
  case wakes
  /// Pins pages of system memory where they are.
  case pins
  case moves
  case fails
  case unknown
}

extension ImportEffect {
  var stays: Bool { self == .nothing || self == .wakes || self == .pins }
}

/// What use by the importer comes to after an import succeeded.
package enum ImportUse: String, Sendable { case works, hangs, unknown }

package struct PairRow: Sendable, Equatable {
  package enum Importer: Sendable, Equatable {
    case any
    /// Any driver but the exporter's.
    case others
    case driver(DriverID)
  }
  package var exporter: DriverID
  /// The exporter's memory that the row is about; `unknown`: both.
  package var memory: Memory
  package var importer: Importer
  package var attach: ImportEffect
  package var map: ImportEffect
  package var use: ImportUse
  package var kernels: KernelRange
  package var source: String
  /// Names as they were written.
  package let exporterName: String
  package let importerName: String

  /// `importer`: a driver's name, `*` for any, or `others`.
  package init(
    _ exporter: String, of memory: Memory = .unknown, _ importer: String, attach: ImportEffect,
    map: ImportEffect, use: ImportUse, on kernels: KernelRange = .all, source: String
  ) {
    self.memory = memory
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
    self.kernels = kernels
    self.source = source
  }

  package var neverMoves: Bool { (attach.stays || attach == .fails) && map.stays }
  /// No other device may attach to its buffers, so an import does nothing to them.
  var isRefusal: Bool { attach == .fails && map.stays }
  /// An import is refused, or use hangs.
  package var neverWorks: Bool { attach == .fails || map == .fails || use == .hangs }

  /// - Precondition: `memory` is dedicated or system.
  func concerns(_ importer: DriverID, in memory: Memory) -> Bool {
    guard self.memory == .unknown || self.memory == memory else { return false }
    return switch self.importer {
    case .any: true
    case .others: importer != exporter
    case .driver(let driver): importer == driver
    }
  }
}
