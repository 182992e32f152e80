// A caller whose answer changes is told of the change, in every order of question, observation,
// settling, join and refresh, and is told nothing else. The real service and engine on a simulated
// machine; only the bus is missing.

import Linux
import Placement
import Ports
import Simulation
import Testing

@testable import Broker
@testable import Bus
@testable import Engine

/// What each caller was told last of each buffer, by replies and by PlacementChanged.
private final class Callers: Connections {
  struct Key: Hashable {
    var caller: Caller
    var buffer: BufferIdentity
  }
  struct Told {
    var query: Query
    var answer: Answer
  }
  private(set) var told: [Key: Told] = [:]
  private(set) var changes = 0
  /// Messages that must not have been sent.
  private(set) var complaints: [String] = []

  func reply(_ answer: Answer, to query: Query, of caller: Caller) {
    told[Key(caller: caller, buffer: answer.buffer)] = Told(query: query, answer: answer)
  }

  func placementChanged(_ answer: Answer, to caller: Caller) {
    changes += 1
    let key = Key(caller: caller, buffer: answer.buffer)
    guard let last = told[key] else { return complaints.append("told who never asked") }
    if !last.answer.isOpen { complaints.append("told of a settled answer") }
    if !last.answer.isChanged(by: answer) { complaints.append("told the same again") }
    told[key]!.answer = answer
  }

  func isTracked(_ caller: Caller) -> Bool { true }
  /// root, for whom `fresh` always forces an observation.
  func user(of caller: Caller) -> UInt32? { 0 }
  func whenIdentified(_ caller: Caller, _ then: @escaping (UInt32?) -> Void) { then(0) }
  func deviceReleasing(_ device: DeviceNumber) {}
  let refusals: UInt64 = 0
}

/// A buffer of the discrete GPU that may be evicted, on a kernel that honours NO_MOVE; only
/// observations show where it lies.
private let evictable = """
  { "name": "evictable", "kernel": { "noMove": "honoured" },
    "devices": [
      { "id": "igpu", "driver": "i915", "card": 1, "render": 128, "bootVGA": true },
      { "id": "dgpu", "driver": "xe", "card": 0, "render": 129, "dedicated": 8589934592 } ],
    "reaches": [ ["igpu", "dgpu", "system"] ],
    "buffers": [ { "id": "game", "exporter": "dgpu", "home": "dedicated", "residency": "system" },
                 { "id": "film", "exporter": "dgpu", "home": "dedicated", "residency": "system",
                   "planes": 2 } ] }
  """

private final class Table {
  let clock = VirtualClock()
  let kernel: SimulatedKernel
  let prober: SimulatedProber
  let engine: QueryEngine
  let service: Service
  let callers = Callers()
  private let loop: EventLoop
  private var buffers: [String: [HeldBuffer]] = [:]

  init() throws {
    kernel = SimulatedKernel(try Scenario(json: Array(evictable.utf8)))
    prober = SimulatedProber(kernel, time: clock)
    engine = QueryEngine(devices: kernel, reader: kernel, prober: prober, time: clock)
    loop = try EventLoop()
    service = try Service(engine: engine, reader: kernel, loop: loop) { _ in [] }
    service.connection = callers
    try engine.start()
    prober.runPending()
    for (id, planes) in ["game": 1, "film": 2] {
      buffers[id] = try (0..<planes).map { plane in
        let fd = try makeBuffer(id, plane: plane)
        return HeldBuffer(identity: try #require(kernel.identity(of: fd.rawValue)), fd: fd)
      }
    }
  }

  /// As the bus room asks for a caller.
  func ask(_ id: String, by caller: Caller, _ edit: (inout Hints) -> Void = { _ in }) {
    let held = buffers[id]!
    var query = Query(planes: Planes(), hints: Hints())
    for buffer in held { query.planes.append(buffer.identity) }
    edit(&query.hints)
    query.hints.asker = caller.id
    defer { service.looks.beginNext() }
    if let answer = service.placeNow(query, for: caller, track: {}, hold: { held }) {
      return callers.reply(answer, to: query, of: caller)
    }
    service.place(query, holding: held, for: caller) { [callers] result in
      if case .success(let answer) = result { callers.reply(answer, to: query, of: caller) }
    }
  }

  /// Lets every observation in progress end.
  func finishLooks() {
    prober.runPending()
    while !engine.isIdle, let due = prober.nextDue {
      clock.advance(to: due)
      prober.runPending()
    }
  }

  func migrate(_ memory: Memory) {
    for buffer in 0..<2 { kernel.migrate(buffer, to: memory) }
  }

  /// The last answer about the buffer `game`.
  func lastTold(_ caller: Caller) -> Answer? {
    callers.told[Callers.Key(caller: caller, buffer: buffers["game"]![0].identity)]?.answer
  }

  /// Changes that should have been told and were not.
  func missing() -> [String] {
    callers.told.compactMap { key, told in
      guard told.answer.isOpen, let now = engine.reconsider(told.query) else { return nil }
      return told.answer.isChanged(by: now) ? "\(key) was not told of a change" : nil
    } + callers.complaints
  }
}

@Suite struct ToldTests {
  private static let (first, second) = (Caller(id: 1), Caller(id: 2))

  private static let steps: [(name: String, take: @Sendable (Table) -> Void)] = [
    ("first asks", { $0.ask("game", by: first) }),
    ("second asks", { $0.ask("game", by: second) }),
    ("second asks anew", { $0.ask("game", by: second) { $0.fresh = true } }),
    ("first asks for verdicts", { $0.ask("game", by: first) { $0.verdicts = true } }),
    ("looks end", { $0.finishLooks() }),
    ("it goes home", { $0.migrate(.dedicated) }),
    ("it is evicted", { $0.migrate(.system) }),
    ("300 ms pass", { $0.clock.advance(to: $0.clock.now + 300) }),
    ("a minute passes", { $0.clock.advance(to: $0.clock.now + 61_000) }),
    ("first asks for the film", { $0.ask("film", by: first) }),
  ]

  /// Plays these steps, and lets all observations end.
  private func play(_ walk: [Int]) throws -> (failures: [String], changes: Int) {
    let table = try Table()
    for step in walk { Self.steps[step].take(table) }
    table.finishLooks()
    let failures = table.missing()
    if failures.isEmpty { return ([], table.callers.changes) }
    return (failures + walk.map { Self.steps[$0].name }, table.callers.changes)
  }

  @Test func allShortOrders() throws {
    let count = Self.steps.count
    var changes = 0
    for number in 0..<(count * count) {
      let (third, last) = (number % count, number / count)
      // The first observation has ended, and then every order of what may follow.
      let outcome = try play([0, 4, third, last, 0])
      #expect(outcome.failures == [])
      changes += outcome.changes
    }
    #expect(changes > 0, "nobody was told anything")
  }

  @Test func longOrders() throws {
    var random = Seeded(1)
    var changes = 0
    for _ in 0..<300 {
      let walk = (0..<14).map { _ in Int.random(in: 0..<Self.steps.count, using: &random) }
      let outcome = try play(walk)
      #expect(outcome.failures == [])
      changes += outcome.changes
    }
    #expect(changes > 15, "hardly anybody was told anything")
  }

  @Test func aReplyThatWaitedForOthersIsAsTheLastChange() throws {
    let table = try Table()
    table.ask("game", by: Self.first)
    table.finishLooks()
    let key = try #require(table.callers.told.keys.first)
    let early = try #require(table.callers.told[key])
    #expect(early.answer.isOpen)
    table.migrate(.dedicated)
    table.ask("game", by: Self.second) { $0.fresh = true }
    table.finishLooks()
    let change = try #require(table.callers.told[key]?.answer)
    #expect(early.answer.isChanged(by: change))
    let late = table.service.renewed(early.query, early.answer, for: Self.first)
    #expect(!late.isChanged(by: change))
  }

  @Test func aChangeThatTheLookBehindAStaleAnswerFindsIsTold() throws {
    let table = try Table()
    table.ask("game", by: Self.first)
    table.finishLooks()
    while let answer = table.lastTold(Self.first), answer.recheck != 0 {
      table.clock.advance(to: table.clock.now + UInt64(answer.recheck))
      table.ask("game", by: Self.first)
      table.finishLooks()
    }
    table.migrate(.dedicated)
    table.clock.advance(to: table.clock.now + 61_000)
    let before = table.callers.changes
    table.ask("game", by: Self.first)
    table.ask("game", by: Self.second)
    #expect(table.lastTold(Self.second)?.stale == true)
    table.finishLooks()
    #expect(table.callers.changes == before + 2)
    #expect(table.missing() == [])
  }
}
