// Where to allocate a buffer that several devices will use: the method Advise. Pure.

/// A device that will use the buffer.
package struct AdviceUser: Sendable, Equatable {
  /// Its render or card node number.
  package var device: DeviceNumber
  /// What it does with the buffer; empty: it must only reach it.
  package var usage: Usage
  /// The largest number of users in one question.
  package static let limit = 8
  package init(_ device: DeviceNumber, _ usage: Usage) {
    self.device = device
    self.usage = usage
  }
}

package struct Advice: Sendable, Equatable {
  package struct Place: Sendable, Equatable {
    /// Where to allocate.
    package var device: DeviceNumber
    package var memory: Memory
    /// Each user's access, in the order of the users.
    package var accesses: [Access]
    package init(_ device: DeviceNumber, _ memory: Memory, _ accesses: [Access]) {
      self.device = device
      self.memory = memory
      self.accesses = accesses
    }
  }
  /// Best first; empty: no place suits all users, so the buffer must be copied.
  package var places: [Place] = []
  package var generation: UInt64 = 0
  /// With the hint `explain`: why each place that is left out does not suit.
  package var evidence: [String] = []
  package init() {}
}

package enum Advisor {
  /// Applies the rules to a buffer that each device could allocate in each of its memories.
  /// - Precondition: each user is a device of the table.
  package static func advise(
    _ users: [AdviceUser], _ hints: Hints, among devices: DeviceTable
  ) -> Advice {
    let asker = QueryContext(hints, among: devices)
    var advice = Advice()
    var found: [(place: Advice.Place, slot: DeviceSlot)] = []
    for slot in devices.stableOrder(devices.allocating(for: asker)) {
      for memory in devices.memories(of: slot) {
        let trial = Trial(slot, memory, hints, devices)
        if let flaw = trial.flaw(for: users) {
          if hints.explain { advice.evidence.append(flaw) }
        } else {
          found.append((trial.place(for: users), slot))
        }
      }
    }
    found.sort { isBetter($0, $1, devices) }
    advice.places = found.map(\.place)
    return advice
  }

  private static func isBetter(
    _ a: (place: Advice.Place, slot: DeviceSlot), _ b: (place: Advice.Place, slot: DeviceSlot),
    _ devices: DeviceTable
  ) -> Bool {
    let (mine, theirs) = (merits(a.place, a.slot, devices), merits(b.place, b.slot, devices))
    return mine.lexicographicallyPrecedes(theirs)
  }

  /// Lower is better; each number outweighs those after it.
  private static func merits(
    _ place: Advice.Place, _ slot: DeviceSlot, _ devices: DeviceTable
  ) -> [Int] {
    let weaknesses = place.accesses.map(\.weakness)
    return [weaknesses.max() ?? 0] + weaknesses
      + [
        place.memory == .dedicated ? 0 : 1, devices.awake.contains(slot) ? 0 : 1,
        Int(devices.rank(of: slot)),
      ]
  }
}

/// A buffer that the device would allocate in this memory and that stays there: what each user
/// could do with it.
private struct Trial {
  private let slot: DeviceSlot
  private let memory: Memory
  private let modifier: UInt64?
  private let devices: DeviceTable
  private let verdicts: Verdicts

  init(_ slot: DeviceSlot, _ memory: Memory, _ hints: Hints, _ devices: DeviceTable) {
    (self.slot, self.memory, self.devices) = (slot, memory, devices)
    modifier = hints.modifier
    // Candidates limit which device may be named, not what the users can do.
    var asked = Hints()
    asked.format = hints.format
    asked.modifier = hints.modifier
    let facts = BufferFacts(exportedBy: slot, in: memory, among: devices)
    let input = PolicyInput(facts, QueryContext(asked, among: devices), among: devices)
    verdicts = input.verdicts(among: devices)
  }

  func place(for users: [AdviceUser]) -> Advice.Place {
    Advice.Place(devices.number(of: slot), memory, users.map { verdicts.access(of: user($0)) })
  }

  private func user(_ user: AdviceUser) -> DeviceSlot { devices.slot(of: user.device)! }

  /// Why this place does not suit the users; nil: it does.
  func flaw(for users: [AdviceUser]) -> String? {
    let place = "\(devices.title(of: slot)), \(memory.word) memory"
    if let modifier, devices.blind(to: modifier).contains(slot) {
      return "\(place): it does not have this layout"
    }
    for user in users {
      if let flaw = flaw(for: user) {
        return "\(place): \(devices.title(of: self.user(user))) \(flaw)"
      }
    }
    return nil
  }

  private func flaw(for user: AdviceUser) -> String? {
    let slot = self.user(user)
    let missing = user.usage.intersection(.all).subtracting(verdicts.abilities(of: slot))
    switch verdicts.access(of: slot) {
    case .unreachable:
      return devices.importers(of: self.slot, in: memory).hanging.contains(slot)
        ? "would hang on it" : "can't use it"
    case .moves: return "would move it"
    case .mayMove: return "could move it"
    case .unknown: return missing.isEmpty ? nil : "is not known to reach it"
    case .native, .inPlace: break
    }
    if missing.contains(.sample) { return "can't sample it" }
    if missing.contains(.scanout) { return "is not known to scan it out" }
    return missing.contains(.capture) ? "can't write it" : nil
  }
}

extension DeviceTable {
  /// Devices on which a buffer may be allocated.
  fileprivate func allocating(for asker: QueryContext) -> DeviceSet {
    let set = ready.intersection(exporting)
    guard let candidates = asker.candidates else { return set.subtracting(software) }
    return set.intersection(candidates)
  }

  /// The memories that its buffers may lie in, dedicated memory first.
  package func memories(of slot: DeviceSlot) -> [Memory] {
    let isIntegrated = self[slot]?.description.isIntegrated != false
    let hasItsOwn =
      dedicated.contains(slot)
      || driver(of: slot).info.hasVideoMemoryBAR(isIntegrated: isIntegrated)
    return hasItsOwn && !systemOnly.contains(slot) ? [.dedicated, .system] : [.system]
  }
}
