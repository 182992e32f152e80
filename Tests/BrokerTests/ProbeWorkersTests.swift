// Every job ends once for the one who waits for it, whatever happens to its lane meanwhile.

import Kernel
import Linux
import Placement
import Testing

@testable import Broker

@Suite struct ProbeWorkersTests {
  let loop: EventLoop
  let workers: ProbeWorkers
  let slot = DeviceSlot(0)
  let device = DeviceDescription(stableID: "d", sysfsPath: "/sys/devices/none", driver: "none")

  init() throws {
    loop = try EventLoop()
    workers = try ProbeWorkers(loop: loop)
    let there = [(slot: slot, device: device)]
    workers.devices = { there }
  }

  private func job(then: @escaping (JobEnd) -> Void) {
    workers.run(slot, device, work: (), { _, _ in .heeds(.ignored) }, then: then)
  }

  /// As when a node vanishes and is back before its lane is closed: the job that came after the release
  /// was lost with the lane.
  @Test func aJobThatComesWhileTheLaneIsClosedEnds() throws {
    var ends: [String] = []
    job { [self] _ in
      workers.release(slot) { _ in ends.append("released") }
      job { end in
        if case .done = end { ends.append("done") }
        loop.exit(0)
      }
    }
    loop.soon(after: 4 * probeDeadline) { [loop] in loop.exit(1) }  // never, unless it is lost
    #expect(try loop.run() == 0)
    #expect(ends == ["released", "done"])
  }
}
