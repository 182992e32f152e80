// The first law on random machines and histories: nothing is moved, woken or held, and every query
// is answered.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

@Suite struct FirstLawTests {
  private static let drivers = ["i915", "amdgpu", "nouveau", "xe", "virtio_gpu", "vgem"]
  /// Machines on which several drivers show the same exporter name and map at the first use.
  private static let late = ["i915", "amdgpu", "xe", "amdgpu", "virtio_gpu", "vgem"]

  private static let withMemory = ["i915", "amdgpu", "nouveau", "xe"]

  /// Devices that may be present or not, and the buffers that they exported.
  private struct Player {
    let machine: SimulatedMachine
    let engine: QueryEngine
    let drivers: [String]
    var random: Seeded
    var plugged: Set<Int> = []
    var inodes: UInt64 = 0
    /// The buffers whose home is dedicated memory.
    var dedicated: [UInt64] = []
    var asked = 0

    init(seed: UInt64) throws {
      random = Seeded(seed)
      let noMove = [KernelModel.NoMoveFlag.honoured, .ignored].randomElement(using: &random)!
      let introspects = Int.random(in: 0..<4, using: &random) == 0
      let records = Bool.random(using: &random)
      drivers = Bool.random(using: &random) ? FirstLawTests.drivers : FirstLawTests.late
      let version = [KernelVersion(6, 12), KernelVersion(6, 1), nil].randomElement(using: &random)!
      machine = SimulatedMachine(
        noMove: noMove, introspection: introspects, version: version ?? newestKernel)
      machine.records = records
      engine = machine.engine { $0.kernel = version }
      for device in 0..<8 { add(device) }
      for device in 0..<Int.random(in: 1...4, using: &random) { plug(device) }
      try engine.start()
    }

    func driver(_ device: Int) -> String { drivers[device % drivers.count] }

    func add(_ device: Int) {
      let driver = driver(device)
      let hasMemory = FirstLawTests.withMemory.contains(driver)
      machine.add(
        "d\(device)", driver, minor: UInt32(device), dedicated: hasMemory ? 1 << 30 : 0)
      // sysfs does not show the memory of an i915.
      if driver == "i915" {
        machine.change("d\(device)", silently: true) {
          ($0.dedicatedMemory, $0.integrated) = (0, nil)
        }
      }
    }

    mutating func plug(_ device: Int) {
      if plugged.insert(device).inserted { machine.plug("d\(device)") }
    }

    mutating func allocate() {
      inodes += 1
      guard let device = plugged.sorted().randomElement(using: &random) else {
        return machine.allocate(inodes, on: nil, home: .system)
      }
      let movable = FirstLawTests.withMemory.contains(driver(device))
      let home: Memory = movable && Bool.random(using: &random) ? .dedicated : .system
      let away = home == .dedicated && Bool.random(using: &random)
      if home == .dedicated { dedicated.append(inodes) }
      machine.allocate(inodes, on: "d\(device)", home: home, in: away ? .system : home)
      for other in 0..<8 where other != device && Bool.random(using: &random) {
        machine.reach("d\(other)", "d\(device)", .system)
      }
    }

    mutating func step(_ answered: @escaping (Answer) -> Void) {
      let device = Int.random(in: 0..<8, using: &random)
      switch Int.random(in: 0..<12, using: &random) {
      case 0: plug(device)
      case 1 where plugged.remove(device) != nil:
        machine.unplug("d\(device)", silently: Bool.random(using: &random))
      case 2 where plugged.contains(device):
        changePower(of: device)
      case 3: hangOnly(Bool.random(using: &random) ? device : nil)
      case 4: machine.expire()
      case 5: machine.run()
      case 6: machine.now += 10_000
      case 7: machine.overrun()
      case 8: migrate()
      default: ask(answered)
      }
    }

    private mutating func migrate() {
      guard let inode = dedicated.randomElement(using: &random) else { return }
      machine.migrate(inode, to: [.system, .dedicated].randomElement(using: &random)!)
    }

    private mutating func changePower(of device: Int) {
      let (wakes, silently) = (Bool.random(using: &random), Bool.random(using: &random))
      if wakes {
        machine.resume("d\(device)", silently: silently)
      } else {
        machine.suspend("d\(device)", silently: silently)
      }
    }

    /// nil: no device hangs.
    func hangOnly(_ device: Int?) {
      for other in 0..<8 { machine.reset("d\(other)") }
      if let device, plugged.contains(device) { machine.hang("d\(device)") }
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
    player.hangOnly(nil)
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
