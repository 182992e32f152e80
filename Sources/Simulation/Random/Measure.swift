// Random days, played with primed and without, and checked against rules that must always hold.

internal import Placement

/// Sums over the days of one kind of kernel.
package struct Measured: Sendable {
  package var days = 0
  package var buffers = 0
  package var answers = 0
  /// Buffers moved by the naive order, and by imports where primed said.
  package var naiveMoves = 0
  package var moves = 0
  /// Those of the moved buffers that no choice could have saved: each device that could have used
  /// the buffer where it lay had gone, or was released.
  package var unavoidable = 0
  /// Buffers that the naive import kept from returning home.
  package var naiveKept = 0
  package var kept = 0
  package var offences: [Offence] = []
  /// What must be expected of imports where primed said, and the least that a chooser with the same
  /// evidence can expect (InformedChooser).
  package fileprivate(set) var expectedMoves = 0.0
  package fileprivate(set) var expectedRegrets = 0.0
  package fileprivate(set) var leastMoves = 0.0
  package fileprivate(set) var leastRegrets = 0.0
  package init() {}

  package func count(_ kind: Offence.Kind) -> Int { offences.count { $0.kind == kind } }
  /// primed's avoidable moves divided by the naive ones.
  package var ratio: Double {
    perNaiveMove(Double(moves - unavoidable))
  }
  /// The same for the chooser that has no better evidence, and its regret.
  package var leastRatio: Double { perNaiveMove(leastMoves) }
  package var leastRegret: Double { buffers == 0 ? 0 : 100 * leastRegrets / Double(buffers) }
  private func perNaiveMove(_ moves: Double) -> Double {
    let naive = naiveMoves - unavoidable
    return naive <= 0 ? 0 : moves / Double(naive)
  }
  /// Percent of the buffers.
  package var regret: Double { buffers == 0 ? 0 : 100 * Double(count(.regret)) / Double(buffers) }
}

package enum Measure {
  /// `least`: also works out what a chooser with the same evidence can reach, which takes a hundred
  /// times as long.
  package static func day(
    _ seed: UInt64, _ kernel: RandomKernel, least: Bool = false, into sum: inout Measured
  ) {
    let day = RandomDay(seed: seed, kernel)
    let plain = WatchedDay(day, seed, kernel)
    sum.days += 1
    sum.answers += plain.told.count
    sum.offences += plain.offences
    sum.offences += plain.differences(
      from: WatchedDay(renumbered(day, seed), seed, kernel), .order, sure: true)
    sum.offences += plain.differences(
      from: WatchedDay(day, seed, kernel, together: true), .together, sure: false)
    useful(day, seed, kernel, &sum)
    if least { compare(day, &sum) }
  }

  private static func compare(_ day: RandomDay, _ sum: inout Measured) {
    var firsts: [Int: ScenarioAnswer] = [:]
    let player = ScenarioPlayer(day.scenario)
    player.onAnswer = { told in
      let buffer = told.question.buffers[0]
      firsts[buffer] = firsts[buffer] ?? told
    }
    _ = player.play()
    for told in firsts.values {
      let chooser = InformedChooser(day, told)
      sum.leastMoves += chooser.least.moves
      sum.leastRegrets += chooser.least.regrets
      guard let device = choice(told, primary: day.primary) else { continue }
      sum.expectedMoves += chooser.expected(on: device).moves
      sum.expectedRegrets += chooser.expected(on: device).regrets
    }
  }

  private static func renumbered(_ day: RandomDay, _ seed: UInt64) -> RandomDay {
    var random = Seeded(~seed)
    var other = day
    let devices = day.scenario.devices.indices
    other.scenario = day.scenario.renumbered(
      order: devices.shuffled(using: &random), minors: devices.shuffled(using: &random))
    return other
  }

  // MARK: imports

  /// The same day for a compositor that imports each buffer once where primed says, and for one
  /// without primed.
  private static func useful(
    _ day: RandomDay, _ seed: UInt64, _ kernel: RandomKernel, _ sum: inout Measured
  ) {
    let player = ScenarioPlayer(day.scenario)
    var (imported, moves, unavoidable, kept) = (Set<Int>(), 0, 0, 0)
    var offences: [Offence] = []
    player.onAnswer = { [unowned player] told in
      let buffer = told.question.buffers[0]
      guard imported.insert(buffer).inserted else { return }
      let machine = player.kernel
      let device = choice(told, primary: day.primary)
      let usage = told.question.hints.usage ?? .sample
      let best = machine.best(for: buffer, usage, released: player.released)
      let outcome = device.map { machine.outcome(of: buffer, on: $0, usage) } ?? .failed
      if let device, machine.use(buffer, on: device) {
        moves += 1
        if (best?.outcome).map({ $0 >= .moved }) ?? true { unavoidable += 1 }
      }
      if outcome == .kept { kept += 1 }
      guard let best, best.outcome < outcome else { return }
      var expect = Expectations()
      expect.device = .some(best.device)
      let cause = cause(told, buffer, device, outcome, machine)
      offences.append(
        Offence(
          kind: .regret, kernel: kernel, seed: seed, step: told.step, cause: cause, expect: expect))
    }
    _ = player.play()
    sum.buffers += imported.count
    sum.moves += moves
    sum.unavoidable += unavoidable
    sum.kept += kept
    sum.offences += offences
    let naive = naive(day)
    sum.naiveMoves += naive.moves
    sum.naiveKept += naive.kept
  }

  /// The device on which a compositor imports after this answer; nil: it does not import.
  private static func choice(_ told: ScenarioAnswer, primary: Int) -> Int? {
    told.answer.access == .unreachable ? nil : told.device ?? primary
  }

  private static func cause(
    _ told: ScenarioAnswer, _ buffer: Int, _ device: Int?, _ outcome: UseOutcome,
    _ machine: SimulatedKernel
  ) -> String {
    let devices = machine.scenario.devices
    let exporter = machine.scenario.buffers[buffer].exporter
    let state =
      exporter.map { index in
        !machine.exported(buffer, by: index)
          ? " that is gone" : machine.devices[index].suspended ? " that sleeps" : ""
      } ?? ""
    return "\(outcome), \(told.explanation.rule), \(told.answer.access.word): "
      + "of \(exporter.map { devices[$0].driver } ?? "no device")\(state)"
      + ", on \(device.map { devices[$0].driver } ?? "nothing")"
  }

  private static func naive(_ day: RandomDay) -> (moves: Int, kept: Int) {
    let machine = SimulatedKernel(day.scenario)
    var (imported, moves, kept) = (Set<Int>(), 0, 0)
    for step in day.scenario.steps {
      switch step.action {
      case .place(let question):
        guard imported.insert(question.buffers[0]).inserted else { continue }
        let outcome = machine.outcome(of: question.buffers[0], on: day.primary)
        if machine.useNaively(question.buffers[0], primary: day.primary) { moves += 1 }
        if outcome == .kept { kept += 1 }
      case .migrate(let buffer, let memory): machine.migrate(buffer, to: memory)
      case .device(let event, let device): machine.play(event, on: device)
      default: break
      }
    }
    return (moves, kept)
  }
}

extension SimulatedKernel {
  /// The best choice with full knowledge; nil: there is no device.
  func best(
    for buffer: Int, _ usage: Usage, released: Set<Int>
  ) -> (device: Int, outcome: UseOutcome)? {
    devices.indices.filter { isUsable($0) && !released.contains($0) }
      .map { (device: $0, outcome: outcome(of: buffer, on: $0, usage)) }
      .min { ($0.outcome, $0.device) < ($1.outcome, $1.device) }
  }
}
