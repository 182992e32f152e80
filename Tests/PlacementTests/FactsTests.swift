// Observations merged over time: state, stable, intent; and the buffer's home.

import Testing

@testable import Placement

@Suite struct FactsTests {
  private let laptop = Machine.laptop("xe")
  private var atHome: Observation { laptop.look(reached: ["dgpu"], wouldMove: ["igpu"]) }
  private var evicted: Observation { laptop.look(reached: ["dgpu", "igpu"]) }

  @Test func oneLookIsAState() {
    for look in [atHome, evicted] {
      let facts = laptop.facts(look)
      #expect(facts.confidence == .state)
      #expect(facts.interval == Recheck.first)
    }
    #expect(laptop.facts(atHome).residency == .dedicated)
    #expect(laptop.facts(atHome).home == .dedicated)
    #expect(laptop.facts(evicted).residency == .system)
    #expect(laptop.facts(evicted).home == .unknown)
  }

  @Test func evictedAtFirstSightThenHome() {
    let facts = laptop.facts(evicted, atHome)
    #expect(facts.confidence == .stable)
    #expect(facts.settled)
    #expect(facts.home == .dedicated)
    #expect(laptop.names(facts.reachedAlways) == ["dgpu"])
  }

  @Test func homeThenEvicted() {
    let facts = laptop.facts(atHome, evicted)
    #expect(facts.confidence == .stable)
    #expect(facts.home == .dedicated)
    #expect(facts.residency == .system)
    #expect(laptop.names(facts.reachedAlways) == ["dgpu"])
  }

  @Test func confirmedAtHome() {
    #expect(laptop.facts(atHome, atHome).confidence == .stable)
  }

  @Test func pingPongSettlesOnItsHome() {
    for start in 0..<2 {
      let looks = (0..<100).map { ($0 + start) % 2 == 0 ? evicted : atHome }
      let facts = laptop.facts(after: looks)
      #expect(facts.confidence == .stable)
      #expect(facts.settled)
      #expect(facts.home == .dedicated)
      #expect(laptop.names(facts.reachedAlways) == ["dgpu"])
    }
  }

  /// 250 ms, doubled up to 8 s: after about 16 s of observations that agree, the answer is settled.
  @Test func looksThatAgreeSettleAfterTheWholeBackOff() {
    var facts = BufferFacts(of: Machine.buffer, among: laptop.table)
    var now: Milliseconds = 5_000
    var intervals: [UInt32] = []
    repeat {
      facts.merge(evicted, of: Machine.buffer, among: laptop.table, at: now)
      intervals.append(facts.interval)
      now = facts.recheckTime
    } while !facts.settled && intervals.count < 20
    #expect(intervals == [250, 500, 1_000, 2_000, 4_000, 8_000, 0])
    #expect(now - 5_000 == 15_750)
    #expect(facts.confidence == .stable)
    #expect(facts.home == .system)
  }

  @Test func lookedAtTooSoonIsNoSecondLook() {
    var facts = BufferFacts(of: Machine.buffer, among: laptop.table)
    facts.merge(atHome, of: Machine.buffer, among: laptop.table, at: 1_000)
    facts.merge(atHome, of: Machine.buffer, among: laptop.table, at: 1_100)
    #expect(facts.confidence == .state)
    #expect(facts.recheckTime == 1_250)
    facts.merge(atHome, of: Machine.buffer, among: laptop.table, at: 1_101, fresh: true)
    #expect(facts.confidence == .stable)
  }

  @Test func aSettledAnswerThatWasWrongIsMended() {
    let facts = laptop.facts(after: Array(repeating: evicted, count: 8) + [atHome])
    #expect(facts.confidence == .stable)
    #expect(facts.home == .dedicated)
    #expect(laptop.names(facts.reachedAlways) == ["dgpu"])
  }

  @Test func looksDontSettleWhileTheExporterSleeps() {
    var laptop = laptop
    laptop.change("dgpu") { $0.description.power = .suspended }
    let looks = Array(repeating: laptop.look(reached: ["igpu"]), count: 20)
    let facts = laptop.facts(after: looks)
    #expect(facts.confidence == .state)
    #expect(facts.interval == Recheck.last)
    #expect(facts.home == .unknown)
  }

  // MARK: Intention

  @Test(arguments: [Memory.dedicated, .system])
  func theExportersRecordIsItsIntention(home: Memory) {
    let laptop = Machine.laptop()
    let facts = laptop.facts(
      laptop.look(reached: ["dgpu", "igpu"], records: ["dgpu": home]))
    #expect(facts.confidence == .intent)
    #expect(facts.home == home)
    #expect(facts.settled)
  }

  @Test func systemMemoryInTheRecordOfOneThatMayHaveImportedItSaysNothing() {
    let machine = Machine.workstation("amdgpu", "xe")
    let facts = machine.facts(machine.look(reached: ["a", "b"], records: ["a": .system]))
    #expect(facts.confidence == .state)
    #expect(facts.home == .unknown)
  }

  @Test func systemMemoryInTheRecordsOfAllThatMayHaveExportedItIsItsIntention() {
    let machine = Machine.workstation("amdgpu", "amdgpu")
    let facts = machine.facts(
      machine.look(reached: ["a", "b"], records: ["a": .system, "b": .system]))
    #expect(facts.confidence == .intent)
    #expect(facts.home == .system)
    #expect(facts.exporters.candidates.certain == nil)
  }

  @Test func introspectionTellsIntentionOrResidency() {
    let machine = Machine.workstation(noMove: .ignored)
    func facts(_ preferred: Memory, _ residencies: Memory...) -> BufferFacts {
      machine.facts(
        after: residencies.map {
          machine.look(
            introspection: machine.introspection("b", residency: $0, preferred: preferred))
        })
    }
    let intended = facts(.dedicated, .system)
    #expect(intended.confidence == .intent)
    #expect(intended.home == .dedicated)
    #expect(intended.residency == .system)
    #expect(facts(.unknown, .system).confidence == .state)
    #expect(facts(.unknown, .system).home == .unknown)
    #expect(facts(.unknown, .system, .dedicated).home == .dedicated)
    #expect(facts(.unknown, .system, .dedicated).confidence == .stable)
  }

  @Test func theDriversRecordIsStrongerThanIntrospection() {
    let laptop = Machine.laptop()
    let look = laptop.look(
      reached: ["dgpu"], records: ["dgpu": .system],
      introspection: laptop.introspection("dgpu", residency: .system, preferred: .dedicated))
    #expect(laptop.facts(look).home == .system)
  }

  @Test func whatCanOnlyBeInSystemMemoryNeedsNoSecondLook() {
    for name in [ExporterName.named("udmabuf"), .named("virtio_gpu")] {
      var machine = laptop
      machine.add("virtio", "virtio_gpu")
      let facts = machine.facts(machine.look(name: name, reached: ["igpu", "dgpu"]))
      #expect(facts.home == .system)
      #expect(facts.confidence == .state)
      #expect(facts.settled)
    }
  }

  // MARK: Nothing to compare

  @Test func nothingAskedIsAGuessUnlessTheExporterIsCertain() {
    let machine = Machine.workstation(noMove: .ignored)
    #expect(machine.facts(machine.look()).confidence == .guess)
    #expect(machine.facts(machine.look()).settled)
    #expect(laptop.facts(laptop.look()).confidence == .state)
    #expect(laptop.facts(laptop.look()).settled)
  }

  @Test func theExporterAloneDoesntTellTheMemory() {
    let facts = laptop.facts(laptop.look(reached: ["dgpu"]))
    #expect(facts.residency == .unknown)
    #expect(facts.settled)
  }

  @Test func theOtherHalfOfASplitPairDoesntTellTheMemory() {
    var machine = Machine()
    machine.add("gpu", "gpudrv")
    machine.add("display", "displaydrv") { $0.description.pairedWith = "gpu" }
    machine.add("egpu", "amdgpu", dedicated: 1 << 30)
    let pair = machine.look(reached: ["gpu", "display"])
    let both = machine.look(reached: ["gpu", "display", "egpu"])
    #expect(machine.facts(pair).residency == .unknown)
    #expect(machine.facts(both).residency == .system)
  }

  /// A reach counts for the memory in which it was seen: a peer may reach the buffer at home, or
  /// only because it was evicted. Introspection tells which.
  @Test func peersReachEachOthersMemoryAndDontTellIt() {
    let machine = Machine.workstation("amdgpu", "amdgpu")
    var look = machine.look(reached: ["a", "b"], records: ["a": .system, "b": .dedicated])
    let facts = machine.facts(look)
    #expect((facts.residency, facts.home) == (.unknown, .dedicated))
    #expect(machine.names(facts.reachedAtHome) == [])
    look.introspection = machine.introspection(
      "b", residency: .dedicated, preferred: .dedicated)
    #expect(machine.names(machine.facts(look).reachedAtHome) == ["a", "b"])
  }

  /// amdgpu_dma_buf_attach (7.3): a peer only if pm_runtime_get_if_active succeeds. Other drivers'
  /// memory needs no such check.
  @Test(arguments: [("amdgpu", false), ("xe", true)])
  func aPeerReachesASleepersMemoryOnlyIfThatIsOneOfThem(exporter: String, stays: Bool) {
    var machine = Machine()
    machine.kernel = KernelVersion(7, 3)
    machine.add("exporter", exporter, dedicated: 8 << 30)
    machine.add("peer", "xe", dedicated: 8 << 30)
    let facts = machine.facts(
      machine.look(
        reached: ["exporter", "peer"],
        introspection: machine.introspection(
          "exporter", residency: .dedicated, preferred: .dedicated)))
    #expect(machine.access("peer", facts) == .inPlace)
    machine.change("exporter") { $0.description.power = .suspended }
    #expect(machine.access("peer", facts) == (stays ? .inPlace : .moves))
    machine.change("exporter") { $0.description.power = .active }
    #expect(machine.access("peer", facts) == .inPlace)
  }

  @Test func whatWasEvictedWhenItsExporterWentStaysWhereItIs() {
    let laptop = Machine.laptop()
    var facts = laptop.facts(
      laptop.look(reached: ["dgpu", "igpu"], records: ["dgpu": .dedicated]))
    #expect(facts.reachedAtHome.isEmpty)
    facts.scrub(laptop["dgpu"])
    #expect(laptop.names(facts.reachedAtHome) == ["igpu"])
  }

  // MARK: Age and size

  @Test func settledAnswersGrowStale() {
    let facts = laptop.facts(evicted, atHome)
    #expect(!facts.isStale(at: facts.observed + Recheck.refreshAfter - 1))
    #expect(facts.isStale(at: facts.observed + Recheck.refreshAfter))
    let intended = Machine.laptop()
    let certain = intended.facts(
      intended.look(reached: ["dgpu"], records: ["dgpu": .dedicated]))
    #expect(!certain.isStale(at: certain.observed + 10 * Recheck.refreshAfter))
  }

  @Test func seedIsNeverMoreThanAState() throws {
    let seed = try #require(
      laptop.facts(atHome, atHome).seed(safeOn: laptop.table.ready, at: 99_000))
    #expect(seed.confidence == .state)
    #expect(seed.seeded)
    #expect(seed.recheckTime == 99_000 + Milliseconds(Recheck.last))
    #expect(laptop.names(seed.reachedAlways) == ["dgpu"])
  }

  @Test func failingDevicesAreForgivenWhenTheyReachIt() {
    let failed = laptop.look(reached: ["dgpu"], failing: ["igpu"])
    #expect(laptop.names(laptop.facts(failed).failing) == ["igpu"])
    #expect(laptop.facts(failed, evicted).failing.isEmpty)
  }
}
