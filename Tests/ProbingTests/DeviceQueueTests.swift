// The worker has one job at a time, and each caller is told once how its job ended.

import Linux
import Placement
import Testing

@testable import Probing

@Suite struct DeviceQueueTests {
  let loop: EventLoop
  let queue: DeviceQueue
  private let log = Happenings()

  init() throws {
    loop = try EventLoop()
    let device = DeviceDescription(stableID: "d", sysfsPath: "/sys/devices/none", driver: "none")
    queue = try DeviceQueue(device, Complaints())
  }

  private func deadline() throws -> EventSource { try loop.after(60_000) {} }

  private func wait(
    _ job: UInt64, of user: UInt32 = 1000, extraTime: Milliseconds = 0
  ) throws {
    queue.wait(
      for: job, of: user,
      DeviceQueue.Waiting(
        begin: { [log] in log.words.append("begin \(job)") },
        end: { [log] end in log.words.append("\(end.word) \(job)") }, deadline: try deadline(),
        extraTime: extraTime))
  }

  private func advance() { queue.advance { _ in try? deadline() } }

  @Test func usersTakeTurnsAndOneJobRuns() throws {
    for job in 1...2 { try wait(UInt64(job), of: 1000) }
    try wait(3, of: 1001)
    advance()
    advance()
    #expect(log.words == ["begin 1"])
    for job in [1, 3, 2] as [UInt64] {
      #expect(queue.running == job)
      queue.finish(job)?(.gone)
      advance()
    }
    #expect(log.words == ["begin 1", "gone 1", "begin 3", "gone 3", "begin 2", "gone 2"])
    #expect(queue.isIdle && queue.running == nil && !queue.hangs)
  }

  @Test func whatIsAbandonedBeforeItsTurnNeverBegins() throws {
    for job in 1...3 { try wait(UInt64(job)) }
    advance()
    queue.abandon(2)?(.gone)
    #expect(!queue.hangs, "the driver does not have it")
    queue.finish(1)?(.gone)
    advance()
    #expect(log.words == ["begin 1", "gone 2", "gone 1", "begin 3"])
    queue.finish(3)?(.gone)
  }

  @Test func aDeadlineIsToldOnceAndTheLateAnswerEndsTheSilence() throws {
    try wait(1)
    advance()
    queue.expire(1)?(.timedOut)
    #expect(queue.hangs && queue.isLate && !queue.isIdle)
    #expect(!queue.breaksSilence(), "nothing came back yet")
    #expect(queue.expire(1) == nil)
    #expect(queue.finish(1) == nil, "nobody waits for it any more")
    #expect(!queue.hangs && queue.isIdle)
    #expect(queue.breaksSilence())
    #expect(!queue.breaksSilence(), "told once")
    #expect(log.words == ["begin 1", "timedOut 1"])
  }

  @Test func nothingIsSentAfterACallThatHangs() throws {
    try wait(1)
    advance()
    queue.expire(1)?(.timedOut)
    try wait(2)
    advance()
    #expect(log.words == ["begin 1", "timedOut 1"])
    queue.abandonAll().forEach { $0(.gone) }
    #expect(log.words.last == "gone 2")
    #expect(queue.finish(1) == nil)
  }

  @Test func aLargeBuffersImportIsLateAtItsOwnTimeOnly() throws {
    try wait(1, extraTime: 100)
    try wait(2)
    #expect(queue.extraTime(of: 1) == 0, "it does not run")
    advance()
    #expect(queue.extraTime(of: 1) == 100)
    queue.letRun(1, until: try deadline())?(.gone)
    #expect(!queue.hangs && !queue.isLate && queue.slow != nil)
    queue.giveUpSlow()
    #expect(queue.hangs && queue.isLate && queue.slow == nil)
    #expect(queue.finish(1) == nil)
    #expect(queue.breaksSilence())
    queue.abandon(2)?(.gone)
  }

  @Test func aLargeBuffersImportThatEndsInItsTimeWasNeverLate() throws {
    try wait(1, extraTime: 100)
    advance()
    queue.letRun(1, until: try deadline())?(.gone)
    #expect(!queue.isIdle)
    #expect(queue.finish(1) == nil)
    #expect(queue.isIdle && !queue.breaksSilence())
  }

  /// Otherwise a release would report a node as closed that the driver still uses.
  @Test func aLargeBuffersImportHangsForWhoReleases() throws {
    try wait(1, extraTime: 100)
    advance()
    queue.letRun(1, until: try deadline())?(.gone)
    #expect(queue.abandonAll().isEmpty)
    #expect(queue.hangs)
    #expect(queue.finish(1) == nil)
  }

  @Test func itServesTheDeviceOfOneRegistration() {
    var other = queue.device
    #expect(queue.serves(other))
    other.registration += 1
    #expect(!queue.serves(other))
  }
}

private final class Happenings {
  var words: [String] = []
}

extension JobEnd {
  var word: String {
    switch self {
    case .done: "done"
    case .timedOut: "timedOut"
    case .gone: "gone"
    case .exporterReleased: "exporterReleased"
    }
  }
}
