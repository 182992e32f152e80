// Who asked about which buffer, so that a changed placement reaches them and nobody else. What may be
// watched is bounded by Quotas: who is at its limit learns of a change when it asks again.

internal import Bus
internal import Placement

struct Watches {
  private struct Key: Hashable {
    var buffer: BufferIdentity
    var caller: Caller
  }
  struct Watch {
    var caller: Caller
    var query: Query
    var answer: Answer
  }

  private var watches: [Key: Watch] = [:]
  private var callers: [BufferIdentity: [Caller]] = [:]

  var count: Int { watches.count }

  func has(_ caller: Caller, _ buffer: BufferIdentity) -> Bool {
    watches[Key(buffer: buffer, caller: caller)] != nil
  }

  /// Adds the watch, or notes what its caller was told last.
  mutating func note(_ caller: Caller, _ query: Query, _ answer: Answer) {
    let old = watches.updateValue(
      Watch(caller: caller, query: query, answer: answer),
      forKey: Key(buffer: answer.buffer, caller: caller))
    if old == nil { callers[answer.buffer, default: []].append(caller) }
  }

  func watching(_ buffer: BufferIdentity) -> [Watch] {
    (callers[buffer] ?? []).compactMap { watches[Key(buffer: buffer, caller: $0)] }
  }

  /// Whether there was one.
  mutating func drop(_ caller: Caller, _ buffer: BufferIdentity) -> Bool {
    guard watches.removeValue(forKey: Key(buffer: buffer, caller: caller)) != nil else {
      return false
    }
    callers[buffer]?.removeAll { $0 == caller }
    if callers[buffer]?.isEmpty == true { callers[buffer] = nil }
    return true
  }

  /// How many there were.
  mutating func forget(_ caller: Caller) -> Int {
    let mine = watches.keys.filter { $0.caller == caller }
    for key in mine { _ = drop(caller, key.buffer) }
    return mine.count
  }
}
