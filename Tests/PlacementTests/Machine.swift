// Machines and facts for the tests of this room, with short names.

@testable import Placement

struct Machine {
  private(set) var entries: [DeviceEntry?] = []
  private var goneDrivers = DriverSet()
  /// Buffers with a higher inode are newer than the last unplug.
  var goneBefore = UInt64.max { didSet { renew() } }
  private(set) var table = DeviceTable()
  /// A user's rows of the pair table, and the kernel.
  var pairs = "" { didSet { renew() } }
  /// Rows that were measured, written in the same way.
  var measured = "" { didSet { renew() } }
  var kernel: KernelVersion? = KernelVersion(6, 12) { didSet { renew() } }

  /// Adds devices that are awake and assessed; `edit` changes that.
  @discardableResult
  mutating func add(
    _ id: String, _ driver: String, dedicated: UInt64 = 0, noMove: NoMove = .honoured,
    _ edit: (inout DeviceEntry) -> Void = { _ in }
  ) -> DeviceSlot {
    let minor = UInt32(entries.count)
    var device = DeviceDescription(stableID: id, sysfsPath: "/sys/\(id)", driver: driver)
    device.render = Node(
      path: "/dev/dri/renderD\(128 + minor)", number: DeviceNumber(major: 226, minor: 128 + minor))
    device.primary = Node(
      path: "/dev/dri/card\(minor)", number: DeviceNumber(major: 226, minor: minor))
    device.dedicatedMemory = dedicated
    device.power = .active
    var entry = DeviceEntry(device)
    entry.noMove = noMove
    entry.importsSeen = true
    edit(&entry)
    entries.append(entry)
    renew()
    return DeviceSlot(UInt8(minor))
  }

  mutating func change(_ id: String, _ edit: (inout DeviceEntry) -> Void) {
    edit(&entries[Int(self[id].index)]!)
    renew()
  }

  /// The device has gone: its slot is empty, its driver is remembered.
  mutating func remove(_ id: String) {
    let slot = Int(self[id].index)
    goneDrivers.insert(Driver(name: entries[slot]!.description.driver))
    entries[slot] = nil
    renew()
  }

  private mutating func renew() {
    table = DeviceTable(
      entries, goneDrivers: goneDrivers, goneBefore: goneBefore,
      pairs: PairTable(own: PairRow.parse(pairs).rows, measured: PairRow.parse(measured).rows),
      kernel: kernel)
  }

  subscript(id: String) -> DeviceSlot {
    DeviceSlot(UInt8(entries.firstIndex { $0?.description.stableID == id }!))
  }

  func number(_ id: String) -> DeviceNumber { table.number(of: self[id]) }

  func set(_ ids: [String]) -> DeviceSet {
    ids.reduce(into: DeviceSet()) { $0.insert(self[$1]) }
  }

  func names(_ set: DeviceSet) -> [String] {
    set.compactMap { entries[Int($0.index)]?.description.stableID }.sorted()
  }

  func name(_ slot: DeviceSlot?) -> String? { slot.flatMap { names(DeviceSet($0)).first } }

  // MARK: Looks and facts

  func look(
    name: ExporterName = .drm, reached: [String] = [], wouldMove: [String] = [],
    failing: [String] = [], records: [String: Memory] = [:], introspection: Introspection? = nil
  ) -> Observation {
    var look = Observation()
    look.name = name
    look.introspection = introspection
    for id in reached {
      look.add(.reached(records[id].map { .preferred($0) } ?? .none), of: self[id])
    }
    for id in wouldMove { look.add(.wouldMove, of: self[id]) }
    for id in failing { look.add(.refused(errno: 19), of: self[id]) }
    return look
  }

  /// The observed buffer in tests where its age does not matter.
  static let buffer = BufferIdentity(inode: 1)

  func facts(_ looks: Observation...) -> BufferFacts { facts(after: looks) }

  /// Observations far enough apart for each to count.
  func facts(
    of buffer: BufferIdentity = Machine.buffer, after looks: [Observation]
  ) -> BufferFacts {
    let devices = table
    var facts = BufferFacts(of: buffer, among: devices)
    for (i, look) in looks.enumerated() {
      facts.merge(look, of: buffer, among: devices, at: Milliseconds(i) * 10_000)
    }
    return facts
  }

  func introspection(
    _ id: String?, residency: Memory, preferred: Memory, registered: Bool = true,
    attached: UInt8? = nil, peers: UInt8? = nil
  ) -> Introspection {
    let device = id.flatMap { entries[Int(self[$0].index)]?.description }
    return Introspection(
      card: device?.primary?.number ?? .none, render: device?.render?.number ?? .none,
      registered: registered, residency: residency, preferred: preferred, attached: attached,
      peers: peers)
  }

  // MARK: Answers

  func decide(
    _ planes: BufferFacts..., hints edit: (inout Hints) -> Void = { _ in }
  ) -> Decision { decide(planes, hints: edit) }

  func decide(_ planes: [BufferFacts], hints edit: (inout Hints) -> Void = { _ in }) -> Decision {
    Policy.decide(input(planes, edit), among: table)
  }

  func verdicts(
    _ planes: BufferFacts..., hints edit: (inout Hints) -> Void = { _ in }
  ) -> Verdicts { verdicts(planes, hints: edit) }

  func verdicts(_ planes: [BufferFacts], hints edit: (inout Hints) -> Void) -> Verdicts {
    input(planes, edit).verdicts(among: table)
  }

  /// What an import into this one would do.
  func access(
    _ id: String, _ planes: BufferFacts..., hints edit: (inout Hints) -> Void = { _ in }
  ) -> Access { input(planes, edit).access(of: self[id]) }

  private func input(_ planes: [BufferFacts], _ edit: (inout Hints) -> Void) -> PolicyInput {
    var hints = Hints()
    edit(&hints)
    let asker = QueryContext(hints, among: table)
    var input = PolicyInput(planes[0], asker, among: table)
    for plane in planes.dropFirst() { input.add(plane, among: table) }
    return input
  }
}

extension Machine {
  /// An i915 without dedicated memory that drives the panel, and a GPU beside it.
  static func laptop(
    _ driver: String = "amdgpu", noMove: NoMove = .honoured
  ) -> Machine {
    var machine = Machine()
    machine.add("igpu", "i915", noMove: noMove) { $0.description.bootVGA = true }
    machine.add("dgpu", driver, dedicated: 8 << 30, noMove: noMove)
    return machine
  }

  /// Two GPUs with dedicated memory that show the same exporter name.
  static func workstation(
    _ a: String = "amdgpu", _ b: String = "nouveau", noMove: NoMove = .honoured
  ) -> Machine {
    var machine = Machine()
    machine.add("a", a, dedicated: 8 << 30, noMove: noMove) { $0.description.bootVGA = true }
    machine.add("b", b, dedicated: 8 << 30, noMove: noMove)
    return machine
  }
}

extension DeviceTable {
  /// Devices on which imports of this exporter's buffers fail, or their use hangs, in the memory
  /// that the buffers belong in; `unknown`: in either.
  func unable(toUse exporter: DeviceSlot, in memory: Memory) -> DeviceSet {
    func sets(_ memory: Memory) -> DeviceSet {
      let importers = importers(of: exporter, in: memory)
      return importers.hanging.union(importers.failing)
    }
    return memory == .unknown
      ? sets(.dedicated).intersection(sets(.system)) : sets(memory)
  }
}
