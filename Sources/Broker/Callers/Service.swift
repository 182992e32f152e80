// The daemon behind the D-Bus interface: joins the bus to the engine, keeps what belongs to
// callers.

internal import Bus
internal import CShims
internal import Engine
internal import Glibc
internal import Linux
internal import Placement
internal import Ports

package let primedVersion = Names.version

/// What the service needs of the bus connection.
protocol Connections: AnyObject {
  /// Whether `left` will be called for it.
  func isTracked(_ caller: Caller) -> Bool
  func whenIdentified(_ caller: Caller, _ then: @escaping (UInt32?) -> Void)
  func placementChanged(_ answer: Answer, to caller: Caller)
  func deviceReleasing(_ device: DeviceNumber)
  /// Whose connection it is; nil: not known yet.
  func user(of caller: Caller) -> uid_t?
  var refusals: UInt64 { get }
}

extension BusConnection: Connections {}

final class Service: BrokerService {
  let engine: QueryEngine
  private let reader: any BufferReader
  private let guards: ReleaseGuards
  private var subscriptions = Subscriptions() {
    didSet { subscribed = subscriptions.count }
  }
  /// A copy of `subscriptions.count`: it is read at every question, and reading `subscriptions`
  /// costs a check for exclusive access.
  private var subscribed = 0
  private let quotas: Quotas
  private let clients: ClientProcesses
  private let receivedFDs: ReceivedFDs
  let looks: Looks
  private let seatUsers: SeatUsers
  private var freshLooks = FreshLooks()
  /// Set once the bus is there.
  unowned var connection: (any Connections)?
  private let sources: (NoMove) -> [String]

  /// - Parameter sources: the sources of evidence in use, strongest first.
  init(
    engine: QueryEngine, reader: any BufferReader, loop: EventLoop,
    seatUsers: SeatUsers = SeatUsers(), sources: @escaping (NoMove) -> [String]
  ) throws(Errno) {
    self.engine = engine
    self.seatUsers = seatUsers
    self.reader = reader
    self.sources = sources
    guards = ReleaseGuards(loop: loop)
    clients = ClientProcesses(loop: loop) { engine.forget(client: $0) }
    let fdLimit = primed_fd_limit()
    guard fdLimit > 0 else { throw Errno.last }
    quotas = Quotas(fdLimit: Int(fdLimit))
    receivedFDs = try ReceivedFDs(loop: loop)
    looks = try Looks(loop: loop)
    engine.onLooked = { [unowned self] in looked(at: $0) }
  }

  func identity(of fd: Int32) -> BufferIdentity? { reader.identity(of: fd) }

  func received(from caller: Caller, of user: uid_t?) -> Bool {
    receivedFDs.charge(to: caller, of: user)
  }

  // MARK: Questions

  func placeNow(
    _ query: Query, for caller: Caller, track: () -> Void, hold: () -> [HeldBuffer]?
  ) -> Answer? {
    if query.hints.fresh, let user = connection?.user(of: caller), isTooSoon(query, user) {
      return placeNow(query.asIfNotFresh, for: caller, track: track, hold: hold)
    }
    let answer = engine.answerNow(query)
    // Most answers are settled, and nobody waits for a change: no copy of the answer is made then.
    let isOpen = answer?.recheck != 0 || answer?.stale != false
    guard isOpen || subscribed > 0, let answer else { return answer }
    if answer.isOpen { track() }
    told(caller, query, answer)
    if let again = engine.refresh(of: query, after: answer) { look(again, for: caller, hold) }
    return answer
  }

  /// Whether a `fresh` question is answered by the last look: one at this buffer is young enough,
  /// or the user has forced too many.
  private func isTooSoon(_ query: Query, _ user: uid_t) -> Bool {
    if user == 0 { return false }
    return engine.wasLookedAt(query, within: Limits.freshLookAge)
      || !freshLooks.take(user, at: bootMilliseconds())
  }

  /// Looks again behind an old answer that was sent. A change is sent as PlacementChanged. At a
  /// limit nothing is done until the next question.
  private func look(_ again: Query, for caller: Caller, _ hold: () -> [HeldBuffer]?) {
    guard let buffers = hold() else { return }
    look(again, holding: buffers, for: caller) { _ in }
  }

  func advise(_ users: [AdviceUser], _ hints: Hints) -> Result<Advice, BusError> {
    for user in users where engine.device(user.device) == nil {
      return .failure(.unknownDevice(user.device))
    }
    return .success(engine.advise(users, hints))
  }

  func place(
    _ query: Query, holding buffers: [HeldBuffer], for caller: Caller,
    then: @escaping (Result<Answer, BusError>) -> Void
  ) {
    look(query, holding: buffers, for: caller) { [self] result in
      then(result)
      if case .success(let answer) = result { told(caller, query, answer) }
    }
  }

  private func look(
    _ query: Query, holding buffers: [HeldBuffer], for caller: Caller,
    then: @escaping (Result<Answer, BusError>) -> Void
  ) {
    let load = Load(questions: 1, fds: buffers.count)
    receivedFDs.note(buffers, of: caller, connection?.user(of: caller))
    guard quotas.take(load, for: caller), let connection else { return then(.failure(.tooMuch)) }
    let wasKnown = connection.user(of: caller) != nil
    connection.whenIdentified(caller) { [self] user in
      guard let user, !receivedFDs.hasTooManyStuck(user) else {
        quotas.giveBack(load, of: caller)
        return then(.failure(user == nil ? .tooManyConnections : .stuckFiles))
      }
      looks.add(of: user) { [self] in
        var query = charged(query, to: user, caller)
        // If the user was known before, placeNow has checked this.
        if query.hints.fresh, !wasKnown, isTooSoon(query, user) { query.hints.fresh = false }
        engine.answer(query, holding: buffers) { [self] result in
          quotas.giveBack(load, of: caller)
          then(result.mapError { _ in .tooMuch })
        }
      }
    }
  }

  func onATurn(of caller: Caller, _ work: @escaping () -> Void) {
    let load = Load(questions: 1)
    guard quotas.take(load, for: caller) else { return work() }
    looks.add(of: connection?.user(of: caller) ?? .max) { [quotas] in
      quotas.giveBack(load, of: caller)
      work()
    }
  }

  /// The question for the engine: with the user whose share of the cache it takes, and without what
  /// the user may not do.
  private func charged(_ query: Query, to user: uid_t, _ caller: Caller) -> Query {
    var query = query
    query.hints.user = user
    query.hints.touchable = touchable(by: user)
    if query.hints.touchable.isEmpty {
      query.hints.wake = false
      query.hints.fresh = false
    }
    let fd = Load(fds: 1)
    let isWatched = clients.watch(
      query.hints.clientPID, take: { quotas.take(fd, for: caller) },
      giveBack: { [quotas] in quotas.giveBack(fd, of: caller) })
    if !isWatched { query.hints.clientPID = 0 }
    return query
  }

  private func touchable(by user: uid_t) -> DeviceSet {
    seatUsers.devices(
      of: user, in: engine.generation,
      among: engine.devices.map { ($0.slot, $0.description.seat) })
  }

  /// The engine's refusals of a release.
  private func busError(_ error: EngineError, _ device: DeviceNumber) -> BusError {
    switch error {
    case .limitsExceeded: .tooMuch
    case .unknownDevice: .unknownDevice(device)
    case .released: .released(device)
    }
  }

  // MARK: Subscriptions

  private func told(_ caller: Caller, _ query: Query, _ answer: Answer) {
    let one = Load(subscriptions: 1)
    let more = subscriptions.told(caller.id, query, answer) {
      connection?.isTracked(caller) == true && quotas.take(one, for: caller)
    }
    if more < 0 { quotas.giveBack(one, of: caller) }
  }

  func renewed(_ query: Query, _ answer: Answer, for caller: Caller) -> Answer {
    guard answer.isOpen, var new = engine.reconsider(query) else { return answer }
    new.cached = answer.cached
    told(caller, query, new)
    return new
  }

  private func looked(at buffer: BufferIdentity) {
    let news = subscriptions.looked(at: buffer) { engine.reconsider($0) }
    for (asker, answer) in news.changes {
      connection?.placementChanged(answer, to: Caller(id: asker))
    }
    for asker in news.ended { quotas.giveBack(Load(subscriptions: 1), of: Caller(id: asker)) }
  }

  func identified(_ caller: Caller, as uid: uid_t) -> Bool {
    receivedFDs.identified(caller, as: uid)
    return quotas.identify(caller, as: uid)
  }

  func explain(_ query: Query, _ answer: Answer) -> Explanation {
    guard let user = connection?.user(of: Caller(id: query.hints.asker)) else {
      return engine.explain(query, answer)
    }
    var query = query
    query.hints.touchable = touchable(by: user)
    var text = engine.explain(query, answer)
    if let ignored = ignored(query.hints) { text.evidence.append(ignored) }
    return text
  }

  /// A line of evidence about hints that are ignored, because of the seats the user is active on.
  private func ignored(_ hints: Hints) -> String? {
    if hints.touchable.isEmpty {
      return hints.wake || hints.fresh
        ? "wake and fresh are ignored: your user is not active on the seat of any device" : nil
    }
    let others = engine.devices.filter { !hints.touchable.contains($0.slot) }
    guard hints.wake, !others.isEmpty else { return nil }
    let names = others.compactMap { $0.description.node?.path }.joined(separator: ", ")
    return "wake is ignored for \(names): your user is not active on the device's seat"
  }

  // MARK: Callers

  func left(_ caller: Caller) {
    quotas.giveBack(Load(subscriptions: subscriptions.forget(caller.id)), of: caller)
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

  /// A caller's text for the log: without line breaks, it can't fake a line of primed's.
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

  /// All counters for root and primed's own user. Other users get only what is held for themselves,
  /// since the totals would tell what others ask and when.
  func statistics(for user: UInt32) -> [(name: StaticString, value: UInt64)] {
    if user == 0 || user == geteuid() {
      return engine.statistics + [
        ("refused-calls", connection?.refusals ?? 0),
        ("watched-buffers", UInt64(subscribed)),
      ]
    }
    let load = quotas.load(of: user)
    return [
      ("cached-buffers", UInt64(engine.cachedBuffers(of: user))),
      ("pending-queries", UInt64(load.questions)), ("watched-buffers", UInt64(load.subscriptions)),
    ]
  }
}
