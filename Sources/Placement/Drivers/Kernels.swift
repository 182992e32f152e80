// Kernel versions, and what holds for a range of them.

package struct KernelVersion: Sendable, Hashable, Comparable {
  package var major: Int
  package var minor: Int
  package init(_ major: Int, _ minor: Int) {
    self.major = major
    self.minor = minor
  }
  package static func < (a: Self, b: Self) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
}

/// The first and last kernel that a fact is known to hold on; nil: no bound. If a fact changed
/// between two kernels that were read, it is claimed for neither side of the gap.
package struct KernelRange: Sendable, Hashable {
  package var since: KernelVersion?
  package var until: KernelVersion?

  package init(since: KernelVersion? = nil, until: KernelVersion? = nil) {
    self.since = since
    self.until = until
  }
  package static let all = KernelRange()
  package static func since(_ major: Int, _ minor: Int) -> Self {
    Self(since: KernelVersion(major, minor))
  }
  package static func until(_ major: Int, _ minor: Int) -> Self {
    Self(until: KernelVersion(major, minor))
  }

  /// An unknown kernel (nil) is contained in the unbounded range only.
  package func contains(_ kernel: KernelVersion?) -> Bool {
    guard since != nil || until != nil else { return true }
    guard let kernel else { return false }
    return since.map { kernel >= $0 } ?? true && until.map { kernel <= $0 } ?? true
  }
}

extension KernelRange {
  /// dma_buf_dynamic_attach (drivers/dma-buf/dma-buf.c) does not map. Until 6.15 it did where only one
  /// of the two drivers is dynamic [6.1, 6.12; 7.3].
  static let attachMapsNothing = since(7, 3)
}

/// A fact, and the kernels on which it holds.
package struct Dated<Fact: Sendable & Hashable>: Sendable, Hashable {
  package var fact: Fact
  package var kernels: KernelRange
  package init(_ fact: Fact, _ kernels: KernelRange = .all) {
    self.fact = fact
    self.kernels = kernels
  }
}
