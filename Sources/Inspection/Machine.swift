// A machine as it is shown: its devices, what is known of them, and the buffers of recent
// questions.

internal import Engine
package import Placement
package import Simulation

/// A buffer, and the device that an answer named for it.
package struct RecentBuffer: Sendable, Equatable {
  package var name: String
  /// nil: no device, or none that is there; `unknown`: which of the two is not known.
  package var exporter: DeviceSlot?
  package var exporterIsUnknown = false
  /// Where it lay at the last observation.
  package var memory: Memory
  package var user: DeviceSlot?
  package var access: Access
  package var why: String

  /// Nothing would move.
  var stays: Bool { access == .native || access == .inPlace }
}

package struct Machine: Sendable {
  package var title: String
  package var table: DeviceTable
  /// nil: unknown, so it is unknown which rows of the pair table apply.
  package var kernel: KernelVersion?
  package var matrix: ReachMatrix
  package var recent: [RecentBuffer] = []
  /// What was answered and what happened lately.
  package private(set) var told: [Told] = []
  private let pairs: PairTable

  package init(
    title: String, _ entries: [DeviceEntry], own: [PairRow] = [], measured: [PairRow] = [],
    kernel: KernelVersion?
  ) {
    let pairs = PairTable(own: own, measured: measured)
    self.title = title
    self.kernel = kernel
    self.pairs = pairs
    table = DeviceTable(entries.map { $0 }, pairs: pairs, kernel: kernel)
    matrix = ReachMatrix(table, pairs, kernel: kernel)
    matrix.order(by: shown)
  }

  /// A scenario's machine, and the result of playing its steps.
  package init(simulating scenario: Scenario) {
    let player = ScenarioPlayer(scenario)
    self.init(
      title: scenario.name, player.kernel.enumerate().map { DeviceEntry($0) },
      kernel: scenario.kernel.version)
    var answers: [ScenarioAnswer] = []
    player.onAnswer = { answers.append($0) }
    _ = player.play()
    for told in answers { note(told, scenario, player.kernel) }
    self.told = player.told
    showEnd(of: player.kernel, scenario, released: player.released)
  }

  /// Also with devices that have gone, and what is known of them.
  func with(gone: [DeviceDescription]) -> Machine {
    guard !gone.isEmpty else { return self }
    var entries = table.present.map { table[$0]! }
    for device in gone {
      var entry = DeviceEntry(device)
      entry.state = .gone
      entries.append(entry)
    }
    var all = self
    all.table = DeviceTable(entries, pairs: pairs, kernel: kernel)
    all.matrix = ReachMatrix(all.table, pairs, kernel: kernel)
    all.matrix.order(by: all.shown)
    return all
  }

  /// Devices are shown as the steps left them; the matrix has all devices that were ever there.
  private mutating func showEnd(
    of kernel: SimulatedKernel, _ scenario: Scenario, released: Set<Int>
  ) {
    let closed = released.map { scenario.devices[$0].number }
    let now = kernel.enumerate()
    let entries = table.present.map { slot -> DeviceEntry? in
      var entry = table[slot]!
      let found = now.first { $0.sysfsPath == entry.description.sysfsPath }
      if let found { entry.description = found } else { entry.state = .gone }
      if entry.description.node.map({ closed.contains($0.number) }) == true, found != nil {
        entry.state = .released
      }
      return entry
    }
    table = DeviceTable(entries, kernel: scenario.kernel.version)
  }

  /// Keeps the last answer about each buffer.
  private mutating func note(
    _ told: ScenarioAnswer, _ scenario: Scenario, _ kernel: SimulatedKernel
  ) {
    let (buffer, said) = (told.question.buffers[0], told.explanation)
    let exporter = scenario.buffers[buffer].exporter.flatMap {
      table.slot(of: scenario.devices[$0].number)
    }
    for (access, importers) in [(Access.inPlace, said.reached), (.moves, said.refused)] {
      for importer in importers.compactMap({ table.slot(of: $0) }) {
        if let exporter { matrix.see(access, by: importer, of: exporter, in: said.residency) }
      }
    }
    let name = scenario.buffers[buffer].id
    recent.removeAll { $0.name == name }
    recent.append(
      RecentBuffer(
        name: name, exporter: exporter,
        memory: kernel.dmabuf(buffer, plane: 0)?.residency ?? .unknown,
        user: table.slot(of: told.answer.device), access: told.answer.access, why: said.reason))
  }

  /// From what primed told: each buffer with its last answer, the oldest first.
  package mutating func show(_ lately: [Told]) {
    told = lately
    for told in lately.compactMap(\.answer) {
      let name = "b\(told.answer.planes[0].inode)"
      let (exporter, user) = (
        table.slot(of: told.answer.exporter.number), table.slot(of: told.answer.device)
      )
      if let exporter, let user, told.answer.exporter.isCertain, told.answer.confidence != .guess {
        matrix.see(told.answer.access, by: user, of: exporter, in: told.answer.residency)
      }
      recent.removeAll { $0.name == name }
      recent.append(
        RecentBuffer(
          name: name, exporter: exporter,
          exporterIsUnknown: exporter == nil && told.answer.exporter != .noDevice,
          memory: told.answer.lies,
          user: user, access: told.answer.access,
          why: "\(told.answer.confidence.word), \(told.age / 1000) s ago"))
    }
    recent.removeFirst(max(0, recent.count - Self.shown))
  }

  /// The number of buffers that a picture has room for.
  private static let shown = 24

  /// A device's short name: `renderD128`.
  package func label(_ slot: DeviceSlot) -> String {
    let node = table[slot]?.description.node?.path ?? "?"
    return String(node.split(separator: "/").last ?? "?")
  }
  /// In the order of people: the primary device, then as nodes are numbered.
  package var shown: [DeviceSlot] {
    table.named.sorted { a, b in
      let (first, second) = (a == table.primary, b == table.primary)
      return first != second ? first : isBefore(label(a), label(b))
    }
  }
  /// Why it can't be used just now: "gone", "released", "asleep"; "": it can.
  package func standing(_ slot: DeviceSlot) -> String {
    guard let entry = table[slot] else { return "gone" }
    if entry.state != .ready { return entry.state.word }
    return entry.description.power == .suspended ? "asleep" : ""
  }
  package func driver(_ slot: DeviceSlot) -> String { table[slot]?.description.driver ?? "" }

  /// The vendor's name, else the driver's.
  package func name(_ slot: DeviceSlot) -> String {
    guard let device = table[slot]?.description else { return "" }
    let words = [device.vendor, device.model].filter { !$0.isEmpty }.joined(separator: " ")
    return words.isEmpty ? device.driver : words
  }
}

extension RecentAnswer {
  /// Where the buffer lay, else where it belongs.
  var lies: Memory { residency != .unknown ? residency : home }
}

/// "8.0 GiB"; "-" for 0.
package func bytes(_ count: UInt64) -> String {
  guard count > 0 else { return "-" }
  // In tenths, since floating-point numbers can't be printed without Foundation.
  var (tenths, unit) = (count.multipliedReportingOverflow(by: 10).partialValue, 0)
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  while tenths >= 10240, unit < units.count - 1 { (tenths, unit) = (tenths / 1024, unit + 1) }
  return unit == 0 ? "\(count) B" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
}
