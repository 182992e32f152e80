// A queue in which users take turns: after one item of a user comes one of the next user, however
// many the first one has.

package struct FairQueue<Element> {
  private var queues: [(user: UInt32, waiting: ArraySlice<Element>)] = []
  /// The index of the user whose turn it is.
  private var at = 0

  package init() {}

  package var isEmpty: Bool { queues.isEmpty }

  package mutating func add(_ element: Element, of user: UInt32) {
    if let mine = queues.firstIndex(where: { $0.user == user }) {
      queues[mine].waiting.append(element)
    } else {
      queues.append((user, [element]))
    }
  }

  package mutating func next() -> Element? {
    guard !queues.isEmpty else { return nil }
    let element = queues[at].waiting.removeFirst()
    if queues[at].waiting.isEmpty { queues.remove(at: at) } else { at += 1 }
    if at >= queues.count { at = 0 }
    return element
  }
}
