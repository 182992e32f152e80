// Plays a scenario's steps in-process: the real engine on the simulated machine, on a clock that
// only moves when a step says so, or when an answer is still waited for.

internal import Engine
internal import Kernel
internal import Linux
package import Placement

/// One expectation that did not hold, and what came instead.
package struct ScenarioFailure: Sendable, Equatable, CustomStringConvertible {
  /// As `$.steps[2].expect.device`.
  package var path: String
  package var expected: String
  package var got: String
  /// The engine's own, where it gave an answer.
  package var reason = ""

  package var description: String {
    "\(path): expected \(expected), got \(got)" + (reason.isEmpty ? "" : " (\(reason))")
  }
}

/// What a `place` came to.
package struct ScenarioAnswer {
  package var step: Int
  /// Index; nil: no device.
  package var device: Int?
  package var answer: Answer
  package var explanation: Explanation
}

package final class ScenarioPlayer {
  private let scenario: Scenario
  private let clock = VirtualClock()
  private let kernel: SimulatedKernel
  private let prober: SimulatedProber
  private let engine: QueryEngine
  private var failures: [ScenarioFailure] = []
  /// For those who watch.
  package var onAnswer: ((ScenarioAnswer) -> Void)?

  package init(_ scenario: Scenario) {
    self.scenario = scenario
    kernel = SimulatedKernel(scenario)
    prober = SimulatedProber(kernel, time: clock)
    var settings = EngineSettings()
    settings.kernel = simulatedKernelVersion
    engine = QueryEngine(
      devices: kernel, reader: kernel, prober: prober, time: clock, settings: settings)
  }

  /// Empty: all that the scenario expects holds.
  package static func play(_ scenario: Scenario) -> [ScenarioFailure] {
    ScenarioPlayer(scenario).play()
  }

  /// Once a player.
  package func play() -> [ScenarioFailure] {
    do { try engine.start() } catch { fail("$", "a start", got: "\(error)") }
    for (index, step) in scenario.steps.enumerated() {
      let path = "$.steps[\(index)]"
      act(step, index, path)
      prober.runPending()
      checkTotals(step.expect, path)
    }
    return failures
  }

  private func act(_ step: Step, _ index: Int, _ path: String) {
    switch step.action {
    case .place(let question): place(question, expecting: step.expect, index, path)
    case .migrate(let buffer, let memory): kernel.migrate(buffer, to: memory)
    case .advance(let duration): advance(by: duration)
    case .unplug(let device): kernel.unplug(device)
    case .plug(let device): kernel.plug(device)
    case .suspend(let device): kernel.suspend(device)
    case .resume(let device): kernel.resume(device)
    case .release(let device): release(device, expecting: step.expect, path)
    case .unrelease(let device): engine.unrelease(kernel.devices[device].description.stableID)
    case .hang(let device): kernel.hang(device)
    case .look: break
    }
  }

  // MARK: place

  private func place(
    _ question: Question, expecting expect: Expectations, _ index: Int, _ path: String
  ) {
    let query: Query
    let held: [HeldBuffer]
    do throws(Errno) {
      (query, held) = try buffers(of: question)
    } catch {
      return fail(path, "buffers", got: "\(error)")
    }
    switch ask(query, holding: held) {
    case .success(let answer):
      let explanation = engine.explain(query, answer)
      let device = scenario.devices.firstIndex { $0.number == answer.device }
      onAnswer?(
        ScenarioAnswer(step: index, device: device, answer: answer, explanation: explanation))
      check(answer, from: device, explanation, expect, path)
      checkUse(of: query.planes, on: device, answer, explanation, path)
      if answer.cached && engine.wantsRefresh(query) {
        engine.answer(query, holding: held) { _ in }
      }
    case .failure(let error):
      if expect.error != error.word { fail(path, expect.error ?? "an answer", got: error.word) }
    case nil: fail(path, expect.error ?? "an answer", got: "none")
    }
  }

  /// The planes' fds, each dma-buf once, as the bus room would have taken them over.
  private func buffers(of question: Question) throws(Errno) -> (Query, [HeldBuffer]) {
    var planes = Planes()
    var held: [HeldBuffer] = []
    for index in question.buffers {
      let model = scenario.buffers[index]
      for plane in 0..<model.planes {
        let fd = try makeBuffer(model.id, plane: plane)
        guard let identity = kernel.identity(of: fd.rawValue) else { throw Errno(22) }
        planes.append(identity)
        if held.contains(where: { $0.identity == identity }) { continue }
        let buffer = HeldBuffer(identity: identity, fd: fd)
        kernel.watch(buffer)
        held.append(buffer)
      }
    }
    return (Query(planes: planes, hints: question.hints), held)
  }

  /// nil: no answer came however long it was waited for.
  private func ask(_ query: Query, holding held: [HeldBuffer]) -> Result<Answer, EngineError>? {
    if let answer = engine.answerNow(query) { return .success(answer) }
    var result: Result<Answer, EngineError>?
    engine.answer(query, holding: held) { result = $0 }
    wait { result != nil }
    return result
  }

  // MARK: time

  private func wait(until done: () -> Bool) {
    prober.runPending()
    while !done(), let due = prober.nextDue {
      clock.advance(to: due)
      prober.runPending()
    }
  }

  private func advance(by duration: Milliseconds) {
    let then = clock.now + duration
    while let due = prober.nextDue, due <= then {
      clock.advance(to: due)
      prober.runPending()
    }
    clock.advance(to: then)
  }

  private func release(_ device: Int, expecting expect: Expectations, _ path: String) {
    var closed: Bool?
    do throws(EngineError) {
      try engine.release(scenario.devices[device].number) { closed = $0 }
    } catch {
      if expect.error != error.word { fail(path, expect.error ?? "a release", got: error.word) }
      return
    }
    wait { closed != nil }
    let outcome = closed.map { $0 ? "a release" : "Failed" } ?? "nothing"
    let expected = expect.error ?? "a release"
    if outcome != expected { fail(path, expected, got: outcome) }
  }

  // MARK: what is expected

  private func check(
    _ answer: Answer, from device: Int?, _ explanation: Explanation, _ expect: Expectations,
    _ path: String
  ) {
    func compare<T: Equatable>(_ key: String, _ expected: T?, _ got: T, _ word: (T) -> String) {
      guard let expected, expected != got else { return }
      fail("\(path).expect.\(key)", word(expected), got: word(got), explanation.reason)
    }
    if let error = expect.error { fail(path, error, got: "an answer", explanation.reason) }
    compare("device", expect.device, device) {
      $0.map { self.scenario.devices[$0].id } ?? "no device"
    }
    compare("access", expect.access, answer.access, \.word)
    compare("rule", expect.rule, explanation.rule, \.self)
    compare("cached", expect.cached, answer.cached) { "\($0)" }
    if let floor = expect.confidence, answer.confidence < floor {
      fail(
        "\(path).expect.confidence", "at least \(floor.word)", got: answer.confidence.word,
        explanation.reason)
    }
  }

  /// No answer may send a compositor to a device that hangs at use, whatever is expected.
  private func checkUse(
    of planes: Planes, on device: Int?, _ answer: Answer, _ explanation: Explanation, _ path: String
  ) {
    guard let device, answer.access != .unreachable else { return }
    for plane in 0..<planes.count where kernel.useHangs(planes[plane], on: device) {
      let id = scenario.devices[device].id
      fail(path, "a device that can use it", got: "\(id), which hangs", explanation.reason)
    }
  }

  private func checkTotals(_ expect: Expectations, _ path: String) {
    let totals = [
      ("moves", expect.moves, kernel.harm.moves), ("wakes", expect.wakes, kernel.harm.wakes),
      ("masters", expect.masters, kernel.harm.masters), ("held", expect.held, kernel.held),
    ]
    for (key, expected, got) in totals {
      guard let expected, expected != got else { continue }
      fail("\(path).expect.\(key)", "\(expected)", got: "\(got)")
    }
  }

  private func fail(_ path: String, _ expected: String, got: String, _ reason: String = "") {
    failures.append(ScenarioFailure(path: path, expected: expected, got: got, reason: reason))
  }
}

extension EngineError {
  /// The last part of the D-Bus error's name.
  fileprivate var word: String {
    switch self {
    case .unknownDevice: "UnknownDevice"
    case .released: "Released"
    case .limitsExceeded: "LimitsExceeded"
    }
  }
}
