// Nobody's flood reaches beyond its own share, and every share is given back.

import Placement
import Testing

@testable import Broker
@testable import Bus

@Suite struct QuotasTests {
  let question = Load(questions: 1, fds: 1)

  func caller(_ name: String) -> Caller { name.withCString { Caller(uniqueName: $0) } }

  /// Asks until refused, at most `most` times.
  func flood(_ quotas: Quotas, _ who: Caller, most: Int = 10_000) -> Int {
    (0..<most).prefix { _ in quotas.take(question, for: who) }.count
  }

  @Test func aConnectionHasItsShare() {
    let quotas = Quotas(fdLimit: 65536)
    quotas.identify(caller(":1.1"), as: 1000)
    #expect(flood(quotas, caller(":1.1")) == Limits.perConnection.questions)
  }

  @Test func untilItsUserIsKnownItIsSmaller() {
    let quotas = Quotas(fdLimit: 65536)
    #expect(flood(quotas, caller(":1.1")) == Limits.perUnknown.questions)
    quotas.identify(caller(":1.1"), as: 1000)
    #expect(
      flood(quotas, caller(":1.1"))
        == Limits.perConnection.questions - Limits.perUnknown.questions)
  }

  @Test func aUserHasOneShareOverAllConnections() {
    let quotas = Quotas(fdLimit: 65536)
    let all = (0..<8).map { caller(":1.\($0)") }
    for one in all { quotas.identify(one, as: 1000) }
    #expect(all.map { flood(quotas, $0) }.reduce(0, +) == Limits.perUser.questions)
    // Somebody else has all of theirs.
    quotas.identify(caller(":1.99"), as: 1001)
    #expect(flood(quotas, caller(":1.99")) == Limits.perConnection.questions)
  }

  @Test func whatWasTakenBeforeTheUserWasKnownCounts() {
    let quotas = Quotas(fdLimit: 65536)
    let all = (0..<10).map { caller(":1.\($0)") }
    for one in all { _ = flood(quotas, one, most: 60) }
    for one in all { quotas.identify(one, as: 1000) }
    #expect(all.map { flood(quotas, $0) }.reduce(0, +) == 0)
  }

  @Test func sharesAreGivenBack() {
    let quotas = Quotas(fdLimit: 65536)
    quotas.identify(caller(":1.1"), as: 1000)
    for _ in 0..<3 {
      let taken = flood(quotas, caller(":1.1"))
      #expect(taken == Limits.perConnection.questions)
      for _ in 0..<taken { quotas.giveBack(question, of: caller(":1.1")) }
    }
  }

  @Test func whoLeftIsChargedUntilItsQuestionsEnd() {
    let quotas = Quotas(fdLimit: 65536)
    let (first, second) = (caller(":1.1"), caller(":1.2"))
    quotas.identify(first, as: 1000)
    quotas.identify(second, as: 1000)
    for _ in 0..<400 { _ = quotas.take(question, for: first) }
    quotas.left(first)
    let beside = flood(quotas, second)
    #expect(beside == Limits.perUser.questions - Limits.perConnection.questions)
    for _ in 0..<beside { quotas.giveBack(question, of: second) }
    for _ in 0..<Limits.perConnection.questions { quotas.giveBack(question, of: first) }
    #expect(flood(quotas, second) == Limits.perConnection.questions)
  }

  @Test func allUsersTogetherHaveAShare() {
    let quotas = Quotas(fdLimit: 1 << 20)
    let taken = (0..<1_000).reduce(0) { $0 + flood(quotas, caller(":1.\($1)")) }
    #expect(taken == Limits.questionsInAll)
    #expect(!quotas.take(question, for: caller(":1.0")))
    quotas.giveBack(question, of: caller(":1.0"))
    #expect(quotas.take(question, for: caller(":1.1000")))
  }

  @Test func fdsAreKeptFreeForTheBus() {
    let quotas = Quotas(fdLimit: Limits.reservedFDs + 10)
    #expect(flood(quotas, caller(":1.1")) == 10)
    #expect(flood(quotas, caller(":1.2")) == 0)
  }

  @Test func aRefusalTakesNothing() {
    let quotas = Quotas(fdLimit: Limits.reservedFDs + 10)
    #expect(!quotas.take(Load(questions: 1, fds: 11), for: caller(":1.1")))
    #expect(quotas.take(Load(questions: 1, fds: 10), for: caller(":1.1")))
  }

  @Test func whereFdsAreFewHalfAreLeftToOthers() {
    let quotas = Quotas(fdLimit: Limits.reservedFDs + 20)
    quotas.identify(caller(":1.1"), as: 1000)
    quotas.identify(caller(":1.2"), as: 1001)
    #expect(flood(quotas, caller(":1.1")) == 10)
    #expect(flood(quotas, caller(":1.2")) == 10)
  }

  @Test func allConnectionsThatABusGivesAUserLeaveRoomForOthers() {
    let quotas = Quotas(fdLimit: 65536)
    for i in 0..<256 { _ = flood(quotas, caller(":1.\(i)")) }
    quotas.identify(caller(":1.999"), as: 1001)
    #expect(flood(quotas, caller(":1.999")) == Limits.perConnection.questions)
  }

  @Test func aUserHasOnlySoManyConnections() {
    let quotas = Quotas(fdLimit: 65536)
    let all = (0...Limits.connectionsPerUser).map { caller(":1.\($0)") }
    #expect(all.filter { quotas.identify($0, as: 1000) }.count == Limits.connectionsPerUser)
    quotas.left(all[0])
    #expect(quotas.identify(all.last!, as: 1000))
    #expect(all.allSatisfy { quotas.identify($0, as: 1000) } == false)
  }

  @Test func whatAConnectionLeavesUnderWayIsNoConnection() {
    let quotas = Quotas(fdLimit: 65536)
    for i in 0..<(2 * Limits.connectionsPerUser) {
      #expect(quotas.identify(caller(":1.\(i)"), as: 1000))
      _ = quotas.take(question, for: caller(":1.\(i)"))
      quotas.left(caller(":1.\(i)"))
    }
    #expect(quotas.load(of: 1000).questions == 2 * Limits.connectionsPerUser)
    for i in 0..<(2 * Limits.connectionsPerUser) {
      quotas.giveBack(question, of: caller(":1.\(i)"))
    }
    #expect(quotas.load(of: 1000) == Load())
  }

  @Test func anAdministratorIsNotLockedOut() {
    let quotas = Quotas(fdLimit: 65536)
    let all = (0...Limits.connectionsPerUser).map { caller(":1.\($0)") }
    #expect(all.allSatisfy { quotas.identify($0, as: 0) })
  }

  @Test func whatAUserHasIsTold() {
    let quotas = Quotas(fdLimit: 65536)
    quotas.identify(caller(":1.1"), as: 1000)
    quotas.identify(caller(":1.2"), as: 1000)
    _ = quotas.take(question, for: caller(":1.1"))
    _ = quotas.take(question, for: caller(":1.2"))
    #expect(quotas.load(of: 1000) == question + question)
    #expect(quotas.load(of: 1001) == Load())
  }
}
