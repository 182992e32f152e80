// Compares a scenario's expectations with what happened.

internal import Placement

/// One expectation that did not hold, and what happened instead.
package struct ScenarioFailure: Sendable, Equatable, CustomStringConvertible {
  /// For example `$.steps[2].expect.device`.
  package var path: String
  package var expected: String
  package var got: String
  /// The engine's explanation, if it gave an answer.
  package var reason = ""

  package var description: String {
    "\(path): expected \(expected), got \(got)" + (reason.isEmpty ? "" : " (\(reason))")
  }
}

struct ExpectationChecks {
  private(set) var failures: [ScenarioFailure] = []
  private let scenario: Scenario

  init(_ scenario: Scenario) { self.scenario = scenario }

  mutating func fail(
    _ path: String, _ expected: String, got: String, _ reason: String = ""
  ) {
    failures.append(ScenarioFailure(path: path, expected: expected, got: got, reason: reason))
  }

  private mutating func compare<T: Equatable>(
    _ path: String, _ expected: T?, _ got: T, _ reason: String = "", _ word: (T) -> String
  ) {
    guard let expected, expected != got else { return }
    fail(path, word(expected), got: word(got), reason)
  }

  // MARK: an answer

  mutating func answer(
    _ answer: Answer, from device: Int?, _ explanation: Explanation, _ expect: Expectations,
    _ path: String
  ) {
    let (at, why) = ("\(path).expect", explanation.reason)
    if let error = expect.error { fail(path, error, got: "an answer", why) }
    compare("\(at).device", expect.device, device, why, id)
    compare("\(at).access", expect.access, answer.access, why, \.word)
    compare("\(at).rule", expect.rule, explanation.rule, why, \.self)
    compare("\(at).cached", expect.cached, answer.cached, why) { "\($0)" }
    compare("\(at).recheck", expect.recheck, answer.recheck != 0, why) { "\($0)" }
    if let floor = expect.confidence, answer.confidence < floor {
      fail("\(at).confidence", "at least \(floor.word)", got: answer.confidence.word, why)
    }
    if let home = expect.home {
      compare("\(at).home", .some(home), answer.verdicts?.home.flatMap(index), why, id)
    }
    for verdict in expect.verdicts ?? [] {
      let got = answer.verdicts.flatMap { self.verdict(of: verdict.device, in: $0) }
      compare(
        "\(at).verdicts.\(scenario.devices[verdict.device].id)", .some(verdict), got, why, words)
    }
  }

  private func id(_ device: Int?) -> String {
    device.map { scenario.devices[$0].id } ?? "no device"
  }

  private func index(_ number: DeviceNumber) -> Int? {
    scenario.devices.firstIndex { $0.number == number }
  }

  private func verdict(of device: Int, in verdicts: Verdicts) -> Expectations.Verdict? {
    var found: Expectations.Verdict?
    verdicts.forEach { number, access, abilities in
      if number == scenario.devices[device].number {
        found = Expectations.Verdict(device: device, access: access, abilities: abilities)
      }
    }
    return found
  }

  private func words(_ verdict: Expectations.Verdict?) -> String {
    guard let verdict else { return "none" }
    let abilities = Usage.words.filter { verdict.abilities.contains($0.value) }
    return ([verdict.access.word] + abilities.map { "\($0.key)" }).joined(separator: ", ")
  }

  /// No answer may name a device that hangs at use, whatever the step expects.
  mutating func use(
    on device: Int?, hangs: Bool, _ answer: Answer, _ explanation: Explanation, _ path: String
  ) {
    guard hangs, answer.access != .unreachable else { return }
    fail(path, "a device that can use it", got: "\(id(device)), which hangs", explanation.reason)
  }

  // MARK: advice

  mutating func advice(_ advice: Advice, _ expect: Expectations, _ path: String) {
    if let error = expect.error { fail(path, error, got: "advice") }
    guard let expected = expect.places else { return }
    let got = advice.places.map { place in
      Expectations.Place(
        device: index(place.device) ?? -1, memory: place.memory, accesses: place.accesses)
    }
    let isPrefix = expected.isEmpty ? got.isEmpty : got.starts(with: expected)
    if !isPrefix { fail("\(path).expect.places", words(expected), got: words(got)) }
  }

  private func words(_ places: [Expectations.Place]) -> String {
    if places.isEmpty { return "none" }
    return places.map { place in
      let device = scenario.devices.indices.contains(place.device) ? id(place.device) : "?"
      let accesses = place.accesses.map(\.word).joined(separator: ", ")
      return "\(device) \(place.memory.word) [\(accesses)]"
    }.joined(separator: "; ")
  }

  // MARK: after a step

  mutating func totals(
    _ harm: HarmDone, held: Int, _ expect: Expectations, _ path: String
  ) {
    let totals = [
      ("moves", expect.moves, harm.moves), ("wakes", expect.wakes, harm.wakes),
      ("masters", expect.masters, harm.masters), ("held", expect.held, held),
    ]
    for (key, expected, got) in totals {
      compare("\(path).expect.\(key)", expected, got) { "\($0)" }
    }
  }

  /// - Parameter buffers: those for which PlacementChanged was sent.
  mutating func changed(_ buffers: [Int], _ expect: Expectations, _ path: String) {
    guard let expected = expect.changed else { return }
    let scenario = scenario
    compare("\(path).expect.changed", Set(expected), Set(buffers)) { set in
      set.isEmpty ? "none" : set.sorted().map { scenario.buffers[$0].id }.joined(separator: ", ")
    }
  }
}
