// Which connections are sent PlacementChanged when an answer changes. Pure: the daemon and the
// scenario player both decide by this.
//
// An asker is subscribed to a buffer as long as the last answer it was given is open: not settled,
// or served although an observation of the buffer was due or in progress. After each observation of
// one of the buffer's planes, the asker's latest question is answered again. A different answer is
// sent; a settled answer ends the subscription. The owner decides how many subscriptions an asker
// may hold: an asker that is refused one learns of a change when it asks again.

package import Placement

extension Answer {
  /// An observation may change this answer; the change is sent to the asker.
  package var isOpen: Bool { recheck != 0 || stale }

  /// Whether an asker that was given `self` must be sent `new`.
  package func isChanged(by new: Answer) -> Bool {
    if (device, access, confidence) != (new.device, new.access, new.confidence) { return true }
    return verdicts != nil && new.verdicts != nil && verdicts != new.verdicts
  }
}

package struct Subscriptions {
  /// What an observation changes for the buffer's subscribers.
  package struct News {
    /// To be sent, in the order of the questions.
    package var changes: [(asker: UInt64, answer: Answer)] = []
    /// The askers whose subscription ended.
    package var ended: [UInt64] = []
  }

  private struct Key: Hashable {
    var buffer: BufferIdentity
    var asker: UInt64
  }
  private struct Subscription {
    var query: Query
    /// The answer that was given or sent last.
    var answer: Answer
  }

  private var subscriptions: [Key: Subscription] = [:]
  /// Subscriptions by each of a buffer's planes; a subscription itself is stored under plane 0.
  private var keys: [BufferIdentity: [Key]] = [:]

  package init() {}
  package var count: Int { subscriptions.count }

  /// Whether `asker` would be sent a change of this buffer's placement.
  package func has(_ asker: UInt64, _ buffer: BufferIdentity) -> Bool {
    subscriptions[Key(buffer: buffer, asker: asker)] != nil
  }

  /// `asker` was given `answer` to `query`, its latest question about the buffer.
  /// - Parameter mayAdd: whether one more may be held for the asker; called only if it has none for
  ///   this buffer.
  /// - Returns: by how much the number of the asker's subscriptions changed: 1, 0 or -1.
  package mutating func told(
    _ asker: UInt64, _ query: Query, _ answer: Answer, mayAdd: () -> Bool
  ) -> Int {
    if !answer.isOpen && subscriptions.isEmpty { return 0 }
    let key = Key(buffer: answer.buffer, asker: asker)
    let new = Subscription(query: query, answer: answer)
    if answer.isOpen, subscriptions[key]?.query.planes == query.planes {
      subscriptions[key] = new
      return 0
    }
    let had = drop(key)
    guard answer.isOpen, had || mayAdd() else { return had ? -1 : 0 }
    add(key, new)
    return had ? 0 : 1
  }

  /// An observation of `buffer` has ended.
  /// - Parameter reconsider: the answer by what is known now; nil: not known, and nothing is sent.
  package mutating func looked(
    at buffer: BufferIdentity, reconsider: (Query) -> Answer?
  ) -> News {
    var news = News()
    guard !subscriptions.isEmpty, let concerned = keys[buffer] else { return news }
    for key in concerned {
      guard let old = subscriptions[key], let new = reconsider(old.query) else { continue }
      if old.answer.isChanged(by: new) { news.changes.append((key.asker, new)) }
      if new.isOpen {
        subscriptions[key]!.answer = new
      } else {
        _ = drop(key)
        news.ended.append(key.asker)
      }
    }
    return news
  }

  /// The asker has disconnected. Returns how many subscriptions it had.
  package mutating func forget(_ asker: UInt64) -> Int {
    guard !subscriptions.isEmpty else { return 0 }
    return subscriptions.keys.filter { $0.asker == asker }.count { drop($0) }
  }

  private mutating func add(_ key: Key, _ subscription: Subscription) {
    subscriptions[key] = subscription
    for plane in subscription.query.distinctPlanes { keys[plane, default: []].append(key) }
  }

  private mutating func drop(_ key: Key) -> Bool {
    guard let old = subscriptions.removeValue(forKey: key) else { return false }
    for plane in old.query.distinctPlanes {
      keys[plane]!.removeAll { $0 == key }
      if keys[plane]!.isEmpty { keys[plane] = nil }
    }
    return true
  }
}

extension Query {
  fileprivate var distinctPlanes: Set<BufferIdentity> {
    Set((0..<planes.count).map { planes[$0] })
  }
}
