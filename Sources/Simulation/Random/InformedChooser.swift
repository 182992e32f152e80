// How good answers can be at best: a chooser that knows how random days are made, but of each
// buffer only what primed knows.
//
// Every other buffer that the day could have had in this one's place is played as well. If primed
// learns the same of both, no evidence tells them apart, and whoever chooses must choose alike. The
// chooser names the device on which the fewest of them, by how often each is made, come to harm;
// and like primed none on which one of them hangs, as long as there is another.

internal import Placement

/// Of a buffer's first use: the expected number of avoidable moves and of regrets.
struct ExpectedHarm {
  var moves = 0.0
  var regrets = 0.0
}

struct InformedChooser {
  private struct Use {
    var hangs: Bool
    var isMoved: Bool
    var isRegretted: Bool
  }
  /// One buffer that it may be, and what comes of using it on each device.
  private struct Possibility {
    var weight: Double
    var uses: [Int: Use]
  }
  private var possibilities: [Possibility] = []

  /// `told`: primed's answer at the first question about a buffer of the day.
  init(_ day: RandomDay, _ told: ScenarioAnswer) {
    for (buffer, weight) in day.alternatives(to: told.question.buffers[0]) where weight > 0 {
      guard let (other, uses) = Self.play(day, buffer, told), Self.isAlike(told, other) else {
        continue
      }
      possibilities.append(Possibility(weight: weight, uses: uses))
    }
    let sum = possibilities.reduce(0) { $0 + $1.weight }
    for index in possibilities.indices { possibilities[index].weight /= sum }
  }

  /// The least of each that any choice can expect.
  var least: ExpectedHarm {
    let devices = possibilities.first.map { Array($0.uses.keys) } ?? []
    let calm = devices.filter { device in !possibilities.contains { $0.uses[device]!.hangs } }
    let harms = (calm.isEmpty ? devices : calm).map(expected)
    return ExpectedHarm(
      moves: harms.map(\.moves).min() ?? 0, regrets: harms.map(\.regrets).min() ?? 0)
  }

  /// What this device must expect.
  func expected(on device: Int) -> ExpectedHarm {
    var harm = ExpectedHarm()
    for possibility in possibilities {
      guard let use = possibility.uses[device] else { continue }
      if use.isMoved { harm.moves += possibility.weight }
      if use.isRegretted { harm.regrets += possibility.weight }
    }
    return harm
  }

  // MARK: the days

  /// The day with this buffer, up to the question.
  private static func play(
    _ day: RandomDay, _ buffer: BufferModel, _ told: ScenarioAnswer
  ) -> (ScenarioAnswer, [Int: Use])? {
    let index = told.question.buffers[0]
    var scenario = day.scenario
    scenario.buffers[index] = buffer
    scenario.steps = Array(scenario.steps.prefix(told.step + 1))
    if buffer.home == .system {
      // Only buffers in dedicated memory are evicted.
      for step in scenario.steps.indices {
        if case .migrate(index, _) = scenario.steps[step].action {
          scenario.steps[step] = Step(.look)
        }
      }
    }
    let player = ScenarioPlayer(scenario)
    var answer: (ScenarioAnswer, [Int: Use])?
    player.onAnswer = { [unowned player] other in
      guard other.step == told.step else { return }
      answer = (other, uses(of: index, told.question.hints.usage ?? .sample, player))
    }
    _ = player.play()
    return answer
  }

  private static func uses(
    of buffer: Int, _ usage: Usage, _ player: ScenarioPlayer
  ) -> [Int: Use] {
    let machine = player.kernel
    guard let best = machine.best(for: buffer, usage, released: player.released) else { return [:] }
    var uses: [Int: Use] = [:]
    for device in machine.devices.indices
    where machine.devices[device].plugged && !player.released.contains(device) {
      uses[device] = Use(
        hangs: machine.hangs(buffer, on: device),
        isMoved: best.outcome < .moved && machine.wouldMove(buffer, on: device),
        isRegretted: best.outcome < machine.outcome(of: buffer, on: device, usage))
    }
    return uses
  }

  /// Whether primed knows the same of both.
  private static func isAlike(_ one: ScenarioAnswer, _ two: ScenarioAnswer) -> Bool {
    one.device == two.device && one.answer.access == two.answer.access
      && one.answer.confidence == two.answer.confidence
      && one.explanation.rule == two.explanation.rule
      && one.explanation.evidence == two.explanation.evidence
      && one.explanation.devices == two.explanation.devices
  }
}
