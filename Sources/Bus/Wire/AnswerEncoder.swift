// Writes an answer into the reply of a call. Without the hint `explain` nothing here allocates.

internal import Linux
internal import Placement

extension Message {
  /// The result of a Place, or of an item of PlaceMany.
  func append(_ answer: Answer, _ explanation: Explanation?) throws(Errno) {
    try append(answer.device)
    try append(answer.access.rawValue)
    try append(answer.confidence.rawValue)
    try append(answer.buffer.inode)
    try append(answer.generation)
    try open("a", "{sv}")
    if answer.recheck != 0 {
      try entry(Names.Detail.recheck, "u") { () throws(Errno) in try append(answer.recheck) }
    }
    // They are there with `verdicts`, and with `explain`, which implies it.
    if let verdicts = answer.verdicts {
      try append(verdicts)
      try append(home: verdicts.home, verdicts.homeMemory)
    }
    if let explanation { try append(explanation) }
    try close()
  }

  /// An item of PlaceMany that failed alone.
  func appendFailed(_ error: BusError) throws(Errno) {
    try append(DeviceNumber.none)
    try append(Access.unknown.rawValue)
    try append(Confidence.guess.rawValue)
    try append(UInt64(0))
    try append(UInt64(0))
    try open("a", "{sv}")
    try entry(Names.Detail.error, "s") { () throws(Errno) in
      try append("\(error.name): \(error.message)")
    }
    try close()
  }

  private func append(_ verdicts: Verdicts) throws(Errno) {
    try entry(Names.Detail.verdicts, "a(tuu)") { () throws(Errno) in
      try open("a", "(tuu)")
      try verdicts.forEach { device, access, abilities throws(Errno) in
        try open("r", "tuu")
        try append(device)
        try append(access.rawValue)
        try append(UInt32(abilities.rawValue))
        try close()
      }
      try close()
    }
  }

  private func append(home: DeviceNumber?, _ memory: Memory) throws(Errno) {
    if let home { try entry(Names.Detail.home, "t") { () throws(Errno) in try append(home) } }
    try entry(Names.Detail.homeMemory, "s") { () throws(Errno) in try append(memory.word) }
  }

  private func append(_ e: Explanation) throws(Errno) {
    try entry(Names.Detail.node, "s") { () throws(Errno) in try append(e.node) }
    try entry(Names.Detail.residency, "s") { () throws(Errno) in try append(e.residency.word) }
    if let count = e.attachments {
      try entry(Names.Detail.attachments, "u") { () throws(Errno) in try append(count) }
    }
    try entry(Names.Detail.reason, "s") { () throws(Errno) in try append(e.reason) }
    try entry(Names.Detail.rule, "s") { () throws(Errno) in try append(e.rule) }
    try entry(Names.Detail.evidence, "as") { () throws(Errno) in try append(e.evidence) }
    try entry(Names.Detail.devices, "a(tus)") { () throws(Errno) in
      try open("a", "(tus)")
      for line in e.devices {
        try open("r", "tus")
        try append(line.device)
        try append(line.access.rawValue)
        try append(line.why)
        try close()
      }
      try close()
    }
    try entry(Names.Detail.cached, "b") { () throws(Errno) in try append(e.cached) }
  }

  /// The result of an Advise.
  func append(_ advice: Advice, explain: Bool) throws(Errno) {
    try open("a", "(tsau)")
    for place in advice.places {
      try open("r", "tsau")
      try append(place.device)
      try append(place.memory.word)
      try open("a", "u")
      for access in place.accesses { try append(access.rawValue) }
      try close()
      try close()
    }
    try close()
    try append(advice.generation)
    try open("a", "{sv}")
    if explain {
      try entry(Names.Detail.evidence, "as") { () throws(Errno) in try append(advice.evidence) }
    }
    try close()
  }
}
