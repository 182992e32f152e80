// The table of buffers behaves as a dictionary with a queue, in bounded memory.

import Simulation
import Testing

@testable import Placement

@Suite struct CacheTests {
  private let blank = BufferFacts(of: Machine.buffer, among: DeviceTable())

  private func marked(_ epoch: UInt64) -> BufferFacts {
    var facts = blank
    facts.epoch = UInt32(truncatingIfNeeded: epoch)
    return facts
  }

  /// A plain model: the order of use, and what was stored.
  private struct Model {
    var limit: Int
    var order: [UInt64] = []
    var epochs: [UInt64: UInt64] = [:]
    mutating func touch(_ inode: UInt64) {
      order.removeAll { $0 == inode }
      order.append(inode)
    }
    mutating func store(_ inode: UInt64, _ epoch: UInt64) {
      if epochs[inode] == nil && order.count == limit { epochs[order.removeFirst()] = nil }
      epochs[inode] = epoch
      touch(inode)
    }
  }

  @Test(arguments: [1, 2, 7, 64, 200])
  func behavesAsTheModel(limit: Int) {
    var random = Seeded(UInt64(limit))
    var cache = BufferCache(limit: limit)
    var model = Model(limit: limit)
    for step in UInt64(0)..<4_000 {
      // Inodes as kernels give them: consecutive, and sometimes far apart.
      let far: UInt64 = step % 5 == 0 ? 1 << 40 : 1
      let inode = UInt64.random(in: 1...UInt64(3 * limit), using: &random) * far
      if Bool.random(using: &random) {
        cache.store(marked(step), of: BufferIdentity(inode: inode))
        model.store(inode, step)
      } else if let record = cache.find(BufferIdentity(inode: inode)) {
        #expect(cache[record].epoch == UInt32(model.epochs[inode] ?? .max))
        cache.touch(record)
        model.touch(inode)
      } else {
        #expect(model.epochs[inode] == nil)
      }
      #expect(cache.count == model.order.count)
    }
    for (inode, epoch) in model.epochs {
      let record = cache.find(BufferIdentity(inode: inode))
      #expect(record.map { cache[$0].epoch } == UInt32(epoch))
    }
  }

  @Test func theLeastRecentlyAskedGoesFirst() {
    var cache = BufferCache(limit: 3)
    for inode in 1...3 as ClosedRange<UInt64> {
      cache.store(blank, of: BufferIdentity(inode: inode))
    }
    cache.touch(cache.find(BufferIdentity(inode: 1))!)
    cache.store(blank, of: BufferIdentity(inode: 4))
    #expect(cache.find(BufferIdentity(inode: 2)) == nil)
    for inode in [1, 3, 4] as [UInt64] {
      #expect(cache.find(BufferIdentity(inode: inode)) != nil)
    }
  }

  @Test func aFloodMakesNobodyElsesBuffersForgotten() {
    var cache = BufferCache(limit: 100)
    for inode in 1...20 as ClosedRange<UInt64> {
      cache.store(blank, of: BufferIdentity(inode: inode), for: 1000)
    }
    for inode in 101...1_100 as ClosedRange<UInt64> {
      cache.store(blank, of: BufferIdentity(inode: inode), for: 1001)
    }
    #expect((cache.count(of: 1000), cache.count(of: 1001)) == (20, 80))
    for inode in 1...20 as ClosedRange<UInt64> {
      #expect(cache.find(BufferIdentity(inode: inode)) != nil)
    }
  }

  @Test func whoComesLaterGetsAShareOfAFullCache() {
    var cache = BufferCache(limit: 100)
    for inode in 1...100 as ClosedRange<UInt64> {
      cache.store(blank, of: BufferIdentity(inode: inode), for: 1000)
    }
    for inode in 101...300 as ClosedRange<UInt64> {
      cache.store(blank, of: BufferIdentity(inode: inode), for: 1001)
    }
    #expect((cache.count(of: 1000), cache.count(of: 1001)) == (50, 50))
    // Each user keeps the buffers that it asked about last.
    #expect(cache.find(BufferIdentity(inode: 51)) != nil)
    #expect(cache.find(BufferIdentity(inode: 50)) == nil)
    #expect(cache.find(BufferIdentity(inode: 251)) != nil)
  }

  @Test func aBufferStaysInTheShareOfWhoAskedFirst() {
    var cache = BufferCache(limit: 10)
    cache.store(blank, of: BufferIdentity(inode: 1), for: 1000)
    cache.store(blank, of: BufferIdentity(inode: 1), for: 1001)
    #expect((cache.count(of: 1000), cache.count(of: 1001)) == (1, 0))
  }

  @Test func sharesOfUsersWithoutBuffersAreUsedAgain() {
    var cache = BufferCache(limit: 4)
    for user in 1...100_000 as ClosedRange<UInt32> {
      cache.store(blank, of: BufferIdentity(inode: UInt64(user)), for: user)
    }
    #expect(cache.count == 4)
    #expect(cache.count(of: 100_000) == 1)
  }

  @Test func aBufferCostsAtMost96Bytes() {
    #expect(BufferCache.bytesPerBuffer <= 96)
  }

  @Test func inodesInARowSpreadEvenly() {
    var cache = BufferCache(limit: 100_000)
    for inode in 1...100_000 as ClosedRange<UInt64> {
      cache.store(blank, of: BufferIdentity(inode: 4_000_000 + inode))
    }
    #expect(cache.count == 100_000)
    #expect(cache.longestSearch <= 8)
  }
}

@Suite struct SiblingTests {
  private let laptop = Machine.laptop("xe")
  private var facts: BufferFacts {
    laptop.facts(laptop.look(reached: ["dgpu"], wouldMove: ["igpu"]))
  }

  private func key(
    asker: UInt64 = 7, client: UInt32 = 42, format: UInt32? = 1, modifier: UInt64? = 2,
    size: UInt64 = 4096, exporter: ExporterName = .drm, user: UInt32 = 0
  ) -> SiblingKey? {
    var hints = Hints()
    hints.asker = asker
    hints.user = user
    hints.clientPID = client
    hints.format = format
    hints.modifier = modifier
    return SiblingKey(hints: hints, size: size, exporter: exporter)
  }

  /// For a buffer of the laptop that shows `drm`.
  private func taught(_ siblings: Siblings, _ key: SiblingKey, at now: Milliseconds) -> BufferFacts?
  {
    siblings.seed(
      for: key, mayBeOf: laptop.table.exporters(of: Machine.buffer, named: .drm),
      among: laptop.table, at: now)
  }

  @Test func siblingsTeachEachOther() throws {
    var siblings = Siblings()
    let key = try #require(self.key())
    #expect(taught(siblings, key, at: 0) == nil)
    siblings.learn(facts, from: key)
    let seed = try #require(taught(siblings, key, at: 99))
    #expect(seed.confidence == .state)
    #expect(laptop.names(seed.reachedAlways) == ["dgpu"])
  }

  @Test func othersAreNotSiblings() throws {
    var siblings = Siblings()
    siblings.learn(facts, from: try #require(key()))
    for other in [
      key(asker: 8), key(client: 43), key(format: 2), key(modifier: 3), key(size: 8192),
      key(modifier: nil),
      key(exporter: .named("i915")),
    ] {
      #expect(taught(siblings, try #require(other), at: 0) == nil)
    }
    #expect(key(client: 0) == nil)
    #expect(key(format: nil) == nil)
    #expect(key(size: 0) == nil)
  }

  @Test func guessesAndSeedsTeachNothing() throws {
    var siblings = Siblings()
    let key = try #require(self.key())
    siblings.learn(BufferFacts(of: Machine.buffer, among: laptop.table), from: key)
    siblings.learn(try #require(facts.seed(safeOn: laptop.table.ready, at: 0)), from: key)
    #expect(siblings.count == 0)
  }

  /// A buffer that was observed while it was evicted does not overrule what another showed at home.
  @Test func anEvictedSiblingUnteachesNothing() throws {
    var siblings = Siblings()
    let key = try #require(self.key())
    siblings.learn(facts, from: key)
    siblings.learn(laptop.facts(laptop.look(reached: ["dgpu", "igpu"])), from: key)
    let seed = try #require(taught(siblings, key, at: 99))
    #expect(laptop.names(seed.reachedAlways) == ["dgpu"])
    #expect(seed.home == .dedicated)
    #expect(seed.exporters.candidates.certain == laptop["dgpu"])
  }

  /// Buffers that can't have the same exporter are no group: the latest one counts.
  @Test func siblingsOfTwoDevicesAreNone() throws {
    let machine = Machine.workstation("nouveau", "nouveau")
    var siblings = Siblings()
    let key = try #require(self.key())
    siblings.learn(machine.facts(machine.look(reached: ["a"], wouldMove: ["b"])), from: key)
    siblings.learn(machine.facts(machine.look(reached: ["b"], wouldMove: ["a"])), from: key)
    let known = ExporterSet(DeviceSet(machine["b"]))
    let seed = try #require(
      siblings.seed(for: key, mayBeOf: known, among: machine.table, at: 99))
    #expect(machine.names(seed.reachedAlways) == ["b"])
  }

  @Test func forgottenWithTheClient() throws {
    var siblings = Siblings()
    siblings.learn(facts, from: try #require(key(client: 1)))
    siblings.learn(facts, from: try #require(key(client: 2)))
    siblings.forget(client: 1)
    #expect(taught(siblings, try #require(key(client: 1)), at: 0) == nil)
    #expect(taught(siblings, try #require(key(client: 2)), at: 0) != nil)
  }

  @Test func boundedTheOldestGoesFirst() throws {
    var siblings = Siblings(limit: 10)
    for client in 1...11 as ClosedRange<UInt32> {
      var facts = facts
      facts.observed = Milliseconds(client)
      siblings.learn(facts, from: try #require(key(client: client)))
    }
    #expect(siblings.count == 10)
    #expect(taught(siblings, try #require(key(client: 1)), at: 0) == nil)
    #expect(taught(siblings, try #require(key(client: 11)), at: 0) != nil)
  }

  @Test func aFloodPushesOutItsOwnGroups() throws {
    var siblings = Siblings(limit: 10)
    siblings.learn(facts, from: try #require(key(user: 1000)))
    for client in 1...20 as ClosedRange<UInt32> {
      var facts = facts
      facts.observed = Milliseconds(client)
      siblings.learn(facts, from: try #require(key(asker: 8, client: client, user: 1001)))
    }
    #expect(siblings.count == 10)
    #expect(taught(siblings, try #require(key(user: 1000)), at: 0) != nil)
  }

  @Test func aDeviceThatGoesIsForgotten() throws {
    var siblings = Siblings()
    let key = try #require(self.key())
    siblings.learn(facts, from: key)
    siblings.scrub(laptop["dgpu"])
    #expect(taught(siblings, key, at: 0) == nil, "its exporter has gone")
  }
}
