// Random machines and days: the same seed gives the same ones, they can be written and read again,
// and what is measured on them.

import Placement
import Simulation
import Testing

@Suite struct RandomTests {
  private let seeds: Range<UInt64> = 0..<60

  @Test func theSameSeedGivesTheSameDay() {
    for seed in seeds {
      let texts = (0..<2).map { _ in RandomDay(seed: seed, .plain).scenario.text }
      #expect(texts[0] == texts[1])
    }
    #expect(Set(seeds.map { RandomDay(seed: $0, .plain).scenario.text }).count == seeds.count)
  }

  /// What is written reads as the same machine and the same questions.
  @Test(arguments: RandomKernel.allCases)
  func whatIsWrittenCanBePlayed(_ kernel: RandomKernel) throws {
    for seed in seeds {
      let day = RandomDay(seed: seed, kernel).scenario
      let read = try Scenario(json: Array(day.text.utf8))
      #expect(read.text == day.text)
      #expect(answers(read) == answers(day), "seed \(seed)")
    }
  }

  private func answers(_ scenario: Scenario) -> [String] {
    let player = ScenarioPlayer(scenario)
    var answers: [String] = []
    player.onAnswer = { answers.append("\($0.step) \($0.device ?? -1) \($0.answer.access)") }
    _ = player.play()
    return answers
  }

  @Test(arguments: RandomKernel.allCases)
  func primedDoesNoHarm(_ kernel: RandomKernel) {
    var sum = Measured()
    for seed in seeds { Measure.day(seed, kernel, into: &sum) }
    #expect(sum.days == seeds.count && sum.buffers > 200 && sum.answers > 400)
    for kind in [Offence.Kind.moves, .wakes, .masters, .held, .gone, .order] {
      #expect(sum.count(kind) == 0, "\(kind)")
    }
    #expect(sum.naiveMoves > 10 && sum.moves < sum.naiveMoves)
  }

  /// The chooser's least is no more than what primed's answers must expect, and 0 where the kernel
  /// tells all of a buffer.
  @Test(arguments: RandomKernel.allCases)
  func nobodyDoesBetterByTheSameEvidence(_ kernel: RandomKernel) {
    var sum = Measured()
    for seed in 0..<UInt64(12) { Measure.day(seed, kernel, least: true, into: &sum) }
    #expect(sum.leastMoves <= sum.expectedMoves + 1e-9)
    #expect(sum.leastRegrets <= sum.expectedRegrets + 1e-9)
    if kernel == .introspection { #expect(sum.leastMoves < 1e-9) }
    if kernel == .plain { #expect(sum.leastRegrets > 0.1) }
  }

  /// An offence printed as a scenario fails at the offence's step.
  @Test func anOffenceIsAFileThatFails() throws {
    var sum = Measured()
    for seed in seeds { Measure.day(seed, .plain, into: &sum) }
    guard let regret = sum.offences.first(where: { $0.kind == .regret }) else { return }
    let failures = ScenarioPlayer.play(try Scenario(json: Array(regret.scenario.text.utf8)))
    #expect(failures.contains { $0.path.hasPrefix("$.steps[\(regret.step)]") })
  }

  @Test func renumberingIsAnotherMachineForTheKernelAlone() {
    let day = RandomDay(seed: 3, .plain).scenario
    let order = Array(day.devices.indices.reversed())
    let other = day.renumbered(order: order, minors: order)
    #expect(other.devices.map(\.id) == day.devices.map(\.id).reversed())
    #expect(other.reaches.count == day.reaches.count)
    let back = other.renumbered(
      order: order,
      minors: other.devices.indices.map { index in
        Int(day.devices[order[index]].card!)
      })
    #expect(back.text == day.text)
  }
}
