// A machine as a scenario, with recent questions and answers as its steps, for bug reports. It
// contains nothing about users: no names, paths or pids; a device is its driver and a number.

package import Placement
package import Simulation

package struct Capture {
  package private(set) var scenario: Scenario
  /// What is in it and what had to be left out, for the user who sends it.
  package private(set) var notes: [String] = []
  private let machine: Machine
  /// The scenario's device, by slot.
  private var indices: [DeviceSlot: Int] = [:]
  /// The scenario's buffer, by the first plane's inode; nil: its exporter is unknown.
  private var buffers: [UInt64: Int?] = [:]

  /// - Parameters:
  /// - noMove, introspection: what primed found out about the kernel.
  ///   - answers: the oldest first.
  package init(
    _ machine: Machine, noMove: NoMove, introspection: Bool, answers: [ToldAnswer]
  ) {
    self.machine = machine
    scenario = Scenario(name: "captured machine")
    scenario.kernel.noMove = noMove == .honoured ? .honoured : .ignored
    scenario.kernel.introspection = introspection
    if let version = machine.kernel { scenario.kernel.version = version }
    addDevices()
    addReaches()
    addSteps(answers)
    settleExpectations()
    let counts = [
      counted(scenario.devices.count, "device"), counted(scenario.buffers.count, "buffer"),
      counted(scenario.steps.count, "step"),
    ]
    notes.insert(
      counts.joined(separator: ", ") + "; no names, paths or pids of people", at: 0)
    scenario.about = notes.joined(separator: ". ") + "."
  }

  // MARK: Devices

  private mutating func addDevices() {
    let table = machine.table
    for slot in table.stableOrder(table.named) {
      let device = table[slot]!.description
      let number = scenario.devices.count { $0.driver == device.driver }
      var model = DeviceModel(id: "\(identifier(device.driver))-\(number)", driver: device.driver)
      model.card = device.primary?.number.minor
      model.render = device.render?.number.minor
      model.dedicated = device.dedicatedMemory
      model.integrated = device.isIntegrated ?? (device.dedicatedMemory == 0)
      model.power = device.power == .suspended ? .suspended : .active
      (model.imports, model.exports) = (device.imports, device.exports)
      (model.role, model.bootVGA) = (device.role, device.bootVGA)
      model.connectors = device.connected
      indices[slot] = scenario.devices.count
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
        guard let user = indices[importer], let owner = indices[row.exporter] else { continue }
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

  // MARK: Steps

  private mutating func addSteps(_ answers: [ToldAnswer]) {
    var before: Milliseconds?
    var unknown = 0
    for told in answers {
      guard let index = buffer(of: told) else {
        unknown += 1
        continue
      }
      if let before, before > told.age {
        scenario.steps.append(Step(.advance(before - told.age)))
      }
      before = told.age
      var question = Question(buffers: [index])
      question.hints = hints(of: told.answer)
      question.fill(from: scenario.buffers[index])
      var expect = Expectations()
      expect.device = .some(deviceIndex(of: told.answer.device))
      expect.access = told.answer.access
      scenario.steps.append(Step(.place(question), expect: expect))
    }
    if answers.isEmpty { notes.append("It was asked nothing, or that could not be read") }
    if unknown > 0 {
      notes.append("\(unknown) answers are left out: who exported the buffer is not known")
    }
  }

  private func deviceIndex(of number: DeviceNumber) -> Int? {
    machine.table.slot(of: number).flatMap { indices[$0] }
  }

  /// A buffer has what is known of it now, not what was known when it was asked about.
  private mutating func buffer(of told: ToldAnswer) -> Int? {
    let inode = told.answer.planes[0].inode
    if let known = buffers[inode] { return known }
    guard let exporter = deviceIndex(of: told.exporter) else {
      buffers[inode] = .some(nil)
      return nil
    }
    let lies = told.residency != .unknown ? told.residency : told.home
    var model = BufferModel(
      id: "b\(scenario.buffers.count)", exporter: exporter,
      home: told.home != .unknown ? told.home : lies == .unknown ? .system : lies,
      residency: lies == .unknown ? .system : lies)
    if scenario.devices[exporter].dedicated == 0 {
      (model.home, model.residency) = (.system, .system)
    }
    model.planes = told.answer.planes.count
    (model.format, model.modifier) = (told.answer.format, told.answer.modifier)
    buffers[inode] = scenario.buffers.count
    scenario.buffers.append(model)
    return scenario.buffers.count - 1
  }

  private func hints(of answer: RecentAnswer) -> Hints {
    var hints = Hints()
    for (hint, device) in [
      (Hint.samplingDevice, answer.samplingDevice), (.targetDevice, answer.targetDevice),
      (.primaryDevice, answer.primaryDevice),
    ] {
      // A number of no present device, as after an unplug, can't be written.
      if let index = deviceIndex(of: device) {
        hints.set(hint, number: scenario.devices[index].number.rawValue)
      }
    }
    if let usage = answer.usage { hints.set(usage: usage) }
    if let list = answer.candidates {
      let known = (0..<list.count).compactMap { deviceIndex(of: list[$0]) }
      hints.set(candidates: DeviceList(known.map { scenario.devices[$0].number }))
    }
    return hints
  }

  // MARK: What is expected

  /// A simulation does not know all of the machine: where its answer differs, that is noted, and
  /// the step expects nothing.
  private mutating func settleExpectations() {
    var differences: [String] = []
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

private func counted(_ count: Int, _ what: String) -> String {
  "\(count) \(what)\(count == 1 ? "" : "s")"
}
