// What any user can cause is not sent at once to everybody; what is urgent is not delayed.

import Linux
import Placement
import Testing

@testable import Broker

@Suite struct InvalidationsTests {
  private final class Told {
    var batches: [[UInt32]] = []
  }
  private let loop: EventLoop
  private let told = Told()
  private let invalidations: Invalidations

  init() throws {
    loop = try EventLoop()
    invalidations = Invalidations(loop: loop) { [told] in told.batches.append($0.map(\.minor)) }
  }

  private func device(_ minor: UInt32) -> DeviceNumber { DeviceNumber(major: 226, minor: minor) }

  @Test func wakesAreToldOnceInAWhile() throws {
    for _ in 0..<100 {
      invalidations.add([device(128)], byPowerAlone: true)
      invalidations.add([device(129)], byPowerAlone: true)
    }
    #expect(told.batches == [[128]])
    loop.soon(after: Limits.timeBetweenPowerNews * 3 / 2) { [loop] in loop.exit(0) }
    _ = try loop.run()
    #expect(told.batches == [[128], [129, 128]])
  }

  @Test func whatIsUrgentIsToldAtOnceAndTakesTheRestAlong() {
    invalidations.add([device(128)], byPowerAlone: true)
    invalidations.add([device(129)], byPowerAlone: true)
    invalidations.add([device(0)], byPowerAlone: false)
    invalidations.add([], byPowerAlone: false)
    #expect(told.batches == [[128], [129, 0], []])
  }
}
