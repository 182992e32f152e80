// Swapchains: buffers of one client with the same format, modifier and size are siblings. A new one
// gets the facts of those before it, so that many short-lived buffers (a window that is resized)
// cost no probes.

package struct SiblingKey: Hashable, Sendable {
  /// The connection that asks: what it says of clients must not affect other callers' buffers.
  package var asker: UInt64
  /// The user of that connection.
  package var user: UInt32
  package var client: UInt32
  package var format: UInt32
  package var modifier: UInt64
  package var size: UInt64
  package var exporter: ExporterName

  /// nil: the query says too little of the buffer. The exporter's name comes from the kernel, all
  /// else from the asker: a wrong claim can't mix buffers of drivers with different names.
  package init?(hints: Hints, size: UInt64, exporter: ExporterName) {
    guard hints.clientPID != 0, let format = hints.format, size != 0 else { return nil }
    asker = hints.asker
    user = hints.user
    client = hints.clientPID
    self.format = format
    modifier = hints.modifier ?? 0x00ff_ffff_ffff_ffff
    self.size = size
    self.exporter = exporter
  }
}

package struct Siblings {
  private var taught: [SiblingKey: BufferFacts] = [:]
  private let limit: Int
  package init(limit: Int = 1024) { self.limit = limit }

  package var count: Int { taught.count }

  /// The facts for a new buffer by those of its siblings; nil: there are none but guesses, or they
  /// name a device whose import could move the buffer if it were no sibling. Whether it is one is
  /// only the asker's claim: one pid may be Xwayland, with the games of two GPUs.
  /// - Parameter exporters: who may have exported the buffer, by its age and its name in fdinfo.
  package func seed(
    for key: SiblingKey, mayBeOf exporters: ExporterSet, among devices: DeviceTable,
    at now: Milliseconds
  ) -> BufferFacts? {
    guard let facts = taught[key], mayTeach(exporters, among: devices) else { return nil }
    return facts.seed(safeOn: safe(exporters, devices), at: now)
  }

  /// Whether a sibling could seed a buffer that one of these exported.
  package func mayTeach(_ exporters: ExporterSet, among devices: DeviceTable) -> Bool {
    // If all of them have system memory only, a look moves nothing, and is better than a sibling.
    !devices.onlySystem(exporters)
      && !safe(exporters, devices).intersection(exporters.devices).isEmpty
  }

  private func safe(_ exporters: ExporterSet, _ devices: DeviceTable) -> DeviceSet {
    devices.ready.filter { devices.leavesAlone(exporters, $0) }
  }

  package mutating func learn(_ facts: BufferFacts, from key: SiblingKey) {
    guard facts.confidence > .guess, !facts.seeded else { return }
    if taught[key] == nil && taught.count >= limit { dropOldest() }
    var facts = facts
    if let earlier = taught[key] { facts.add(earlier: earlier) }
    taught[key] = facts
  }

  package mutating func forget(client: UInt32) {
    taught = taught.filter { $0.key.client != client }
  }

  package mutating func scrub(_ slot: DeviceSlot) {
    for key in taught.keys { taught[key]?.scrub(slot) }
  }

  /// Drops the oldest of the user who has most, so that no user can push out another's.
  private mutating func dropOldest() {
    let counts = taught.keys.reduce(into: [UInt32: Int]()) { $0[$1.user, default: 0] += 1 }
    let most = counts.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    let theirs = taught.lazy.filter { $0.key.user == most }
    if let oldest = theirs.min(by: { $0.value.observed < $1.value.observed }) {
      taught[oldest.key] = nil
    }
  }
}
