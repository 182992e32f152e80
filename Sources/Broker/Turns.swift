// Users take turns: however much one has waiting, another's next comes after one of it.

struct Turns<Element> {
  private var queues: [(user: UInt32, waiting: ArraySlice<Element>)] = []
  /// Whose turn it is.
  private var at = 0

  var isEmpty: Bool { queues.isEmpty }

  mutating func add(_ element: Element, of user: UInt32) {
    if let mine = queues.firstIndex(where: { $0.user == user }) {
      queues[mine].waiting.append(element)
    } else {
      queues.append((user, [element]))
    }
  }

  mutating func next() -> Element? {
    guard !queues.isEmpty else { return nil }
    let element = queues[at].waiting.removeFirst()
    if queues[at].waiting.isEmpty { queues.remove(at: at) } else { at += 1 }
    if at >= queues.count { at = 0 }
    return element
  }
}
