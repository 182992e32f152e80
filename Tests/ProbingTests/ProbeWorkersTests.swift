// Every job ends once for its caller, whatever happens to its queue meanwhile.

import Glibc
import Linux
import Placement
import Ports
import Testing

@testable import Probing

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
    workers.run(slot, device, work: (), { _, _ in .scratch(nil) }, then: then)
  }

  private func slowJob(
    _ milliseconds: UInt64, extraTime: UInt64, then: @escaping (JobEnd) -> Void
  ) {
    workers.run(
      slot, device, extraTime: extraTime, work: (),
      { _, _ in
        poll(nil, 0, Int32(milliseconds))
        return .scratch(nil)
      }, then: then)
  }

  /// As an import of a large buffer, whose pages come from a swap device.
  @Test func whatIsLateForItsSizeSaysNothingOfTheDriver() throws {
    var ends: [String] = []
    workers.onAnswer = { _ in ends.append("answers again") }
    slowJob(probeDeadline + 300, extraTime: 60_000) { [self] end in
      ends.append("slow: \(end.word)")
      job { [self] end in
        ends.append("meanwhile: \(end.word)")
        loop.soon(after: 1000) { [self] in
          job { [loop] end in
            ends.append("after: \(end.word)")
            loop.exit(0)
          }
        }
      }
    }
    #expect(try loop.run() == 0)
    #expect(ends == ["slow: gone", "meanwhile: gone", "after: done"])
  }

  @Test func whatIsLateBeyondItsSizeIsTheDriver() throws {
    var ends: [String] = []
    workers.onAnswer = { [loop] _ in
      ends.append("answers again")
      loop.exit(0)
    }
    slowJob(probeDeadline + 1500, extraTime: 100) { [self] end in
      ends.append("slow: \(end.word)")
      loop.soon(after: 300) { [self] in job { ends.append("meanwhile: \($0.word)") } }
    }
    #expect(try loop.run() == 0)
    #expect(ends == ["slow: gone", "meanwhile: timedOut", "answers again"])
  }

  @Test func noImportBeginsOnceItsExporterIsReleased() throws {
    var ends: [String] = []
    let exporters = DeviceSet(DeviceSlot(1))
    slowJob(probeDeadline / 2, extraTime: 0) { ends.append("begun: \($0.word)") }
    workers.run(
      slot, device, exporters: exporters, work: (), { _, _ in .scratch(nil) }
    ) { ends.append("waiting: \($0.word)") }
    workers.run(
      slot, device, exporters: DeviceSet(DeviceSlot(2)), work: (), { _, _ in .scratch(nil) }
    ) { [loop] end in
      ends.append("of another: \(end.word)")
      loop.exit(0)
    }
    workers.abandonImports(from: DeviceSlot(1))
    #expect(try loop.run() == 0)
    #expect(
      ends == ["waiting: exporterReleased", "begun: done", "of another: done"])
  }

  /// As when a node vanishes and is back before its queue is closed: the job that came after the
  /// release used to be lost with the queue.
  @Test func aJobThatComesWhileTheQueueIsClosedEnds() throws {
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
