// The daemon behind the D-Bus interface: joins the bus to the engine, keeps what belongs to callers.

internal import Bus
internal import CShims
internal import Engine
internal import Glibc
internal import Kernel
internal import Linux
internal import Placement

package let primedVersion = Names.version

final class Service: BrokerService {
  let engine: QueryEngine
  private let reader: any BufferReader
  private let guards: Guards
  private var defaults: [Caller: Hints] = [:]
  private var watches = Watches()
  private let quotas: Quotas
  private let clients: Clients
  /// Set once the bus is there.
  weak var connection: BusConnection?
  private let sources: (NoMove) -> [String]

  /// - Parameter sources: the sources of evidence in use, strongest first.
  init(
    engine: QueryEngine, reader: any BufferReader, loop: EventLoop,
    sources: @escaping (NoMove) -> [String]
  ) {
    self.engine = engine
    self.reader = reader
    self.sources = sources
    guards = Guards(loop: loop)
    clients = Clients(loop: loop) { engine.forget(client: $0) }
    quotas = Quotas(fdLimit: Int(primed_fd_limit()))
    engine.onRefreshed = { [unowned self] in refreshed($0) }
  }

  func identity(of fd: Int32) -> BufferIdentity? { reader.identity(of: fd) }

  func completed(_ hints: Hints, for caller: Caller) -> Hints {
    var hints = hints
    if !defaults.isEmpty, let own = defaults[caller] { hints = hints.filled(from: own) }
    hints.asker = caller.id
    return hints
  }

  // MARK: Questions

  func placeNow(_ query: Query, for caller: Caller) -> Answer? { engine.answerNow(query) }

  func isStale(_ query: Query) -> Bool { engine.wantsRefresh(query) }

  func place(
    _ query: Query, holding buffers: [HeldBuffer], for caller: Caller,
    then: @escaping (Result<Answer, BusError>) -> Void
  ) {
    let load = Load(questions: 1, fds: buffers.count)
    guard quotas.take(load, for: caller), let connection else { return then(.failure(.tooMuch)) }
    connection.whenIdentified(caller) { [self] user in
      guard let user else {
        quotas.giveBack(load, of: caller)
        return then(.failure(.tooManyConnections))
      }
      engine.answer(charged(query, to: user, caller), holding: buffers) { [self] result in
        quotas.giveBack(load, of: caller)
        then(result.mapError { _ in .tooMuch })
      }
    }
  }

  /// The question as the engine gets it: with the user who pays for what is remembered of it.
  private func charged(_ query: Query, to user: uid_t, _ caller: Caller) -> Query {
    var query = query
    query.hints.user = user
    let fd = Load(fds: 1)
    let isWatched = clients.watch(
      query.hints.clientPID, take: { quotas.take(fd, for: caller) },
      giveBack: { [quotas] in quotas.giveBack(fd, of: caller) })
    if !isWatched { query.hints.clientPID = 0 }
    return query
  }

  /// The engine's refusals of a release.
  private func busError(_ error: EngineError, _ device: DeviceNumber) -> BusError {
    switch error {
    case .limitsExceeded: .limitsExceeded("too much is under way; try again later")
    case .unknownDevice: .unknownDevice(device)
    case .released: .released(device)
    }
  }

  // MARK: Watches

  func watch(_ query: Query, _ answer: Answer, for caller: Caller) {
    guard connection?.isTracked(caller) == true else { return }
    let isNew = !watches.has(caller, answer.buffer)
    guard !isNew || quotas.take(Load(watches: 1), for: caller) else { return }
    watches.note(caller, query, answer)
  }

  func unwatch(_ buffer: BufferIdentity, for caller: Caller) {
    if watches.drop(caller, buffer) { quotas.giveBack(Load(watches: 1), of: caller) }
  }

  func identified(_ caller: Caller, as uid: uid_t) -> Bool { quotas.identify(caller, as: uid) }

  func explain(_ query: Query, _ answer: Answer) -> Explanation { engine.explain(query, answer) }

  /// Asks again for those who were told something else.
  private func refreshed(_ buffer: BufferIdentity) {
    for watch in watches.watching(buffer) {
      var query = watch.query
      query.hints.fresh = false
      guard let new = engine.answerNow(query) else { continue }
      let old = watch.answer
      if (old.device, old.access, old.confidence) != (new.device, new.access, new.confidence) {
        connection?.placementChanged(new, to: watch.caller)
      }
      if new.recheck == 0 {
        unwatch(buffer, for: watch.caller)
      } else {
        watches.note(watch.caller, query, new)
      }
    }
  }

  // MARK: Callers

  func setDefaults(_ hints: Hints, for caller: Caller) {
    defaults[caller] = hints == Hints() ? nil : hints
  }

  func left(_ caller: Caller) {
    defaults[caller] = nil
    quotas.giveBack(Load(watches: watches.forget(caller)), of: caller)
    quotas.left(caller)
  }

  // MARK: Release

  func release(
    _ device: DeviceNumber, why: String, for sender: String,
    then: @escaping (Result<OwnedGuard, BusError>) -> Void
  ) {
    guard let view = engine.device(device), let node = view.description.node else {
      return then(.failure(.unknownDevice(device)))
    }
    guard view.state != .released else {
      return then(.failure(.released(device)))
    }
    connection?.deviceReleasing(node.number)
    do throws(EngineError) {
      try engine.release(node.number) { [self] closed in
        guard closed else { return then(.failure(.failed(Self.hangs(node)))) }
        Log.write(
          .notice, "\(node.path) released for \(sender): \(Self.oneLine(why))",
          [("DEVICE", view.description.stableID), ("SENDER", sender)])
        handGuard(view.description, node, then)
      }
    } catch {
      then(.failure(busError(error, device)))
    }
  }

  /// A caller's words for the log, where they must not look like a line of ours.
  private static func oneLine(_ words: String) -> String {
    String(words.map { $0.isNewline ? " " : $0 })
  }

  private static func hangs(_ node: Node) -> String {
    "\(node.path) can't be closed now, since its driver does not answer; primed leaves it alone until"
      + " it does: release it again when its State is no longer `unresponsive`"
  }

  private func handGuard(
    _ device: DeviceDescription, _ node: Node, _ then: (Result<OwnedGuard, BusError>) -> Void
  ) {
    do throws(Errno) {
      let hold = try guards.make { [self] in
        engine.unrelease(device.stableID)
        Log.write(.notice, "\(node.path) is back", [("DEVICE", device.stableID)])
      }
      then(.success(hold))
    } catch {
      engine.unrelease(device.stableID)
      then(.failure(.failed("no guard: \(error)")))
    }
  }

  // MARK: Properties

  func stableID(of device: DeviceNumber) -> String {
    engine.devices.first { $0.description.node?.number == device }?.description.stableID ?? ""
  }

  var version: String { primedVersion }
  var generation: UInt64 { engine.generation }
  var primaryDevice: DeviceNumber { engine.primary?.description.node?.number ?? .none }
  var noMove: NoMove { engine.noMove }
  var evidence: [String] { sources(noMove) }
  var pairs: PairTable { engine.pairs }

  /// Root, and who runs primed, see all of it; others only what is held for themselves: what users ask
  /// and when is nobody else's business.
  func statistics(for user: UInt32) -> [(name: StaticString, value: UInt64)] {
    if user == 0 || user == geteuid() {
      return engine.statistics + [
        ("refused-calls", connection?.refusals ?? 0), ("watched-buffers", UInt64(watches.count)),
      ]
    }
    let load = quotas.load(of: user)
    return [
      ("cached-buffers", UInt64(engine.cachedBuffers(of: user))),
      ("pending-queries", UInt64(load.questions)), ("watched-buffers", UInt64(load.watches)),
    ]
  }
}

extension BusError {
  fileprivate static let tooMuch = BusError.limitsExceeded(
    "too much is under way for you, or for everybody; wait for answers, or use your own default")
}
