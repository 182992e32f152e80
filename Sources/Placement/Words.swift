// The contract's words for values: on D-Bus, in scenario files, on the command line.

extension Access {
  package var word: String {
    switch self {
    case .unknown: "unknown"
    case .native: "native"
    case .inPlace: "in-place"
    case .mayMove: "may-move"
    case .moves: "moves"
    case .unreachable: "unreachable"
    }
  }
}

// The cases are named by the contract's own words.
extension Confidence { package var word: String { "\(self)" } }
extension Memory { package var word: String { "\(self)" } }
extension Power { package var word: String { "\(self)" } }
extension NoMove { package var word: String { "\(self)" } }
extension Role { package var word: String { "\(self)" } }
extension DeviceState { package var word: String { "\(self)" } }
