// The main job, on a hybrid laptop: an i915 that drives the panel, and an amdgpu with dedicated
// memory.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

struct Laptop {
  let machine: SimulatedMachine
  let engine: QueryEngine
  let igpu: DeviceNumber
  let dgpu: DeviceNumber

  init(noMove: KernelModel.NoMoveFlag = .honoured, introspection: Bool = false) throws {
    machine = SimulatedMachine(
      noMove: noMove, introspection: introspection, version: KernelVersion(6, 12))
    igpu = machine.plug("igpu", "i915", minor: 1) { $0.bootVGA = true }
    dgpu = machine.plug("dgpu", "amdgpu", minor: 0, dedicated: 8 << 30)
    machine.reach("igpu", "dgpu", .system)
    engine = machine.engine()
    try engine.start()
  }
}

@Suite struct MainJobTests {
  @Test func bufferOfTheDedicatedGPUStaysThere() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let answer = laptop.machine.place(laptop.engine, 7) { $0.primaryDevice = laptop.igpu }
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .native)
    #expect(answer.confidence == .intent)
    #expect(!answer.cached)
    #expect(laptop.machine.place(laptop.engine, 7).cached)
    #expect(laptop.machine.moves == 0)
  }

  @Test func evictedAtFirstSightThenHome() throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated, in: .system)
    let first = laptop.machine.place(laptop.engine, 7) { $0.primaryDevice = laptop.igpu }
    #expect(first.confidence == .state)
    #expect(first.recheck == 250)
    laptop.machine.migrate(7, to: .dedicated)
    laptop.machine.now += 5_000
    let second = laptop.machine.place(laptop.engine, 7) { $0.primaryDevice = laptop.igpu }
    #expect(second.device == laptop.dgpu)
    #expect(second.access == .native)
    #expect(second.confidence == .stable)
    #expect(second.recheck == 0)
    #expect(laptop.machine.moves == 0)
  }

  @Test func mainlineKnowsByTheExportersName() throws {
    let laptop = try Laptop(noMove: .ignored)
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    laptop.machine.allocate(8, on: "igpu", home: .system)
    laptop.machine.allocate(9, on: nil, home: .system)
    #expect(laptop.machine.place(laptop.engine, 7).device == laptop.dgpu)
    #expect(laptop.machine.place(laptop.engine, 8).device == laptop.igpu)
    let answer = laptop.machine.place(laptop.engine, 9) { $0.primaryDevice = laptop.dgpu }
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .inPlace)
    #expect(laptop.machine.moves == 0)
  }
}
