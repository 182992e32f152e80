// Swapchains: buffers of one client with the same format, modifier and size are siblings, and what
// one of them taught seeds the next, so that a storm of short-lived buffers costs no probes.

package struct SiblingKey: Hashable, Sendable {
  /// A caller's word about clients must not teach another's buffers.
  package var asker: UInt64
  /// Whose connection that is.
  package var user: UInt32
  package var client: UInt32
  package var format: UInt32
  package var modifier: UInt64
  package var size: UInt64
  package var exporter: ExporterName

  /// nil: too little is said of the buffer to know its siblings. The exporter's name is part of the
  /// key, since that is the kernel's word and all else here is the asker's.
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

  /// What the siblings of a new buffer taught; nil: nothing, or only guesses, or nothing that would
  /// be safe to follow if the buffer were no sibling. That it is one is the asker's word: one pid
  /// may be Xwayland, with the games of two GPUs.
  /// - Parameter exporters: who may have exported the buffer by what the kernel says of itself.
  package func seed(
    for key: SiblingKey, mayBeOf exporters: ExporterSet, among devices: DeviceTable,
    at now: Milliseconds
  ) -> BufferFacts? {
    guard let facts = taught[key], mayTeach(exporters, among: devices) else { return nil }
    return facts.seed(safeOn: safe(exporters, devices), at: now)
  }

  /// Whether a sibling could seed a buffer that one of these exported.
  package func mayTeach(_ exporters: ExporterSet, among devices: DeviceTable) -> Bool {
    // If all are of system memory, a look costs nothing and tells the truth.
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

  /// The oldest of the user who has most: nobody's flood makes others' forgotten.
  private mutating func dropOldest() {
    let counts = taught.keys.reduce(into: [UInt32: Int]()) { $0[$1.user, default: 0] += 1 }
    let most = counts.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    let theirs = taught.lazy.filter { $0.key.user == most }
    if let oldest = theirs.min(by: { $0.value.observed < $1.value.observed }) {
      taught[oldest.key] = nil
    }
  }
}
