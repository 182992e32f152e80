// What is known of every buffer asked about lately: an open-addressing table of plain records,
// bounded by count. When it is full, a new buffer takes the place of the least recently used one of
// the user who has most, so that no user can push out the buffers of another who has fewer. A
// look-up allocates nothing and counts no references.
//
// Invariants: `index` is a power of two and at most five eighths full; an entry is a record's
// position + 1, 0 is empty; the records of each user form one list from its share's `newest` to its
// `oldest`.

package struct BufferCache {
  private struct Record {
    var facts: BufferFacts
    var inode: UInt64
    var newer: UInt32
    var older: UInt32
  }
  private static let none = UInt32.max

  /// A user's records.
  private struct Share {
    var user: UInt32
    var count = 0
    var newest = BufferCache.none
    var oldest = BufferCache.none
  }
  /// Memory that one buffer takes at most, with its part of an index that has just doubled.
  package static let bytesPerBuffer =
    MemoryLayout<Record>.stride + (16 * MemoryLayout<UInt32>.stride + 4) / 5

  /// Slots at first, a power of two: the index doubles as buffers come.
  private static let smallestIndex = 128

  package let limit: Int
  private var records: ContiguousArray<Record> = []
  private var index: ContiguousArray<UInt32>
  /// Positions are never given up, but taken over by another user when empty.
  private var shares: ContiguousArray<Share> = []

  /// - Precondition: `limit` is at least 1.
  package init(limit: Int) {
    precondition(limit > 0 && limit < Int(BufferCache.none))
    self.limit = limit
    // Address space only: pages are touched as buffers come.
    records.reserveCapacity(limit)
    index = ContiguousArray(repeating: 0, count: Self.smallestIndex)
  }

  package var count: Int { records.count }

  /// Where the buffer's facts are until the next `store`.
  package func find(_ buffer: BufferIdentity) -> Int? {
    var at = start(of: buffer.inode)
    while index[at] != 0 {
      let record = Int(index[at] - 1)
      if records[record].inode == buffer.inode { return record }
      at = (at + 1) & (index.count - 1)
    }
    return nil
  }

  /// The buffer's facts, which become the most recently used; nil: it is not in the cache.
  package mutating func recall(_ buffer: BufferIdentity) -> BufferFacts? {
    guard let record = find(buffer) else { return nil }
    touch(record)
    return records[record].facts
  }

  /// At this epoch no device is left to be asked about the buffer.
  package mutating func note(_ epoch: UInt32, of buffer: BufferIdentity) {
    if let record = find(buffer) { records[record].facts.epoch = epoch }
  }

  package subscript(record: Int) -> BufferFacts {
    get { records[record].facts }
    set {
      let share = records[record].facts.share
      records[record].facts = newValue
      records[record].facts.share = share
    }
  }

  /// Makes the record the most recently used of its share.
  package mutating func touch(_ record: Int) {
    let record = UInt32(record)
    guard shares[share(of: record)].newest != record else { return }
    unlink(record)
    link(record)
  }

  /// Adds it to the user's share, or replaces what is known of it; it stays in the share that it is
  /// in.
  package mutating func store(
    _ facts: BufferFacts, of buffer: BufferIdentity, for user: UInt32 = 0
  ) {
    if let record = find(buffer) {
      let share = records[record].facts.share
      records[record].facts = facts
      records[record].facts.share = share
      return touch(record)
    }
    let share = findShare(of: user)
    let record: UInt32
    var new = Record(facts: facts, inode: buffer.inode, newer: Self.none, older: Self.none)
    new.facts.share = UInt16(share)
    if records.count < limit {
      record = UInt32(records.count)
      records.append(new)
      if 8 * records.count > 5 * index.count { grow() }
    } else {
      record = shares[largest(preferring: share)].oldest
      unlink(record)
      forget(records[Int(record)].inode)
      records[Int(record)] = new
    }
    enter(record)
    link(record)
  }

  package func count(of user: UInt32) -> Int {
    shares.first { $0.user == user }?.count ?? 0
  }

  package mutating func updateAll(_ change: (inout BufferFacts) -> Void) {
    for record in records.indices { change(&records[record].facts) }
  }

  /// Entries passed to find the record that is found last.
  package var longestSearch: Int {
    records.map { record in
      var (at, steps) = (start(of: record.inode), 1)
      while records[Int(index[at] - 1)].inode != record.inode {
        at = (at + 1) & (index.count - 1)
        steps += 1
      }
      return steps
    }.max() ?? 0
  }

  // MARK: The index

  /// Inodes are consecutive numbers: multiplied by 2^64 / phi they spread evenly.
  private func start(of inode: UInt64) -> Int {
    Int(truncatingIfNeeded: (inode &* 0x9e37_79b9_7f4a_7c15) >> 32) & (index.count - 1)
  }

  private mutating func enter(_ record: UInt32) {
    var at = start(of: records[Int(record)].inode)
    while index[at] != 0 { at = (at + 1) & (index.count - 1) }
    index[at] = record + 1
  }

  /// Takes the entry out and moves back those that were pushed past it.
  private mutating func forget(_ inode: UInt64) {
    let mask = index.count - 1
    var hole = start(of: inode)
    while records[Int(index[hole] - 1)].inode != inode { hole = (hole + 1) & mask }
    var at = (hole + 1) & mask
    while index[at] != 0 {
      let wanted = start(of: records[Int(index[at] - 1)].inode)
      if (at &- wanted) & mask >= (at &- hole) & mask {
        index[hole] = index[at]
        hole = at
      }
      at = (at + 1) & mask
    }
    index[hole] = 0
  }

  private mutating func grow() {
    index = ContiguousArray(repeating: 0, count: 2 * index.count)
    for record in records.indices.dropLast() { enter(UInt32(record)) }
  }

  // MARK: The shares

  private func share(of record: UInt32) -> Int { Int(records[Int(record)].facts.share) }

  private mutating func findShare(of user: UInt32) -> Int {
    if let own = shares.firstIndex(where: { $0.user == user }) { return own }
    if let empty = shares.firstIndex(where: { $0.count == 0 }) {
      shares[empty].user = user
      return empty
    }
    // A share's number has 16 bits: users beyond those have the last share together.
    if shares.count <= UInt16.max { shares.append(Share(user: user)) }
    return shares.count - 1
  }

  /// The share with the most records: `own` if it is among them, else the one looked at longest
  /// ago.
  private func largest(preferring own: Int) -> Int {
    var largest = own
    for share in shares.indices where shares[share].count >= max(1, shares[largest].count) {
      if shares[share].count > shares[largest].count
        || largest != own && age(share) < age(largest)
      {
        largest = share
      }
    }
    return largest
  }

  private func age(_ share: Int) -> Milliseconds {
    records[Int(shares[share].oldest)].facts.observed
  }

  private mutating func unlink(_ record: UInt32) {
    let share = share(of: record)
    let (newer, older) = (records[Int(record)].newer, records[Int(record)].older)
    if newer == Self.none {
      shares[share].newest = older
    } else {
      records[Int(newer)].older = older
    }
    if older == Self.none {
      shares[share].oldest = newer
    } else {
      records[Int(older)].newer = newer
    }
    shares[share].count -= 1
  }

  private mutating func link(_ record: UInt32) {
    let share = share(of: record)
    let newest = shares[share].newest
    records[Int(record)].newer = Self.none
    records[Int(record)].older = newest
    if newest != Self.none { records[Int(newest)].newer = record }
    shares[share].newest = record
    if shares[share].oldest == Self.none { shares[share].oldest = record }
    shares[share].count += 1
  }
}
