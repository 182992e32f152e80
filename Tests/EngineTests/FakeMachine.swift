// A machine small enough to see through: devices, buffers, a clock, and probes that end when the test
// says so. Counts what would have been a breach of the first law.

import Glibc
import Kernel
import Linux
import Placement

@testable import Engine

final class FakeMachine: DeviceSource, BufferReader, Prober, TimeSource {
  struct Buffer {
    var exporter: String?
    var home: Memory
    var residency: Memory
    var name: ExporterName
    var size: UInt64 = 4096
  }

  var now: Milliseconds = 1_000
  var noMove = NoMove.honoured
  var introspects = false
  /// Drivers that keep a record of their allocations.
  var records = true
  private(set) var descriptions: [DeviceDescription] = []
  /// All that were ever there: a buffer outlives its exporter.
  private var known: [String: DeviceDescription] = [:]
  var buffers: [UInt64: Buffer] = [:]
  /// (importer, exporter, memory) that work in place, besides a device's own.
  var reaches: [(String, String, Memory)] = []
  var hanging: Set<String> = []

  private(set) var moves = 0
  private(set) var wakes = 0
  private(set) var imports = 0
  private(set) var assessments = 0
  private var handler: ((DeviceEvent) -> Void)?
  private var calls: [() -> Void] = []
  /// Calls into hanging drivers, which end at their deadline.
  private var stuck: [() -> Void] = []

  // MARK: Set up

  @discardableResult
  func plug(
    _ id: String, _ driver: String, minor: UInt32, dedicated: UInt64 = 0,
    _ edit: (inout DeviceDescription) -> Void = { _ in }
  ) -> DeviceNumber {
    var device = DeviceDescription(stableID: id, sysfsPath: "/sys/\(id)", driver: driver)
    let render = DeviceNumber(major: 226, minor: 128 + minor)
    device.render = Node(path: "/dev/dri/renderD\(128 + minor)", number: render)
    device.primary = Node(
      path: "/dev/dri/card\(minor)", number: DeviceNumber(major: 226, minor: minor))
    device.dedicatedMemory = dedicated
    device.power = .active
    edit(&device)
    descriptions.append(device)
    known[id] = device
    handler?(.present(device))
    return device.node!.number
  }

  /// There, but its event has not come.
  func plugSilently(_ device: DeviceDescription) { descriptions.append(device) }

  func unplug(_ id: String, silently: Bool = false) {
    descriptions.removeAll { $0.stableID == id }
    if !silently { handler?(.absent(sysfsPath: "/sys/\(id)")) }
  }

  func change(_ id: String, silently: Bool = false, _ edit: (inout DeviceDescription) -> Void) {
    let i = descriptions.firstIndex { $0.stableID == id }!
    edit(&descriptions[i])
    if !silently { handler?(.present(descriptions[i])) }
  }

  func overrun() { handler?(.overrun) }

  /// Each buffer is a nameless file as long as its inode number, so that an fd tells which it is.
  func held(_ inode: UInt64) -> HeldBuffer {
    var name = Array("/tmp/primed-buffer-XXXXXX".utf8CString)
    let fd = OwnedFD(mkstemp(&name))
    unlink(name)
    precondition(ftruncate(fd.rawValue, Int(inode)) == 0)
    return HeldBuffer(identity: BufferIdentity(inode: inode), fd: fd)
  }

  private func inode(of fd: Int32) -> UInt64 { UInt64(lseek(fd, 0, SEEK_END)) }

  /// Lets every call come back, and those that follow from it.
  func run() {
    while !calls.isEmpty { calls.removeFirst()() }
  }

  /// The deadline of the calls that hang.
  func expire() {
    now += probeDeadline
    let due = stuck
    stuck = []
    for call in due { call() }
    run()
  }

  var waiting: Int { calls.count + stuck.count }

  // MARK: DeviceSource

  func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno) { self.handler = handler }
  func enumerate() -> [DeviceDescription] { descriptions }
  func find(_ number: DeviceNumber) -> DeviceDescription? {
    descriptions.first { $0.render?.number == number || $0.primary?.number == number }
  }
  func power(of device: DeviceDescription) -> Power { there(device)?.power ?? .unknown }

  private func there(_ device: DeviceDescription) -> DeviceDescription? {
    descriptions.first { $0.stableID == device.stableID }
  }

  // MARK: BufferReader

  func identity(of fd: Int32) -> BufferIdentity? { nil }
  func label(of fd: Int32) -> BufferLabel {
    let buffer = buffers[inode(of: fd)]!
    return BufferLabel(exporter: buffer.name, size: buffer.size)
  }
  func introspect(_ fd: Int32) -> Introspection? {
    guard introspects, let buffer = buffers[inode(of: fd)] else { return nil }
    let exporter = buffer.exporter.flatMap { known[$0] }
    return Introspection(
      card: exporter?.primary?.number ?? .none, render: exporter?.render?.number ?? .none,
      registered: descriptions.contains { $0.stableID == buffer.exporter },
      residency: buffer.residency, preferred: buffer.home)
  }

  // MARK: Prober

  func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    assessments += 1
    call(device, hung: { done(.timedOut) }) { [unowned self] in
      guard let device = self.there(device) else { return done(.gone) }
      if device.power == .suspended && !wake { return done(.asleep) }
      done(.known(DeviceAbilities(noMove: self.noMove, imports: device.imports)))
    }
  }

  func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void) {
    imports += 1
    call(task.device, hung: { done(.timedOut) }) { [unowned self] in done(self.importing(task)) }
  }

  func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void) { calls.append { done(true) } }

  private func call(
    _ device: DeviceDescription, hung: @escaping () -> Void, _ body: @escaping () -> Void
  ) {
    if hanging.contains(device.stableID) { stuck.append(hung) } else { calls.append(body) }
  }

  private func importing(_ task: ProbeTask) -> ProbeOutcome {
    guard let device = there(task.device) else { return .gone }
    if device.power == .suspended {
      if !task.wake { return .asleep }
      wakes += 1
      change(device.stableID, silently: true) { $0.power = .active }
    }
    let inode = task.buffer.identity.inode
    let buffer = buffers[inode]!
    if buffer.exporter == device.stableID {
      return .reached(keepsRecord(device) ? .preferred(buffer.home) : .none)
    }
    let record: DriverRecord = keepsRecord(device) ? .preferred(.system) : .none
    if buffer.exporter == nil || isReached(buffer, by: device) { return .reached(record) }
    if task.method == .noMoveImport && noMove == .honoured { return .wouldMove }
    if buffer.residency == .system { return .refused(errno: ENODEV) }
    if mapsAtUse(buffer, on: device) { return .reached(record) }
    moves += 1
    buffers[inode]!.residency = .system
    return .reached(record)
  }

  private func mapsAtUse(_ buffer: Buffer, on device: DeviceDescription) -> Bool {
    let exporter = buffer.exporter.flatMap { known[$0]?.driver }
    return [exporter, device.driver].allSatisfy { ["amdgpu", "xe"].contains($0) }
  }

  private func keepsRecord(_ device: DeviceDescription) -> Bool {
    records && ["amdgpu", "radeon", "nouveau"].contains(device.driver)
  }

  private func isReached(_ buffer: Buffer, by device: DeviceDescription) -> Bool {
    reaches.contains {
      $0.0 == device.stableID && $0.1 == buffer.exporter && $0.2 == buffer.residency
    }
  }
}

extension FakeMachine {
  /// Asks as the bus does: from the cache, else by a look, with every probe let through.
  func place(
    _ engine: QueryEngine, _ inode: UInt64, _ edit: (inout Hints) -> Void = { _ in }
  ) -> Answer {
    let query = query([inode], edit)
    if let answer = engine.answerNow(query) { return answer }
    var answers: [Answer] = []
    ask(engine, query) { answers.append($0) }
    run()
    precondition(answers.count == 1, "the answer did not come, or came \(answers.count) times")
    return answers[0]
  }

  func query(_ inodes: [UInt64], _ edit: (inout Hints) -> Void = { _ in }) -> Query {
    var planes = Planes()
    for inode in inodes { planes.append(BufferIdentity(inode: inode)) }
    var hints = Hints()
    edit(&hints)
    return Query(planes: planes, hints: hints)
  }

  func ask(_ engine: QueryEngine, _ query: Query, _ then: @escaping (Answer) -> Void) {
    var inodes: [UInt64] = []
    for i in 0..<query.planes.count where !inodes.contains(query.planes[i].inode) {
      inodes.append(query.planes[i].inode)
    }
    engine.answer(query, holding: inodes.map(held)) { then(try! $0.get()) }
  }
}
