// On a machine with two seats a user's questions wake and open the devices of that user's seats
// alone; `fresh` is bounded for a user and for a buffer.

import Linux
import Placement
import Ports
import Testing

@testable import Broker
@testable import Bus
@testable import Engine
@testable import Simulation

/// Buses know the caller's user, and who is refused is nobody's concern here.
private final class OneUser: Connections {
  let user: UInt32
  init(_ user: UInt32) { self.user = user }
  func isTracked(_ caller: Caller) -> Bool { true }
  func user(of caller: Caller) -> UInt32? { user }
  func whenIdentified(_ caller: Caller, _ then: @escaping (UInt32?) -> Void) { then(user) }
  func placementChanged(_ answer: Answer, to caller: Caller) {}
  func deviceReleasing(_ device: DeviceNumber) {}
  let refusals: UInt64 = 0
}

/// A simulated machine whose cards from 3 on belong to another seat.
private final class TwoSeats: DeviceSource {
  private let kernel: SimulatedKernel
  init(_ kernel: SimulatedKernel) { self.kernel = kernel }

  private func seated(_ device: DeviceDescription) -> DeviceDescription {
    var device = device
    let cards = (3...5).map { "/dev/dri/card\($0)" }
    if let card = device.primary?.path, cards.contains(card) { device.seat = "seat1" }
    return device
  }
  func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno) {
    try kernel.listen { [self] event in
      if case .present(let device) = event { return handler(.present(seated(device))) }
      handler(event)
    }
  }
  func enumerate() -> [DeviceDescription] { kernel.enumerate().map(seated) }
  func find(_ number: DeviceNumber) -> DeviceDescription? { kernel.find(number).map(seated) }
  func power(of device: DeviceDescription) -> PowerReading { kernel.power(of: device) }
}

/// Each seat has a device that is awake, one that sleeps, and a card without a render node.
private let twoSeats = """
  { "name": "two seats", "kernel": { "noMove": "honoured" },
    "devices": [
      { "id": "near", "driver": "i915", "card": 0, "render": 128, "bootVGA": true },
      { "id": "near-asleep", "driver": "nouveau", "card": 1, "render": 129, "dedicated": 1073741824,
        "power": "suspended" },
      { "id": "near-card", "driver": "vkms", "card": 2 },
      { "id": "far", "driver": "i915", "card": 3, "render": 130 },
      { "id": "far-asleep", "driver": "nouveau", "card": 4, "render": 131, "dedicated": 1073741824,
        "power": "suspended" },
      { "id": "far-card", "driver": "vkms", "card": 5 } ],
    "buffers": [ { "id": "heap", "exporter": null, "home": "system", "residency": "system" },
                 { "id": "other", "exporter": null, "home": "system", "residency": "system" } ] }
  """

private final class Machine {
  let clock = VirtualClock()
  let kernel: SimulatedKernel
  let engine: QueryEngine
  private let prober: SimulatedProber
  private let service: Service
  private let users: OneUser
  private let loop: EventLoop
  private let heap: [String: HeldBuffer]

  /// - Parameter seats: those that the user is active on.
  init(user: UInt32, activeOn seats: Set<String>) throws {
    kernel = SimulatedKernel(try Scenario(json: Array(twoSeats.utf8)))
    prober = SimulatedProber(kernel, time: clock)
    engine = QueryEngine(devices: TwoSeats(kernel), reader: kernel, prober: prober, time: clock)
    loop = try EventLoop()
    service = try Service(
      engine: engine, reader: kernel, loop: loop,
      seatUsers: SeatUsers { seats.contains($1) && $0 == user }
    ) { _ in [] }
    users = OneUser(user)
    var buffers: [String: HeldBuffer] = [:]
    for id in ["heap", "other"] {
      let fd = try makeBuffer(id)
      let identity = try #require(kernel.identity(of: fd.rawValue))
      buffers[id] = HeldBuffer(identity: identity, fd: fd)
    }
    heap = buffers
    service.connection = users
    try engine.start()
    prober.runPending()
  }

  /// The answer, with its explanation.
  func ask(_ id: String = "heap", _ edit: (inout Hints) -> Void) throws -> Explanation {
    let buffer = heap[id]!
    var query = Query(planes: Planes(), hints: Hints())
    query.planes.append(buffer.identity)
    edit(&query.hints)
    var answer = service.placeNow(query, for: Caller(id: 1), track: {}, hold: { [buffer] })
    if answer == nil {
      service.place(query, holding: [buffer], for: Caller(id: 1)) { answer = try? $0.get() }
      service.looks.beginNext()
      finishLooks()
    }
    return service.explain(query, try #require(answer))
  }

  private func finishLooks() {
    prober.runPending()
    while !engine.isIdle, let due = prober.nextDue {
      clock.advance(to: due)
      prober.runPending()
    }
  }

  private func device(_ id: String) -> SimulatedDevice {
    kernel.devices[kernel.scenario.devices.firstIndex { $0.id == id }!]
  }

  func number(_ id: String) -> DeviceNumber { device(id).description.node!.number }

  func isAsleep(_ id: String) -> Bool { device(id).suspended }

  var looks: UInt64 { engine.statistics.first { "\($0.name)" == "looks" }!.value }
}

@Suite struct SeatUsersTests {
  @Test func wakeReachesTheUsersSeatAlone() throws {
    let machine = try Machine(user: 1000, activeOn: ["seat0"])
    let text = try machine.ask { $0.wake = true }
    #expect(!machine.isAsleep("near-asleep"))
    #expect(machine.isAsleep("far-asleep"))
    #expect(machine.kernel.harm.wakes == 1)
    #expect(text.evidence.contains { $0.hasPrefix("wake is ignored for /dev/dri/") })
  }

  @Test func whoIsOnNoSeatWakesNothing() throws {
    let machine = try Machine(user: 1000, activeOn: [])
    let text = try machine.ask { $0.wake = true }
    #expect(machine.kernel.harm.wakes == 0)
    #expect(text.evidence.contains { $0.hasPrefix("wake and fresh are ignored") })
  }

  @Test func whoIsOnAllSeatsWakesAll() throws {
    let machine = try Machine(user: 1000, activeOn: ["seat0", "seat1"])
    let text = try machine.ask { $0.wake = true }
    #expect(machine.kernel.harm.wakes == 2)
    #expect(!text.evidence.contains { $0.contains("ignored") })
  }

  @Test func rootWakesAll() throws {
    let machine = try Machine(user: 0, activeOn: [])
    _ = try machine.ask { $0.wake = true }
    #expect(machine.kernel.harm.wakes == 2)
  }

  @Test(arguments: [("near-card", true), ("far-card", false)])
  func cardsAreOpenedOfTheUsersSeatAlone(_ card: String, isOpened: Bool) throws {
    let machine = try Machine(user: 1000, activeOn: ["seat0"])
    let text = try machine.ask { $0.targetDevice = machine.number(card) }
    #expect(text.reached.contains(machine.number(card)) == isOpened)
    #expect(text.reached.contains(machine.number("near")), "others are asked all the same")
  }

  @Test func aChangeOfDevicesIsSeenAtOnce() {
    let users = SeatUsers { _, seat in seat == "seat0" }
    let (a, b) = (DeviceSlot(0), DeviceSlot(1))
    #expect(users.devices(of: 1000, in: 1, among: [(a, "seat0"), (b, "seat1")]) == [a])
    #expect(users.devices(of: 1000, in: 2, among: [(a, "seat1"), (b, "seat0")]) == [b])
  }

  // MARK: fresh

  @Test func aYoungLookAnswersWhatIsAskedAfresh() throws {
    let machine = try Machine(user: 1000, activeOn: ["seat0"])
    for _ in 0..<10 { _ = try machine.ask { $0.fresh = true } }
    #expect(machine.looks == 1)
    _ = try machine.ask("other") { $0.fresh = true }
    #expect(machine.looks == 2, "another buffer")
    machine.clock.advance(to: machine.clock.now + Limits.freshLookAge)
    _ = try machine.ask { $0.fresh = true }
    #expect(machine.looks == 3, "it is old enough")
  }

  @Test func rootForcesEveryLook() throws {
    let machine = try Machine(user: 0, activeOn: [])
    for _ in 0..<10 { _ = try machine.ask { $0.fresh = true } }
    #expect(machine.looks == 10)
  }

  @Test func whoIsOnNoSeatForcesNone() throws {
    let machine = try Machine(user: 1000, activeOn: [])
    for _ in 0..<10 {
      _ = try machine.ask { $0.fresh = true }
      machine.clock.advance(to: machine.clock.now + Limits.freshLookAge)
    }
    #expect(machine.looks == 1)
  }
}
