// The reasons of an answer as text. Not computed for plain answers.

extension Rule {
  /// One sentence; `device` is how the chosen one is called.
  func sentence(_ device: String, _ access: Access) -> String {
    switch self {
    case .declared:
      return "The client says that it will be sampled on \(device)."
    case .scanoutTarget:
      return "\(device) drives the output and can scan the buffer out as it lies."
    case .homeDedicated where access == .native:
      return "The buffer belongs in the dedicated memory of \(device), which exported it."
    case .homeDedicated:
      return "The buffer belongs in dedicated memory that \(device) reaches without moving it."
    case .homeSystem:
      return "The buffer belongs in system memory, and \(device) uses it there as it lies."
    case .homeUnknown where access == .native:
      return "\(device) exported the buffer; where it belongs is not known."
    case .homeUnknown where access == .mayMove:
      return "\(device) most likely exported the buffer, but nothing proves it."
    case .homeUnknown:
      return "\(device) reaches the buffer without moving it; where it belongs is not known."
    case .fallback where access == .moves:
      return "Nothing fit reaches the buffer without moving it; \(device) would move it."
    case .fallback:
      return "It can't be known without moving the buffer; \(device) is the default."
    case .noCandidate where access == .unreachable:
      return "None of the candidates can use the buffer."
    case .noCandidate:
      return "None of the candidates is known to be fit to use the buffer."
    case .lastResort:
      return "No device is fit to use the buffer; \(device) is named for want of another."
    case .noDevice:
      return "There is no DRM device."
    }
  }
}

package enum Explainer {
  /// Explains what `Policy.decide` answers for these planes.
  package static func explain(
    _ planes: [BufferFacts], _ hints: Hints, among devices: DeviceTable
  ) -> Explanation {
    guard let first = planes.first else { return Explanation() }
    let asker = QueryContext(hints, among: devices)
    var input = PolicyInput(first, asker, among: devices)
    for plane in planes.dropFirst() { input.add(plane, among: devices) }
    let decision = Policy.decide(input, among: devices)

    var text = Explanation()
    text.node = decision.device.flatMap { devices[$0]?.description.node?.path } ?? ""
    text.home = input.exporter.map { devices.number(of: $0) }.flatMap { $0 == .none ? nil : $0 }
    text.homeMemory = input.homeMemory
    let alike = planes.allSatisfy { $0.residency == first.residency }
    text.residency = alike ? first.residency : .unknown
    text.attachments = first.attached.map { UInt32($0) }
    text.rule = "\(decision.rule.name)"
    text.reason = decision.rule.sentence(
      decision.device.map { devices.title(of: $0) } ?? "", decision.access)
    for (i, plane) in planes.enumerated() {
      text.evidence += evidence(plane, plane: i, of: planes.count, devices)
    }
    text.evidence += unknownHints(hints, devices) + droppedDeclaration(input, devices)
    text.evidence += modifierEvidence(hints, devices)
    let reached = planes.dropFirst().reduce(first.reachedAlways) {
      $0.intersection($1.reachedAlways)
    }
    text.reached = reached.map { devices.number(of: $0) }
    text.refused = planes.reduce(DeviceSet()) { $0.union($1.refused) }
      .map { devices.number(of: $0) }
    text.devices = lines(input, planes, asker, devices)
    return text
  }

  private static func evidence(
    _ facts: BufferFacts, plane: Int, of count: Int, _ devices: DeviceTable
  ) -> [String] {
    var lines: [String] = []
    let exporters = facts.exporters
    if exporters.source > .none {
      let set = words(exporters.candidates, devices)
      lines.append("exporter, by \(exporters.source.words): \(set)")
    }
    if exporters.contradicted { lines.append("exporter: sources contradict each other") }
    if facts.seeded { lines.append("taught by another buffer of the same swapchain") }
    func list(_ what: String, _ set: DeviceSet) {
      if !set.isEmpty { lines.append("\(what): \(devices.titles(of: set))") }
    }
    list("reached at every look", facts.reachedAlways)
    list("would have moved it", facts.refused)
    list("can't use it", facts.failing)
    list("in system memory if its own, by its record", facts.recordedSystem(among: devices))
    if facts.home != .unknown { lines.append("belongs in \(facts.home) memory") }
    if facts.residency != .unknown {
      let peer = facts.hasPeer ? ", used there by an importer, peer to peer" : ""
      lines.append("lay in \(facts.residency) memory when last seen\(peer)")
    }
    return count == 1 ? lines : lines.map { "plane \(plane): \($0)" }
  }

  private static func words(_ set: ExporterSet, _ devices: DeviceTable) -> String {
    var words = devices.stableOrder(set.devices).map { devices.title(of: $0) }
    if set.beyond.contains(.noDevice) { words.append("no device") }
    if set.beyond.contains(.gone) { words.append("a device that is gone") }
    if set.isInUnknownMemory { words.append("an exporter that nothing is known of") }
    return words.joined(separator: " or ")
  }

  private static func unknownHints(_ hints: Hints, _ devices: DeviceTable) -> [String] {
    var lines: [String] = []
    hints.forEachUnknown(among: devices) { hint, number in
      lines.append("\(hint) \(number.major):\(number.minor) names no known device: ignored")
    }
    return lines
  }

  private static func droppedDeclaration(
    _ input: PolicyInput, _ devices: DeviceTable
  ) -> [String] {
    guard let declared = input.context.declared, !input.declaredIsUsable else { return [] }
    return [
      "sampling-device names \(devices.title(of: declared)), which can't be chosen: as if undeclared"
    ]
  }

  private static func modifierEvidence(_ hints: Hints, _ devices: DeviceTable) -> [String] {
    guard let modifier = hints.modifier, let tiling = devices.devices(tilingWith: modifier) else {
      return []
    }
    return ["modifier of the hardware of \(devices.titles(of: tiling))"]
  }

  private static func lines(
    _ input: PolicyInput, _ planes: [BufferFacts], _ asker: QueryContext, _ devices: DeviceTable
  ) -> [Explanation.Line] {
    devices.stableOrder(devices.present).filter { devices.number(of: $0) != .none }.map { slot in
      let asked = planes.allSatisfy { $0.asked.contains(slot) }
      var access = input.access(of: slot)
      if access == .mayMove && !asked { access = .unknown }
      return Explanation.Line(
        device: devices.number(of: slot), access: access,
        why: devices.standing(of: slot, asExporter: access == .native)
          ?? (access == .unreachable && input.hanging.contains(slot)
            ? Explanation.Line.wouldHang : nil)
          ?? access.words
          ?? (input.hanging.contains(slot)
            ? Explanation.Line.mayHang : whyNotAsked(slot, planes, asker, devices)))
    }
  }

  /// Why this device was not asked.
  private static func whyNotAsked(
    _ slot: DeviceSlot, _ planes: [BufferFacts], _ asker: QueryContext, _ devices: DeviceTable
  ) -> String {
    let scope = ProbeScope(asker, among: devices)
    if !scope.wakeable.union(devices.awake).contains(slot) { return "not asked: it sleeps" }
    if devices.unopenable.contains(slot) { return "not asked: its node can't be opened" }
    if !scope.permitted(devices).contains(slot) { return "not asked: it has no render node" }
    let exporters = planes.map { devices.exporters(forImportsBy: $0.exporters) }
    if exporters.contains(where: { devices.mayNotAttach($0, scope) }) {
      return "not asked: that would wake the exporter"
    }
    return "not asked: that could have moved it"
  }
}

extension DeviceTable {
  package func stableOrder(_ set: DeviceSet) -> [DeviceSlot] {
    set.sorted { rank(of: $0) < rank(of: $1) }
  }

  package func title(of slot: DeviceSlot) -> String {
    guard let description = self[slot]?.description else { return "a device" }
    let node = description.node?.path ?? description.sysfsPath
    return description.driver.isEmpty ? node : "\(description.driver) (\(node))"
  }

  func titles(of set: DeviceSet) -> String {
    stableOrder(set).map { title(of: $0) }.joined(separator: ", ")
  }

  /// Why only the last rule may choose this device; nil: any rule may.
  func standing(of slot: DeviceSlot, asExporter: Bool) -> String? {
    guard let entry = self[slot] else { return "gone" }
    switch entry.state {
    case .released: return "released"
    case .gone: return "gone"
    case .unresponsive: return "its driver does not answer"
    case .ready: break
    }
    if entry.description.ignored { return Explanation.Line.ignored }
    if entry.description.node == nil { return "has no node" }
    if entry.importsOwnOnly && !asExporter { return "imports its own buffers only" }
    if !entry.imports && !entry.importsOwnOnly { return "can't import" }
    if entry.description.role == .software { return "software only" }
    return nil
  }
}

extension ExporterSource {
  fileprivate var words: String {
    switch self {
    case .none: "nothing"
    case .siblings: "a sibling buffer"
    case .name: "its name in fdinfo"
    case .refusals: "who would move it"
    case .introspection: "kernel introspection"
    case .record: "its driver's record"
    }
  }
}

extension Access {
  /// nil: it was not asked.
  fileprivate var words: String? {
    switch self {
    case .unknown: nil
    case .native: "exported it"
    case .inPlace: "uses it where it lies"
    case .mayMove: "an import could move it"
    case .moves: "an import would move it"
    case .unreachable: "can't use it"
    }
  }
}
