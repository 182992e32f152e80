// The contract's words for values: on D-Bus, in scenario files, on the command line. Spelled out:
// "\(self)" would look a case's name up by reflection, which takes 250 KiB of memory.

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

extension Confidence {
  package var word: String {
    switch self {
    case .guess: "guess"
    case .state: "state"
    case .stable: "stable"
    case .intent: "intent"
    }
  }
}

extension Memory {
  package var word: String {
    switch self {
    case .unknown: "unknown"
    case .dedicated: "dedicated"
    case .system: "system"
    }
  }
}

extension Power {
  package var word: String {
    switch self {
    case .unknown: "unknown"
    case .active: "active"
    case .suspended: "suspended"
    }
  }
}

extension NoMove {
  package var word: String {
    switch self {
    case .unknown: "unknown"
    case .honoured: "honoured"
    case .ignored: "ignored"
    }
  }
}

extension Role {
  package var word: String {
    switch self {
    case .render: "render"
    case .display: "display"
    case .split: "split"
    case .sink: "sink"
    case .software: "software"
    }
  }
}

extension DeviceState {
  package var word: String {
    switch self {
    case .ready: "ready"
    case .released: "released"
    case .gone: "gone"
    case .unresponsive: "unresponsive"
    }
  }
}
