// Plays a scenario's steps in-process: the real engine on the simulated machine, on a clock that
// moves only when a step says so or while an answer is awaited.

internal import Engine
internal import Linux
package import Placement
internal import Ports

/// The result of a `place`.
package struct ScenarioAnswer {
  package var step: Int
  package var question: Question
  /// Index; nil: no device.
  package var device: Int?
  package var answer: Answer
  package var explanation: Explanation
}

package final class ScenarioPlayer {
  package let scenario: Scenario
  package let kernel: SimulatedKernel
  private let clock = VirtualClock()
  private var prober: SimulatedProber
  private var engine: QueryEngine
  private var checks: ExpectationChecks
  private var defaults = Hints()
  private var subscriptions = Subscriptions()
  /// Buffers for which PlacementChanged was sent during this step.
  private var changed: [BufferIdentity] = []
  /// Devices that are released now.
  package private(set) var released: Set<Int> = []
  /// Consecutive questions are all asked before the first is answered, as by PlaceMany.
  package var asksTogether = false
  /// For observers.
  package var onAnswer: ((ScenarioAnswer) -> Void)?
  package var onAdvice: ((Int, [AdviceUser], Advice) -> Void)?

  package init(_ scenario: Scenario) {
    self.scenario = scenario
    kernel = SimulatedKernel(scenario, time: clock)
    checks = ExpectationChecks(scenario)
    (prober, engine) = Self.primed(on: kernel, clock)
  }

  /// primed after a start, when it knows nothing yet.
  private static func primed(
    on kernel: SimulatedKernel, _ clock: VirtualClock
  ) -> (SimulatedProber, QueryEngine) {
    let prober = SimulatedProber(kernel, time: clock)
    var settings = EngineSettings()
    settings.kernel = kernel.scenario.kernel.version
    return (
      prober,
      QueryEngine(devices: kernel, reader: kernel, prober: prober, time: clock, settings: settings)
    )
  }

  /// Returns the expectations that failed.
  package static func play(_ scenario: Scenario) -> [ScenarioFailure] {
    ScenarioPlayer(scenario).play()
  }

  /// What was answered and what happened lately, as the daemon tells it in its log.
  package var told: [Told] { engine.told }

  /// May be called once.
  package func play() -> [ScenarioFailure] {
    start("$")
    for (index, step) in scenario.steps.enumerated() {
      let path = "$.steps[\(index)]"
      changed = []
      if asksTogether { askWhatFollows(index) }
      act(step, index, path)
      prober.runPending()
      checks.totals(kernel.harm, held: kernel.held, step.expect, path)
      checks.changed(changed.compactMap(kernel.buffer(of:)), step.expect, path)
    }
    return checks.failures
  }

  private func start(_ path: String) {
    engine.onLooked = { [unowned self] in self.looked(at: $0) }
    do throws(Errno) { try engine.start() } catch {
      checks.fail(path, "a start", got: "\(error)")
    }
  }

  private func act(_ step: Step, _ index: Int, _ path: String) {
    switch step.action {
    case .place(let question): place(question, expecting: step.expect, index, path)
    case .advise(let users, let hints): advise(users, hints, expecting: step.expect, index, path)
    case .defaults(let hints): defaults = hints
    case .migrate(let buffer, let memory): kernel.migrate(buffer, to: memory)
    case .advance(let duration): advance(by: duration)
    case .device(let event, let device): kernel.play(event, on: device)
    case .release(let device): release(device, expecting: step.expect, path)
    case .unrelease(let device):
      released.remove(device)
      engine.unrelease(kernel.devices[device].description.stableID)
    case .restart: restart(path)
    case .look: break
    }
  }

  private func restart(_ path: String) {
    subscriptions = Subscriptions()
    defaults = Hints()
    released = []
    (prober, engine) = Self.primed(on: kernel, clock)
    start(path)
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
      return checks.fail(path, "buffers", got: "\(error)")
    }
    switch early.removeValue(forKey: index) ?? ask(query, holding: held) {
    case .success(let answer):
      let explanation = engine.explain(query, answer)
      let device = scenario.devices.firstIndex { $0.number == answer.device }
      checks.answer(answer, from: device, explanation, expect, path)
      let hangs = (0..<query.planes.count).contains { plane in
        device.map { kernel.useHangs(query.planes[plane], on: $0) } ?? false
      }
      checks.use(on: device, hangs: hangs, answer, explanation, path)
      onAnswer?(
        ScenarioAnswer(
          step: index, question: question, device: device, answer: answer,
          explanation: explanation))
      follow(query, held, answer)
    case .failure(let error):
      if expect.error != error.word {
        checks.fail(path, expect.error ?? "an answer", got: error.word)
      }
    case nil: checks.fail(path, expect.error ?? "an answer", got: "none")
    }
  }

  /// An asker whose answer may change is told of the change; a stale answer is looked behind.
  private func follow(_ query: Query, _ held: [HeldBuffer], _ answer: Answer) {
    _ = subscriptions.told(0, query, answer) { true }
    if let again = engine.refresh(of: query, after: answer) {
      engine.answer(again, holding: held) { _ in }
    }
  }

  private func looked(at buffer: BufferIdentity) {
    let news = subscriptions.looked(at: buffer) { engine.reconsider($0) }
    changed += news.changes.map(\.answer.buffer)
  }

  /// The planes' fds, each DMA-BUF once, as the bus room would pass them.
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
    return (Query(planes: planes, hints: question.hints.filled(from: defaults)), held)
  }

  /// nil: no answer came.
  private func ask(_ query: Query, holding held: [HeldBuffer]) -> Result<Answer, EngineError>? {
    if let answer = engine.answerNow(query) { return .success(answer) }
    var result: Result<Answer, EngineError>?
    engine.answer(query, holding: held) { result = $0 }
    wait { result != nil }
    return result
  }

  /// Answers to the questions of later steps.
  private var early: [Int: Result<Answer, EngineError>] = [:]

  /// Asks the questions of this step and the following ones, up to the next step of another kind.
  private func askWhatFollows(_ index: Int) {
    guard early[index] == nil else { return }
    var waiting = 0
    for (step, action) in scenario.steps[index...].map(\.action).enumerated() {
      guard case .place(let question) = action, let (query, held) = try? buffers(of: question)
      else { break }
      if let answer = engine.answerNow(query) {
        early[index + step] = .success(answer)
        continue
      }
      waiting += 1
      engine.answer(query, holding: held) { [unowned self] result in
        self.early[index + step] = result
        waiting -= 1
      }
    }
    wait { waiting == 0 }
  }

  // MARK: advise

  private func advise(
    _ users: [AdviceUser], _ hints: Hints, expecting expect: Expectations, _ index: Int,
    _ path: String
  ) {
    for user in users where engine.device(user.device) == nil {
      let got = EngineError.unknownDevice.word
      if expect.error != got { checks.fail(path, expect.error ?? "advice", got: got) }
      return
    }
    let advice = engine.advise(users, hints)
    onAdvice?(index, users, advice)
    checks.advice(advice, expect, path)
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
      if expect.error != error.word {
        checks.fail(path, expect.error ?? "a release", got: error.word)
      }
      return
    }
    wait { closed != nil }
    if closed == true { released.insert(device) }
    let outcome = closed.map { $0 ? "a release" : "Failed" } ?? "nothing"
    let expected = expect.error ?? "a release"
    if outcome != expected { checks.fail(path, expected, got: outcome) }
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
