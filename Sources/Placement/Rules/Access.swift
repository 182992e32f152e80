// What answers and questions are made of: an access, how sure it is, and a use.

package enum Access: UInt32, Sendable, CaseIterable {
  case unknown, native, inPlace, mayMove, moves, unreachable

  /// From 0, the strongest, to the weakest.
  package var weakness: Int {
    switch self {
    case .native: 0
    case .inPlace: 1
    case .unknown: 2
    case .mayMove: 3
    case .moves: 4
    case .unreachable: 5
    }
  }
}

package enum Confidence: UInt32, Sendable, CaseIterable, Comparable {
  case guess, state, stable, intent
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

package struct Usage: OptionSet, Hashable, Sendable {
  package var rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package static let sample = Usage(rawValue: 1)
  package static let scanout = Usage(rawValue: 2)
  package static let capture = Usage(rawValue: 4)
  package static let all: Usage = [.sample, .scanout, .capture]
}

extension Usage {
  /// The words of the hint `usage` and of scenarios.
  package static let words: KeyValuePairs<StaticString, Usage> = [
    "sample": .sample, "scanout": .scanout, "capture": .capture,
  ]
}
