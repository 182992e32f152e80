// A queue of numbers in which users take turns: after one item of a user comes one of the next
// user, however many the first one has. Not generic: in another room it would work by type
// metadata, 9,000 instructions an item.

package struct FairQueue {
  private var queues: [(user: UInt32, waiting: ArraySlice<UInt64>)] = []
  /// The index of the user whose turn it is.
  private var at = 0

  package init() {}

  package var isEmpty: Bool { queues.isEmpty }

  package mutating func add(_ element: UInt64, of user: UInt32) {
    if let mine = queues.firstIndex(where: { $0.user == user }) {
      queues[mine].waiting.append(element)
    } else {
      queues.append((user, [element]))
    }
  }

  package mutating func next() -> UInt64? {
    guard !queues.isEmpty else { return nil }
    let element = queues[at].waiting.removeFirst()
    if queues[at].waiting.isEmpty { queues.remove(at: at) } else { at += 1 }
    if at >= queues.count { at = 0 }
    return element
  }
}
