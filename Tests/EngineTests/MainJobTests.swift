// The main job on a hybrid laptop: an i915 that drives the panel, an amdgpu with memory of its own.

import Kernel
import Placement
import Testing

@testable import Engine

struct Laptop {
  let machine = FakeMachine()
  let engine: QueryEngine
  let igpu: DeviceNumber
  let dgpu: DeviceNumber

  init(noMove: NoMove = .honoured) throws {
    machine.noMove = noMove
    igpu = machine.plug("igpu", "i915", minor: 1) { $0.bootVGA = true }
    dgpu = machine.plug("dgpu", "amdgpu", minor: 0, dedicated: 8 << 30)
    machine.reaches = [("igpu", "dgpu", .system)]
    var settings = EngineSettings()
    settings.kernel = KernelVersion(6, 12)
    engine = QueryEngine(
      devices: machine, reader: machine, prober: machine, time: machine, settings: settings)
    try engine.start()
  }

  func allocate(
    _ inode: UInt64, on exporter: String?, home: Memory, in residency: Memory? = nil,
    name: ExporterName = .drm
  ) {
    machine.buffers[inode] = FakeMachine.Buffer(
      exporter: exporter, home: home, residency: residency ?? home, name: name)
  }
}

@Suite struct MainJobTests {
  @Test func bufferOfTheDedicatedGPUStaysThere() throws {
    let laptop = try Laptop()
    laptop.allocate(7, on: "dgpu", home: .dedicated)
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
    laptop.allocate(7, on: "dgpu", home: .dedicated, in: .system)
    let first = laptop.machine.place(laptop.engine, 7) { $0.primaryDevice = laptop.igpu }
    #expect(first.confidence == .state)
    #expect(first.recheck == 250)
    laptop.machine.buffers[7]!.residency = .dedicated
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
    laptop.allocate(7, on: "dgpu", home: .dedicated)
    laptop.allocate(8, on: "igpu", home: .system, name: .named("i915"))
    laptop.allocate(9, on: nil, home: .system, name: .named("udmabuf"))
    #expect(laptop.machine.place(laptop.engine, 7).device == laptop.dgpu)
    #expect(laptop.machine.place(laptop.engine, 8).device == laptop.igpu)
    let answer = laptop.machine.place(laptop.engine, 9) { $0.primaryDevice = laptop.dgpu }
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .inPlace)
    #expect(laptop.machine.moves == 0)
  }
}
