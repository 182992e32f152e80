// All that the rules look at: what is known of a buffer's planes together, and the asker's context.
// Rule 1, which devices may be chosen at all, is applied here.

package struct PolicyInput: Sendable {
  /// The devices that rule 1 leaves.
  package private(set) var usable: DeviceSet
  /// Those of `usable` that reach every plane at its home without a move.
  package private(set) var home: DeviceSet
  /// Whether rule 1 leaves the declared device, where a possible hang does not exclude it.
  package private(set) var declaredIsUsable: Bool
  /// The exporter, if it is certain and the same for every plane.
  package private(set) var exporter: DeviceSlot?
  /// The exporter by weaker evidence, if it is the same for every plane.
  package private(set) var likelyExporter: DeviceSlot?
  /// As PlaneReach's, for every plane.
  package private(set) var owners: DeviceSet
  package private(set) var homeMemory: Memory
  package private(set) var confidence: Confidence
  /// Devices that reach every plane, some planes only by what the table says.
  package private(set) var byRow: DeviceSet
  package let context: QueryContext
  /// The compositor's primary device, else the one that primed chose.
  package let primary: DeviceSlot?

  /// Cumulative from the strongest access on: devices that have at least this access for every
  /// plane.
  private var native: DeviceSet
  private var reaching: DeviceSet
  private var stayingPut: DeviceSet
  private var notMoving: DeviceSet
  private var importable: DeviceSet
  /// Devices whose drivers can scan out every plane.
  private var scannable: DeviceSet

  private var unfit: DeviceSet
  private var certainlyUnfit: DeviceSet
  /// Devices on which use of some plane hangs or may hang.
  package private(set) var hanging: DeviceSet

  package init(
    _ first: BufferFacts, _ context: QueryContext, among devices: borrowing DeviceTable
  ) {
    self.context = context
    primary = context.primary ?? devices.primary
    let plane = PlaneReach(first, context, among: devices)
    (exporter, likelyExporter, owners) = (plane.exporter, plane.likely, plane.owners)
    (homeMemory, confidence, byRow) = (plane.home, plane.confidence, plane.byRow)
    native = plane.native
    reaching = plane.native.union(plane.inPlace)
    stayingPut = reaching.union(plane.unknown).subtracting(plane.unreachable)
    notMoving = devices.present.subtracting(plane.moving).union(stayingPut)
      .subtracting(plane.unreachable)
    importable = devices.present.subtracting(plane.unreachable)
    scannable = plane.scannable(context, among: devices)
    (unfit, hanging) = (plane.unfit, plane.hanging.union(plane.risky))
    certainlyUnfit = plane.unfit.subtracting(plane.risky)
    (usable, home, declaredIsUsable) = (DeviceSet(), DeviceSet(), false)
    applyRule1(devices)
  }

  /// Adds another plane of the same buffer: the chosen device must be able to use all planes.
  package mutating func add(
    _ facts: BufferFacts, among devices: DeviceTable
  ) {
    let plane = PlaneReach(facts, context, among: devices)
    if plane.exporter != exporter { exporter = nil }
    if plane.likely != likelyExporter { likelyExporter = nil }
    owners = owners.intersection(plane.owners)
    homeMemory = weaker(homeMemory, plane.home)
    confidence = min(confidence, plane.confidence)
    let reached = plane.native.union(plane.inPlace)
    let staying = reached.union(plane.unknown).subtracting(plane.unreachable)
    native = native.intersection(plane.native)
    reaching = reaching.intersection(reached)
    byRow = byRow.union(plane.byRow).intersection(reaching)
    stayingPut = stayingPut.intersection(staying)
    notMoving = notMoving.intersection(
      devices.present.subtracting(plane.moving).union(staying).subtracting(plane.unreachable))
    importable = importable.subtracting(plane.unreachable)
    scannable = scannable.intersection(plane.scannable(context, among: devices))
    unfit = unfit.union(plane.unfit)
    certainlyUnfit = certainlyUnfit.union(plane.unfit.subtracting(plane.risky))
    hanging = hanging.union(plane.hanging).union(plane.risky)
    applyRule1(devices)
  }

  /// Rule 1.
  private mutating func applyRule1(_ devices: DeviceTable) {
    var open = devices.ready.subtracting(devices.software.subtracting(context.candidates ?? []))
    if let candidates = context.candidates { open = open.intersection(candidates) }
    usable = open.subtracting(unfit)
    home = reaching.intersection(usable)
    declaredIsUsable =
      context.declared.map { open.subtracting(certainlyUnfit).contains($0) } ?? false
  }

  /// Whether `target-device` reaches the buffer for scan-out: it need not be a candidate, and may
  /// be software.
  package func reachesForScanout(_ slot: DeviceSlot, among devices: DeviceTable) -> Bool {
    devices.ready.subtracting(unfit).intersection(reaching).contains(slot)
  }

  /// What an import into this device would do, whether or not it may be chosen.
  package func access(of slot: DeviceSlot) -> Access {
    if native.contains(slot) { return .native }
    if reaching.contains(slot) { return .inPlace }
    if stayingPut.contains(slot) { return .unknown }
    if notMoving.contains(slot) { return .mayMove }
    return importable.contains(slot) ? .moves : .unreachable
  }

  /// Whether the device that drives the output can scan the buffer out: one of its own, or an
  /// import in system memory if its driver supports that.
  package func scansOut(_ slot: DeviceSlot) -> Bool {
    scannable.contains(slot)
  }

  /// Devices known not to draw into the buffer.
  package func unwritable(among devices: DeviceTable) -> DeviceSet {
    devices.readsImportsOnly.subtracting(native)
  }

  /// Every device's access, and what it can do with the buffer.
  package func verdicts(among devices: DeviceTable) -> Verdicts {
    var verdicts = Verdicts(among: devices)
    let all = devices.named
    verdicts.native = native.intersection(all)
    verdicts.inPlace = reaching.subtracting(native).intersection(all)
    verdicts.unknown = stayingPut.subtracting(reaching).intersection(all)
    verdicts.mayMove = notMoving.subtracting(stayingPut).intersection(all)
    verdicts.moves = importable.subtracting(notMoving).intersection(all)
    verdicts.unreachable = all.subtracting(importable)
    let reached = reaching.intersection(all)
    verdicts.sampling = reached.intersection(devices.rendering.union(context.candidates ?? []))
    verdicts.writing = reached.intersection(devices.rendering)
      .subtracting(unwritable(among: devices))
    var displaying = devices.displaying
    if let target = context.target { displaying.insert(target) }
    verdicts.scanningOut = reached.intersection(scannable).intersection(displaying)
    verdicts.home = exporter.flatMap {
      devices.number(of: $0) == .none ? nil : devices.number(of: $0)
    }
    verdicts.homeMemory = homeMemory
    return verdicts
  }

  /// Whether each of these devices is known not to reach this buffer.
  func areUnreachable(_ slots: DeviceSet) -> Bool {
    !slots.isEmpty && slots.intersection(importable).isEmpty
  }
}

private func weaker(_ a: Memory, _ b: Memory) -> Memory {
  if a == .dedicated || b == .dedicated { return .dedicated }
  return a == b ? a : .unknown
}
