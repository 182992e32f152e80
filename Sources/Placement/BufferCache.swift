// What is known of every buffer asked about lately: an open-addressing table of plain records, bounded
// by count; the least recently asked goes first. A look-up allocates nothing and counts no references.
//
// Invariants: `index` is a power of two and at most five eighths full; an entry is a record's position + 1, 0
// is empty; the records form one list from `newest` to `oldest`.

package struct BufferCache {
  private struct Record {
    var facts: BufferFacts
    var inode: UInt64
    var newer: UInt32
    var older: UInt32
  }
  private static let none = UInt32.max

  /// Memory that one buffer takes at most, its share of an index that has just doubled included.
  package static let bytesPerBuffer =
    MemoryLayout<Record>.stride + (16 * MemoryLayout<UInt32>.stride + 4) / 5

  package let limit: Int
  private var records: ContiguousArray<Record> = []
  private var index: ContiguousArray<UInt32>
  private var newest = BufferCache.none
  private var oldest = BufferCache.none

  /// - Precondition: `limit` is at least 1.
  package init(limit: Int) {
    precondition(limit > 0 && limit < Int(BufferCache.none))
    self.limit = limit
    // Address space only: pages are touched as buffers come.
    records.reserveCapacity(limit)
    var size = 16
    while size < 2 * min(limit, 1024) { size *= 2 }
    index = ContiguousArray(repeating: 0, count: size)
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

  /// The buffer's facts, now the last to go; nil: never heard of.
  package mutating func recall(_ buffer: BufferIdentity) -> BufferFacts? {
    guard let record = find(buffer) else { return nil }
    touch(record)
    return records[record].facts
  }

  /// No device of this epoch is left to be asked about the buffer.
  package mutating func note(_ epoch: UInt32, of buffer: BufferIdentity) {
    if let record = find(buffer) { records[record].facts.epoch = epoch }
  }

  package subscript(record: Int) -> BufferFacts {
    get { records[record].facts }
    set { records[record].facts = newValue }
  }

  /// Makes the record the last to go.
  package mutating func touch(_ record: Int) {
    let record = UInt32(record)
    guard newest != record else { return }
    unlink(record)
    link(record)
  }

  /// Adds or replaces; the oldest record gives way when the cache is full.
  package mutating func store(_ facts: BufferFacts, of buffer: BufferIdentity) {
    if let record = find(buffer) {
      records[record].facts = facts
      return touch(record)
    }
    let record: UInt32
    let new = Record(facts: facts, inode: buffer.inode, newer: Self.none, older: Self.none)
    if records.count < limit {
      record = UInt32(records.count)
      records.append(new)
      if 8 * records.count > 5 * index.count { grow() }
    } else {
      record = oldest
      unlink(record)
      forget(records[Int(record)].inode)
      records[Int(record)] = new
    }
    enter(record)
    link(record)
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

  // MARK: The list

  private mutating func unlink(_ record: UInt32) {
    let (newer, older) = (records[Int(record)].newer, records[Int(record)].older)
    if newer == Self.none { newest = older } else { records[Int(newer)].older = older }
    if older == Self.none { oldest = newer } else { records[Int(older)].newer = newer }
  }

  private mutating func link(_ record: UInt32) {
    records[Int(record)].newer = Self.none
    records[Int(record)].older = newest
    if newest != Self.none { records[Int(newest)].newer = record }
    newest = record
    if oldest == Self.none { oldest = record }
  }
}
