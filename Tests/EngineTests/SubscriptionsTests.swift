// Which asker is told what, without an engine: the answers are made up.

import Placement
import Testing

@testable import Engine

@Suite struct SubscriptionsTests {
  let game = BufferIdentity(inode: 7)
  let igpu = DeviceNumber(major: 226, minor: 128)
  let dgpu = DeviceNumber(major: 226, minor: 129)

  func query(_ inodes: UInt64...) -> Query {
    var planes = Planes()
    for inode in inodes { planes.append(BufferIdentity(inode: inode)) }
    return Query(planes: planes, hints: Hints())
  }

  func answer(
    _ device: DeviceNumber, recheck: UInt32 = 0, stale: Bool = false, _ buffer: UInt64 = 7
  ) -> Answer {
    Answer(
      device: device, access: .inPlace, confidence: .state, buffer: BufferIdentity(inode: buffer),
      generation: 1, recheck: recheck, stale: stale)
  }

  /// Asker 1 was given this answer.
  func told(_ answer: Answer, _ query: Query? = nil) -> Subscriptions {
    var subscriptions = Subscriptions()
    _ = subscriptions.told(1, query ?? self.query(7), answer) { true }
    return subscriptions
  }

  @Test func whoWasToldASettledAnswerIsNotSubscribed() {
    #expect(told(answer(igpu)).count == 0)
    #expect(told(answer(igpu, recheck: 250)).has(1, game))
    #expect(told(answer(igpu, stale: true)).has(1, game))
  }

  @Test func aChangeIsTold() {
    var subscriptions = told(answer(igpu, recheck: 250))
    let news = subscriptions.looked(at: game) { _ in answer(dgpu, recheck: 500) }
    #expect(news.changes.map(\.asker) == [1])
    #expect(news.changes.map(\.answer.device) == [dgpu])
    #expect(news.ended == [])
    #expect(subscriptions.has(1, game))
  }

  @Test func theLastTimeWhenItSettles() {
    var subscriptions = told(answer(igpu, recheck: 250))
    let news = subscriptions.looked(at: game) { _ in answer(dgpu) }
    #expect(news.changes.count == 1 && news.ended == [1])
    #expect(subscriptions.looked(at: game) { _ in answer(igpu) }.changes.isEmpty)
  }

  @Test func whatSettlesAsItWasEndsSilently() {
    var subscriptions = told(answer(igpu, recheck: 250))
    let news = subscriptions.looked(at: game) { _ in answer(igpu) }
    #expect(news.changes.isEmpty && news.ended == [1])
    #expect(subscriptions.count == 0)
  }

  @Test func whatIsToldIsComparedWithWhatWasToldLast() {
    var subscriptions = told(answer(igpu, recheck: 250))
    _ = subscriptions.looked(at: game) { _ in answer(dgpu, recheck: 250) }
    #expect(subscriptions.looked(at: game) { _ in answer(dgpu, recheck: 250) }.changes.isEmpty)
    #expect(subscriptions.looked(at: game) { _ in answer(igpu, recheck: 250) }.changes.count == 1)
  }

  @Test func theLatestQuestionCounts() {
    var subscriptions = told(answer(igpu, recheck: 250))
    var later = query(7)
    later.hints.usage = .scanout
    #expect(subscriptions.told(1, later, answer(dgpu, recheck: 250)) { false } == 0)
    _ = subscriptions.looked(at: game) { query in
      #expect(query.hints.usage == .scanout)
      return answer(dgpu, recheck: 250)
    }
    #expect(subscriptions.told(1, later, answer(dgpu)) { false } == -1, "the latest is settled")
    #expect(subscriptions.count == 0)
  }

  @Test func eachPlaneIsLookedAtForItself() {
    let film = query(7, 8, 8)
    var subscriptions = told(answer(igpu, recheck: 250), film)
    #expect(subscriptions.count == 1)
    let news = subscriptions.looked(at: BufferIdentity(inode: 8)) { _ in answer(dgpu, stale: true) }
    #expect(news.changes.count == 1)
    _ = subscriptions.looked(at: game) { _ in answer(dgpu) }
    #expect(subscriptions.count == 0)
    let plane1 = BufferIdentity(inode: 8)
    #expect(subscriptions.looked(at: plane1) { _ in answer(igpu) }.changes.isEmpty)
  }

  @Test func verdictsCountForWhoAskedForThem() {
    let devices = DeviceTable([])
    func withVerdicts(home: DeviceNumber?) -> Answer {
      var answer = answer(igpu, recheck: 250)
      answer.verdicts = Verdicts(among: devices)
      answer.verdicts!.home = home
      return answer
    }
    var asked = told(withVerdicts(home: nil))
    #expect(asked.looked(at: game) { _ in withVerdicts(home: dgpu) }.changes.count == 1)
    #expect(asked.looked(at: game) { _ in withVerdicts(home: dgpu) }.changes.isEmpty)
    var plain = told(answer(igpu, recheck: 250))
    #expect(plain.looked(at: game) { _ in answer(igpu, recheck: 500) }.changes.isEmpty)
  }

  @Test func whatIsNotKnownIsNotTold() {
    var subscriptions = told(answer(igpu, recheck: 250))
    #expect(subscriptions.looked(at: game) { _ in nil }.changes.isEmpty)
    #expect(subscriptions.has(1, game))
  }

  @Test func whoMayHoldNoMoreIsRefused() {
    var subscriptions = told(answer(igpu, recheck: 250))
    #expect(subscriptions.told(2, query(7), answer(igpu, recheck: 250)) { false } == 0)
    #expect(!subscriptions.has(2, game))
    #expect(subscriptions.told(2, query(7), answer(igpu, recheck: 250)) { true } == 1)
  }

  @Test func whoHasGoneIsForgotten() {
    var subscriptions = told(answer(igpu, recheck: 250))
    _ = subscriptions.told(1, query(8), answer(igpu, recheck: 250, 8)) { true }
    _ = subscriptions.told(2, query(7), answer(igpu, recheck: 250)) { true }
    #expect(subscriptions.forget(1) == 2)
    #expect(subscriptions.forget(1) == 0)
    let news = subscriptions.looked(at: game) { _ in answer(dgpu) }
    #expect(news.changes.map(\.asker) == [2])
  }
}
