// The first law, on machines and histories at random: nothing is moved, nothing is woken, nothing is
// kept, and everyone is answered.

import Kernel
import Placement
import Testing

@testable import Engine

@Suite struct FirstLawTests {
  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) ^ (state << 31)
    }
  }

  private static let drivers = ["i915", "amdgpu", "nouveau", "xe", "virtio_gpu", "vgem"]
  /// Machines on which all that sign alike map late.
  private static let late = ["i915", "amdgpu", "xe", "amdgpu", "virtio_gpu", "vgem"]

  /// A device that may be there or not, and the buffers it exported.
  private struct Player {
    let machine = FakeMachine()
    let engine: QueryEngine
    let drivers: [String]
    var random: Seeded
    var plugged: Set<Int> = []
    var inodes: UInt64 = 0
    var asked = 0

    init(seed: UInt64) throws {
      random = Seeded(state: seed)
      machine.noMove = [.honoured, .ignored].randomElement(using: &random)!
      machine.introspects = Int.random(in: 0..<4, using: &random) == 0
      machine.records = Bool.random(using: &random)
      drivers = Bool.random(using: &random) ? FirstLawTests.drivers : FirstLawTests.late
      var settings = EngineSettings()
      settings.kernel = [KernelVersion(6, 12), KernelVersion(6, 1), nil].randomElement(
        using: &random)!
      engine = QueryEngine(
        devices: machine, reader: machine, prober: machine, time: machine, settings: settings)
      for device in 0..<Int.random(in: 1...4, using: &random) { plug(device) }
      try engine.start()
    }

    func driver(_ device: Int) -> String { drivers[device % drivers.count] }

    mutating func plug(_ device: Int) {
      guard plugged.insert(device).inserted else { return }
      let dedicated: UInt64 = ["amdgpu", "nouveau", "xe"].contains(driver(device)) ? 1 << 30 : 0
      machine.plug("d\(device)", driver(device), minor: UInt32(device), dedicated: dedicated)
    }

    mutating func allocate() {
      inodes += 1
      guard let device = plugged.sorted().randomElement(using: &random) else {
        return allocateOfNoDevice()
      }
      let name = driver(device)
      let movable = ["i915", "amdgpu", "nouveau", "xe"].contains(name)
      let home: Memory = movable && Bool.random(using: &random) ? .dedicated : .system
      let away = home == .dedicated && Bool.random(using: &random)
      machine.buffers[inodes] = FakeMachine.Buffer(
        exporter: "d\(device)", home: home, residency: away ? .system : home,
        name: Driver(name: name).exporterName.map { .named($0) } ?? .drm)
      for other in 0..<8 where Bool.random(using: &random) {
        machine.reaches.append(("d\(other)", "d\(device)", .system))
      }
    }

    mutating func allocateOfNoDevice() {
      machine.buffers[inodes] = FakeMachine.Buffer(
        exporter: nil, home: .system, residency: .system, name: .named("udmabuf"))
    }

    mutating func step(_ answered: @escaping (Answer) -> Void) {
      let device = Int.random(in: 0..<8, using: &random)
      switch Int.random(in: 0..<12, using: &random) {
      case 0: plug(device)
      case 1 where plugged.remove(device) != nil:
        machine.unplug("d\(device)", silently: Bool.random(using: &random))
      case 2 where plugged.contains(device):
        let power: Power = Bool.random(using: &random) ? .active : .suspended
        machine.change("d\(device)", silently: Bool.random(using: &random)) { $0.power = power }
      case 3: machine.hanging = Bool.random(using: &random) ? ["d\(device)"] : []
      case 4: machine.expire()
      case 5: machine.run()
      case 6: machine.now += 10_000
      case 7: machine.overrun()
      case 8: migrate()
      default: ask(answered)
      }
    }

    private mutating func migrate() {
      guard let inode = machine.buffers.keys.sorted().randomElement(using: &random),
        machine.buffers[inode]!.home == .dedicated
      else { return }
      machine.buffers[inode]!.residency = [.system, .dedicated].randomElement(using: &random)!
    }

    private mutating func ask(_ answered: @escaping (Answer) -> Void) {
      if inodes == 0 || Bool.random(using: &random) { allocate() }
      let planes = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        UInt64.random(in: 1...inodes, using: &random)
      }
      let fresh = Bool.random(using: &random)
      let query = machine.query(planes) {
        $0.fresh = fresh
        $0.clientPID = 1
        $0.format = 1
      }
      asked += 1
      if let answer = engine.answerNow(query) { return answered(answer) }
      machine.ask(engine, query, answered)
    }
  }

  @Test(arguments: 0..<60)
  func nothingMovesNothingWakesEveryoneIsAnswered(seed: UInt64) throws {
    var player = try Player(seed: seed)
    var answers: [Answer] = []
    for _ in 0..<300 { player.step { answers.append($0) } }
    player.machine.hanging = []
    while player.machine.waiting > 0 {
      player.machine.run()
      player.machine.expire()
    }
    #expect(player.machine.moves == 0)
    #expect(player.machine.wakes == 0)
    #expect(answers.count == player.asked)
    #expect(answers.allSatisfy { $0.generation <= player.engine.generation })
    #expect(player.engine.statistics.first { $0.name.description == "pending-queries" }?.value == 0)
  }
}
