// Who asked about which buffer, so that a changed placement reaches them and nobody else.

internal import Bus
internal import Placement

/// Bounded for each caller and in all: when it is full the oldest question is forgotten, and that
/// caller learns of the change when it asks again.
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
  private var counts: [Caller: Int] = [:]
  let perCaller = 1024
  let inAll = 16_384

  var count: Int { watches.count }

  /// Only answers that are not settled can change without a new generation.
  mutating func note(_ caller: Caller, _ query: Query, _ answer: Answer) {
    let key = Key(buffer: answer.buffer, caller: caller)
    if watches[key] == nil {
      guard answer.recheck != 0, watches.count < inAll, counts[caller, default: 0] < perCaller else {
        return
      }
      callers[answer.buffer, default: []].append(caller)
      counts[caller, default: 0] += 1
    }
    watches[key] = Watch(caller: caller, query: query, answer: answer)
  }

  func watching(_ buffer: BufferIdentity) -> [Watch] {
    (callers[buffer] ?? []).compactMap { watches[Key(buffer: buffer, caller: $0)] }
  }

  mutating func forget(_ caller: Caller) {
    guard counts.removeValue(forKey: caller) != nil else { return }
    for key in watches.keys where key.caller == caller {
      watches[key] = nil
      callers[key.buffer]?.removeAll { $0 == caller }
      if callers[key.buffer]?.isEmpty == true { callers[key.buffer] = nil }
    }
  }
}
