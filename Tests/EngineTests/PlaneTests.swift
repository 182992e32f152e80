// Buffers of several planes: decided together, observed one by one.

import Placement
import Ports
import Simulation
import Testing

@testable import Engine

@Suite struct PlaneTests {
  private func place(
    _ laptop: Laptop, _ planes: [UInt64], _ edit: (inout Hints) -> Void = { _ in }
  ) -> Answer {
    let query = laptop.machine.query(planes, edit)
    if let answer = laptop.engine.answerNow(query) { return answer }
    var answer: Answer?
    laptop.machine.ask(laptop.engine, query) { answer = $0 }
    laptop.machine.run()
    return answer!
  }

  @Test func theSameDMABufTwiceIsProbedOnce() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    let answer = place(laptop, [7, 7])
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .native)
    #expect(laptop.machine.imports == 2)
  }

  @Test func planesOfTwoExportersGoWhereBothAreReached() throws {
    let laptop = try Laptop()
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    laptop.machine.allocate(8, on: "igpu", home: .system)
    laptop.machine.reach("dgpu", "igpu", .system)
    let answer = place(laptop, [8, 7]) { $0.primaryDevice = laptop.igpu }
    #expect(answer.device == laptop.dgpu)
    #expect(answer.access == .inPlace)
    #expect(answer.buffer == laptop.machine.identity(8))
    #expect(laptop.machine.moves == 0)
  }

  @Test func onlyThePlanesThatAreNotKnownAreLookedAt() throws {
    let laptop = try Laptop()
    for inode in 7...9 as ClosedRange<UInt64> {
      laptop.machine.allocate(inode, on: "dgpu", home: .dedicated)
    }
    _ = place(laptop, [7])
    #expect(laptop.machine.imports == 2)
    _ = place(laptop, [7, 8, 9])
    #expect(laptop.machine.imports == 6)
    #expect(place(laptop, [9, 8, 7]).cached)
  }

  @Test func theSoonestRecheckIsTheAnswers() throws {
    let laptop = try Laptop()
    laptop.machine.records = false
    laptop.machine.allocate(7, on: "dgpu", home: .dedicated)
    laptop.machine.allocate(8, on: "dgpu", home: .dedicated)
    _ = place(laptop, [7])
    laptop.machine.now += 100
    #expect(place(laptop, [7, 8]).recheck == 150)
    #expect(place(laptop, [8]).recheck == 250)
  }
}
