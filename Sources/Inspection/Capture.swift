// A machine as a scenario, with recent questions and answers as its steps, for bug reports. It
// contains nothing about users: no names, paths or pids; a device is its driver and a number.

package import Placement
package import Simulation

package struct Capture {
  package private(set) var scenario: Scenario
  /// What is in it and what had to be left out, for the user who sends it.
  package private(set) var notes: [String] = []
  /// Answers that the simulation gives otherwise, as sentences; their steps expect nothing.
  package private(set) var differences: [String] = []
  private let machine: Machine
  /// The scenario's device, by either node's number.
  private var indices: [DeviceNumber: Int] = [:]
  /// The scenario's buffer, by inode.
  private var buffers: [UInt64: Int] = [:]
  /// Where each of the scenario's buffers lies after the steps so far.
  private var residencies: [Memory] = []

  /// - Parameters:
  ///   - noMove, introspection: what primed found out about the kernel.
  ///   - told: what primed answered and what happened, the oldest first.
  package init(_ machine: Machine, noMove: NoMove, introspection: Bool, told: [Told]) {
    self.machine = machine.with(gone: Self.gone(from: machine, told))
    scenario = Scenario(name: "captured machine")
    scenario.kernel.noMove = noMove == .honoured ? .honoured : .ignored
    scenario.kernel.introspection = introspection
    if let version = machine.kernel { scenario.kernel.version = version }
    addDevices()
    addReaches()
    setBeginning(told)
    addBuffers(told.compactMap(\.answer?.answer))
    addSteps(told)
    settleExpectations()
    let counts = [
      counted(scenario.devices.count, "device"), counted(scenario.buffers.count, "buffer"),
      counted(scenario.steps.count, "step"),
    ]
    notes.insert(
      counts.joined(separator: ", ") + "; no names, paths or pids of people", at: 0)
    scenario.about = notes.joined(separator: ". ") + "."
  }

  /// Devices that something happened to and that are not there any more.
  private static func gone(from machine: Machine, _ told: [Told]) -> [DeviceDescription] {
    var gone: [DeviceDescription] = []
    for case .event(let one) in told {
      let device = one.event.device
      guard let number = device.node?.number, machine.table.slot(of: number) == nil,
        !gone.contains(where: { $0.node?.number == number })
      else { continue }
      gone.append(device)
    }
    return gone
  }

  // MARK: Devices

  private mutating func addDevices() {
    let table = machine.table
    for slot in machine.shown {
      let device = table[slot]!.description
      let number = scenario.devices.count { $0.driver == device.driver }
      var model = DeviceModel(id: "\(identifier(device.driver))-\(number)", driver: device.driver)
      model.card = device.primary?.number.minor
      model.render = device.render?.number.minor
      model.dedicated = device.dedicatedMemory
      model.integrated = device.isIntegrated ?? (device.dedicatedMemory == 0)
      model.power = device.power == .suspended ? .suspended : .active
      model.present = table[slot]!.state != .gone
      (model.imports, model.exports) = (device.imports, device.exports)
      (model.role, model.bootVGA) = (device.role, device.bootVGA)
      model.connectors = device.connected
      for node in [device.primary, device.render].compactMap({ $0 }) {
        indices[node.number] = scenario.devices.count
      }
      scenario.devices.append(model)
    }
  }

  private func identifier(_ driver: String) -> String {
    let safe = driver.filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    return safe.isEmpty ? "device" : safe
  }

  private mutating func addReaches() {
    for row in machine.matrix.rows {
      for (importer, cell) in zip(machine.matrix.devices, row.cells) where importer != row.exporter
      {
        guard let user = index(of: importer), let owner = index(of: row.exporter) else { continue }
        switch cell.outcome {
        case .inPlace:
          let how: Reach.How = row.memory == .dedicated ? .dedicated : .system
          scenario.reaches.append(Reach(importer: user, exporter: owner, how: how))
        case .hangs:
          scenario.reaches.append(Reach(importer: user, exporter: owner, how: .hangs))
        case .own, .unknown, .mayMove, .moves, .fails: break
        }
      }
    }
    var seen: Set<Reach> = []
    scenario.reaches = scenario.reaches.filter { seen.insert($0).inserted }
  }

  private func index(of slot: DeviceSlot) -> Int? { indices[machine.table.number(of: slot)] }

  /// Each device as it was before the first thing that happened to it.
  private mutating func setBeginning(_ told: [Told]) {
    var seen: [Set<Int>] = [[], [], []]
    for case .event(let one) in told {
      guard let device = index(of: one) else { continue }
      let kind = one.event.kind
      let about = kind == .plug || kind == .unplug ? 0 : kind == .suspend || kind == .resume ? 1 : 2
      guard seen[about].insert(device).inserted else { continue }
      switch kind {
      case .plug: scenario.devices[device].present = false
      case .unplug: scenario.devices[device].present = true
      case .suspend: scenario.devices[device].power = .active
      case .resume: scenario.devices[device].power = .suspended
      case .unrelease: scenario.steps.append(Step(.release(device)))
      case .release: break
      }
    }
    for slot in machine.table.released {
      guard let device = index(of: slot), !seen[2].contains(device) else { continue }
      scenario.steps.append(Step(.release(device)))
    }
  }

  private func index(of one: ToldEvent) -> Int? {
    one.event.device.node.flatMap { indices[$0.number] }
  }

  // MARK: Buffers

  /// Each with the most that was ever known of it: the simulated primed finds that out again.
  private mutating func addBuffers(_ answers: [RecentAnswer]) {
    var unsure: [String] = []
    for answer in answers {
      for i in 0..<answer.planes.count where buffers[answer.planes[i].inode] == nil {
        let inode = answer.planes[i].inode
        let same = answers.filter { $0.planes[0].inode == inode }
        let known = same.isEmpty ? [answer] : same
        let sure = known.first { $0.exporter.isCertain } ?? known[0]
        let model = buffer(sure.exporter, known)
        if !sure.exporter.isCertain { unsure.append(model.id) }
        buffers[inode] = scenario.buffers.count
        residencies.append(model.residency)
        scenario.buffers.append(model)
      }
    }
    if !unsure.isEmpty {
      notes.append(
        "primed did not know who exported \(unsure.joined(separator: ", ")): the exporter here is the "
          + "first that may have")
    }
  }

  /// - Parameter answers: those about it, of which there is one.
  private func buffer(_ exporter: KnownExporter, _ answers: [RecentAnswer]) -> BufferModel {
    let owner = indices[exporter.number]
    let home = answers.last { $0.home != .unknown }?.home
    let residency = answers.first { $0.residency != .unknown }?.residency
    let hasOwn = owner.map { scenario.devices[$0].dedicated > 0 } ?? false
    let usual = hasOwn && !exporter.isCertain ? Memory.dedicated : .system
    var model = BufferModel(
      id: "b\(scenario.buffers.count)", exporter: owner,
      home: hasOwn ? home ?? residency ?? usual : .system,
      residency: hasOwn ? residency ?? home ?? usual : .system)
    (model.format, model.modifier) = (answers[0].format, answers[0].modifier)
    return model
  }

  // MARK: Steps

  private mutating func addSteps(_ told: [Told]) {
    var before: Milliseconds?
    for one in told {
      if let before, before > one.age { scenario.steps.append(Step(.advance(before - one.age))) }
      before = one.age
      switch one {
      case .answer(let told): addAnswer(told.answer)
      case .event(let told): addEvent(told)
      }
    }
    if told.isEmpty { notes.append("It was asked nothing, or that could not be read") }
  }

  private mutating func addAnswer(_ answer: RecentAnswer) {
    let planes = (0..<answer.planes.count).map { buffers[answer.planes[$0].inode]! }
    let (first, lies) = (planes[0], answer.residency)
    if lies != .unknown, lies != residencies[first], hasOwnMemory(scenario.buffers[first]) {
      residencies[first] = lies
      scenario.steps.append(Step(.migrate(buffer: first, to: lies)))
    }
    var question = Question(buffers: planes)
    question.hints = hints(of: answer)
    question.fill(from: scenario.buffers[first])
    var expect = Expectations()
    expect.device = .some(indices[answer.device])
    expect.access = answer.access
    scenario.steps.append(Step(.place(question), expect: expect))
  }

  private func hasOwnMemory(_ buffer: BufferModel) -> Bool {
    buffer.exporter.map { scenario.devices[$0].dedicated > 0 } ?? false
  }

  private mutating func addEvent(_ told: ToldEvent) {
    // A device without DRM nodes is none of the scenario's.
    guard let device = index(of: told) else { return }
    let action: Step.Action =
      switch told.event.kind {
      case .plug: .device(.plug, device)
      case .unplug: .device(.unplug, device)
      case .suspend: .device(.suspend, device)
      case .resume: .device(.resume, device)
      case .release: .release(device)
      case .unrelease: .unrelease(device)
      }
    scenario.steps.append(Step(action))
  }

  private func hints(of answer: RecentAnswer) -> Hints {
    var hints = Hints()
    for (hint, device) in [
      (Hint.samplingDevice, answer.samplingDevice), (.targetDevice, answer.targetDevice),
      (.primaryDevice, answer.primaryDevice),
    ] {
      // A number that no device ever had can't be written.
      if let index = indices[device] {
        hints.set(hint, number: scenario.devices[index].number.rawValue)
      }
    }
    if let usage = answer.usage { hints.set(usage: usage) }
    if let list = answer.candidates {
      let known = (0..<list.count).compactMap { indices[list[$0]] }
      hints.set(candidates: DeviceList(known.map { scenario.devices[$0].number }))
    }
    return hints
  }

  // MARK: What is expected

  /// A simulation does not know all of the machine: where its answer differs, that is noted, and
  /// the step expects nothing.
  private mutating func settleExpectations() {
    for _ in scenario.steps.indices {
      let failures = ScenarioPlayer.play(scenario)
      if failures.isEmpty { break }
      for failure in failures {
        guard let step = Self.step(of: failure.path), scenario.steps.indices.contains(step) else {
          continue
        }
        differences.append(
          "step \(step): here \(failure.expected), in the simulation \(failure.got)")
        scenario.steps[step].expect = Expectations()
      }
    }
    if !differences.isEmpty {
      notes.append(
        "Answers that the simulation gives otherwise: \(differences.joined(separator: "; "))")
    }
  }

  /// "$.steps[3].access"
  private static func step(of path: String) -> Int? {
    guard let start = path.firstIndex(of: "["), let end = path.firstIndex(of: "]") else {
      return nil
    }
    return Int(path[path.index(after: start)..<end])
  }
}
