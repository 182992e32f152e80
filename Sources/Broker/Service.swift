// The daemon behind the D-Bus interface: joins the bus to the engine, keeps what belongs to callers.

internal import Bus
internal import Engine
internal import Kernel
internal import Linux
internal import Placement

package let primedVersion = "0.1.0"

final class Service: BrokerService {
  let engine: QueryEngine
  private let reader: any BufferReader
  private let guards: Guards
  private var defaults: [Caller: Hints] = [:]
  private var pending: [Caller: Int] = [:]
  private var watches = Watches()
  /// Set once the bus is there.
  weak var connection: BusConnection?
  /// The sources of evidence in use, strongest first.
  let evidence: [String]

  /// More than the D-Bus client library allows itself (FLOOR.md), so that only a flood meets it.
  private let pendingPerCaller = 256

  init(engine: QueryEngine, reader: any BufferReader, loop: EventLoop, evidence: [String]) {
    self.engine = engine
    self.reader = reader
    self.evidence = evidence
    guards = Guards(loop: loop)
    engine.onRefreshed = { [unowned self] in refreshed($0) }
  }

  func identity(of fd: Int32) -> BufferIdentity? { reader.identity(of: fd) }

  func completed(_ hints: Hints, for caller: Caller) -> Hints {
    if defaults.isEmpty { return hints }
    return defaults[caller].map(hints.filled(from:)) ?? hints
  }

  // MARK: Questions

  func placeNow(_ query: Query, for caller: Caller) -> Answer? { engine.answerNow(query) }

  func isStale(_ query: Query) -> Bool { engine.wantsRefresh(query) }

  func place(
    _ query: Query, holding buffers: [HeldBuffer], for caller: Caller,
    then: @escaping (Result<Answer, BusError>) -> Void
  ) {
    guard pending[caller, default: 0] < pendingPerCaller else {
      return then(
        .failure(
          .limitsExceeded(
            "\(pendingPerCaller) questions of this connection are under way; wait for answers")))
    }
    pending[caller, default: 0] += 1
    engine.answer(query, holding: buffers) { [self] result in
      settle(caller)
      switch result {
      case .success(let answer):
        watches.note(caller, query, answer)
        then(.success(answer))
      case .failure(let error): then(.failure(busError(error)))
      }
    }
  }

  private func settle(_ caller: Caller) {
    pending[caller]! -= 1
    if pending[caller] == 0 { pending[caller] = nil }
  }

  private func busError(_ error: EngineError) -> BusError {
    switch error {
    case .limitsExceeded:
      .limitsExceeded("too many questions are under way; go on with your own default")
    case .unknownDevice: .failed("the device went away")
    case .released: .failed("the device is released")
    }
  }

  func explain(_ query: Query, _ answer: Answer) -> Explanation { engine.explain(query, answer) }

  /// Asks again for those who were told something else.
  private func refreshed(_ buffer: BufferIdentity) {
    for watch in watches.watching(buffer) {
      var query = watch.query
      query.hints.fresh = false
      guard let answer = engine.answerNow(query) else { continue }
      let (old, new) = (watch.answer, answer)
      watches.note(watch.caller, query, answer)
      if (old.device, old.access, old.confidence) != (new.device, new.access, new.confidence) {
        connection?.placementChanged(answer, to: watch.caller)
      }
    }
  }

  // MARK: Callers

  func setDefaults(_ hints: Hints, for caller: Caller) { defaults[caller] = hints }

  func left(_ caller: Caller) {
    defaults[caller] = nil
    watches.forget(caller)
  }

  // MARK: Release

  func release(
    _ device: DeviceNumber, why: String, then: @escaping (Result<OwnedGuard, BusError>) -> Void
  ) {
    guard let view = engine.device(device), let node = view.description.node else {
      return then(.failure(.unknownDevice(device)))
    }
    guard view.state != .released, !guards.isHeld(node.number) else {
      return then(.failure(.released(device)))
    }
    connection?.deviceReleasing(node.number)
    Log.write(
      .notice, "\(node.path) released: \(why)", [("DEVICE", view.description.stableID)])
    do throws(EngineError) {
      try engine.release(node.number) { [self] in handGuard(node, then) }
    } catch {
      then(.failure(busError(error)))
    }
  }

  private func handGuard(
    _ node: Node, _ then: (Result<OwnedGuard, BusError>) -> Void
  ) {
    do throws(Errno) {
      let hold = try guards.make(for: node.number) { [self] in
        engine.unrelease(node.number)
        Log.write(.notice, "\(node.path) is back")
      }
      then(.success(hold))
    } catch {
      engine.unrelease(node.number)
      then(.failure(.failed("no guard: \(error)")))
    }
  }

  // MARK: Properties

  var version: String { primedVersion }
  var generation: UInt64 { engine.generation }
  var primaryDevice: DeviceNumber { engine.primary?.description.node?.number ?? .none }
  var noMove: NoMove { engine.noMove }
  var statistics: [(name: StaticString, value: UInt64)] {
    engine.statistics + [("watched-buffers", UInt64(watches.count))]
  }
}
