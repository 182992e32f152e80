// When runtime power is read: right before a device is asked, and not where none is.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

@Suite struct PowerTests {
  /// A laptop whose devices were assessed. Where its kernel tells all of a buffer, no device is
  /// asked.
  private func laptop(introspection: Bool) throws -> Laptop {
    let laptop = try Laptop(noMove: .ignored, introspection: introspection)
    laptop.machine.allocate(1, on: "dgpu", home: .dedicated)
    _ = laptop.machine.place(laptop.engine, 1)
    return laptop
  }

  @Test func whereNoDeviceIsAskedItIsReadOnceASecond() throws {
    let laptop = try laptop(introspection: true)
    let machine = laptop.machine
    let (read, imports) = (machine.powerReadings, machine.imports)
    for number in 2...9 as ClosedRange<UInt64> {
      machine.allocate(number, on: "dgpu", home: .dedicated)
      #expect(machine.place(laptop.engine, number).device == laptop.dgpu)
    }
    #expect(machine.powerReadings == read)
    machine.now += 1_000
    machine.allocate(10, on: "dgpu", home: .dedicated)
    #expect(machine.place(laptop.engine, 10).device == laptop.dgpu)
    #expect(machine.powerReadings == read + 2, "each device once")
    #expect(machine.imports == imports)
  }

  /// Not only by the worker: a device that sleeps is not planned with.
  @Test func whoFellAsleepSinceIsNotAsked() throws {
    let laptop = try laptop(introspection: false)
    laptop.machine.allocate(2, on: "igpu", home: .system)
    laptop.machine.suspend("dgpu", silently: true)
    let imports = laptop.machine.imports
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([2])) { answer = $0 }
    #expect(laptop.engine.device(laptop.dgpu)?.description.power == .suspended)
    #expect(laptop.machine.imports == imports)
    laptop.machine.run()
    #expect(answer?.device == laptop.igpu)
    #expect(laptop.machine.wakes == 0)
  }

  @Test func whoFellAsleepSinceIsNotAssessed() throws {
    let laptop = try Laptop(noMove: .ignored, introspection: true)
    laptop.machine.allocate(1, on: "igpu", home: .system)
    laptop.machine.suspend("dgpu", silently: true)
    let assessments = laptop.machine.assessments
    var answer: Answer?
    laptop.machine.ask(laptop.engine, laptop.machine.query([1])) { answer = $0 }
    #expect(laptop.machine.assessments == assessments + 1, "the other one")
    laptop.machine.run()
    #expect(answer?.device == laptop.igpu)
    #expect(laptop.machine.wakes == 0)
  }

  /// That it was asleep when it was last read is no evidence against it.
  @Test(arguments: [false, true])
  func whoWokeSinceMayHaveExportedTheBuffer(introspection: Bool) throws {
    let laptop = try laptop(introspection: introspection)
    laptop.machine.suspend("dgpu", silently: true)
    laptop.machine.now += 1_000
    laptop.machine.allocate(2, on: "igpu", home: .system)
    #expect(laptop.machine.place(laptop.engine, 2).device == laptop.igpu)
    #expect(laptop.engine.device(laptop.dgpu)?.description.power == .suspended)
    laptop.machine.resume("dgpu", silently: true)
    laptop.machine.allocate(3, on: "dgpu", home: .dedicated)
    let answer = laptop.machine.place(laptop.engine, 3)
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .native)
    #expect(laptop.engine.device(laptop.dgpu)?.description.power == .active)
    let evidence = laptop.engine.explain(laptop.machine.query([3]), answer).evidence
    #expect(!evidence.contains { $0.contains("contradict") })
  }

  /// What fell asleep again and again slept at each reading, and was awake in between.
  @Test func whoWasAwakeInBetweenMayHaveExportedTheBuffer() throws {
    let laptop = try laptop(introspection: true)
    laptop.machine.suspend("dgpu", silently: true)
    laptop.machine.now += 1_000
    laptop.machine.allocate(2, on: "igpu", home: .system)
    _ = laptop.machine.place(laptop.engine, 2)
    laptop.machine.resume("dgpu", silently: true)
    laptop.machine.allocate(3, on: "dgpu", home: .dedicated)
    laptop.machine.now += 10
    laptop.machine.suspend("dgpu", silently: true)
    let answer = laptop.machine.place(laptop.engine, 3)
    let evidence = laptop.engine.explain(laptop.machine.query([3]), answer).evidence
    #expect(!evidence.contains { $0.contains("contradict") })
    #expect(laptop.machine.wakes == 0)
  }

  /// Who allows a device to be woken, or wants no old word, gets the newest.
  @Test func whoAsksAfreshIsToldByFreshPower() throws {
    let laptop = try laptop(introspection: true)
    let read = laptop.machine.powerReadings
    _ = laptop.machine.place(laptop.engine, 1) { $0.fresh = true }
    #expect(laptop.machine.powerReadings == read + 2)
  }
}
