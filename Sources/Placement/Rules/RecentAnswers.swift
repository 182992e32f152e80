// The last 256 questions and answers, without the asker, and what happened to devices meanwhile, for
// bug reports; a question that is repeated every frame is noted once. `Told` is their form in the
// log, which `primectl capture` reads.

/// Who exported a buffer, as far as that was known when an answer was given.
package enum KnownExporter: Sendable, Equatable {
  case device(DeviceNumber)
  /// It is memory of no device.
  case noDevice
  /// Not certain; the first of the devices that may have, `.none` if there is none.
  case possibly(DeviceNumber)

  package init(_ exporters: ExporterSet, among devices: DeviceTable) {
    if let slot = exporters.certain, devices.number(of: slot) != .none {
      self = .device(devices.number(of: slot))
    } else if exporters.devices.isEmpty && exporters.beyond == .noDevice {
      self = .noDevice
    } else {
      let named = exporters.devices.filter { devices.number(of: $0) != .none }
      self = .possibly(devices.first(of: named).map { devices.number(of: $0) } ?? .none)
    }
  }

  /// The device, certain or not; `.none`: no device.
  package var number: DeviceNumber {
    switch self {
    case .device(let number), .possibly(let number): number
    case .noDevice: .none
    }
  }
  package var isCertain: Bool {
    if case .possibly = self { false } else { true }
  }
}

package struct RecentAnswer: Sendable, Equatable {
  package var at: Milliseconds
  package var planes: Planes
  package var format: UInt32?
  package var modifier: UInt64?
  package var usage: Usage?
  package var samplingDevice = DeviceNumber.none
  package var targetDevice = DeviceNumber.none
  package var primaryDevice = DeviceNumber.none
  package var candidates: DeviceList?
  package var device: DeviceNumber
  package var access: Access
  package var confidence: Confidence
  /// Of plane 0, when the answer was given.
  package var exporter: KnownExporter
  package var home: Memory
  package var residency: Memory

  package init(
    _ query: Query, _ answer: Answer, exporter: KnownExporter, home: Memory, residency: Memory,
    at now: Milliseconds
  ) {
    at = now
    (self.exporter, self.home, self.residency) = (exporter, home, residency)
    planes = query.planes
    (format, modifier, usage) = (query.hints.format, query.hints.modifier, query.hints.usage)
    samplingDevice = query.hints.samplingDevice
    targetDevice = query.hints.targetDevice
    primaryDevice = query.hints.primaryDevice
    candidates = query.hints.candidates
    (device, access, confidence) = (answer.device, answer.access, answer.confidence)
  }
}

/// Something that happened to a device.
package struct RecentEvent: Sendable, Equatable {
  package enum Kind: String, Sendable, CaseIterable {
    case plug, unplug, suspend, resume, release, unrelease
  }
  package var at: Milliseconds
  package var kind: Kind
  package var device: DeviceDescription

  package init(_ kind: Kind, _ device: DeviceDescription, at now: Milliseconds) {
    (self.kind, self.device, at) = (kind, device, now)
  }

  /// nil: nothing that a bug report needs.
  package init?(_ change: RegistryChange, before old: DeviceEntry?, at now: Milliseconds) {
    let device = change.entry.description
    switch change.kind {
    case .added: self.init(.plug, device, at: now)
    case .removed: self.init(.unplug, device, at: now)
    case .changed:
      guard let old, let kind = Self.kind(from: old, to: change.entry) else { return nil }
      self.init(kind, device, at: now)
    }
  }

  private static func kind(from old: DeviceEntry, to new: DeviceEntry) -> Kind? {
    switch (old.state, new.state) {
    case (.ready, .released), (.unresponsive, .released): return .release
    case (.released, .ready), (.released, .unresponsive): return .unrelease
    default: break
    }
    switch (old.description.power, new.description.power) {
    case (.active, .suspended): return .suspend
    case (.suspended, .active): return .resume
    default: return nil
    }
  }
}

/// Two ring buffers, which grow until they are full: most machines at rest have had few answers.
package struct RecentAnswers: Sendable {
  package static let limit = 256
  package static let eventLimit = 64
  private var entries: [RecentAnswer] = []
  private var next = 0
  /// Answers that were ever noted.
  private var noted = 0
  /// The oldest first, each with `noted` at that time.
  private var events: [(event: RecentEvent, after: Int)] = []
  /// By the low bits of the first plane's inode: a fingerprint of the last question and answer.
  private var last = [UInt64](repeating: 0, count: limit)

  package init() {}

  /// Whether the question or its answer is another one than the last about this buffer, and should
  /// be noted: asked at every answer.
  package mutating func isNews(_ query: Query, _ answer: Answer) -> Bool {
    let print = Self.fingerprint(query, answer)
    let place = Int(truncatingIfNeeded: query.planes[0].inode) & (Self.limit - 1)
    if last[place] == print { return false }
    last[place] = print
    return true
  }

  package mutating func note(_ entry: RecentAnswer) {
    if entries.count < Self.limit {
      entries.append(entry)
    } else {
      entries[next] = entry
    }
    next = next + 1 == Self.limit ? 0 : next + 1
    noted += 1
  }

  package mutating func note(_ event: RecentEvent) {
    if events.count == Self.eventLimit { events.removeFirst() }
    events.append((event, noted))
  }

  /// Of all that the answer depends on, except what is known of the buffer.
  private static func fingerprint(_ query: Query, _ answer: Answer) -> UInt64 {
    let said = UInt64(answer.access.rawValue) << 8 | UInt64(answer.confidence.rawValue)
    let asked = query.hints.targetDevice.rawValue << 32 ^ query.hints.primaryDevice.rawValue
    let usage = UInt64(query.hints.usage?.rawValue ?? 0) << 16
    let candidates = UInt64(query.hints.candidates?.count ?? 0xff)
    let odd: UInt64 = 0x9e37_79b9_7f4a_7c15
    let first = (query.planes[0].inode ^ answer.device.rawValue) &* odd
    return (((first ^ said) &* odd ^ asked) &* odd ^ usage ^ candidates) &* odd
  }

  /// The oldest first.
  package var all: [RecentAnswer] {
    entries.count < Self.limit ? entries : Array(entries[next...] + entries[..<next])
  }

  package enum Entry: Sendable {
    case answer(RecentAnswer)
    case event(RecentEvent)
  }

  /// Answers and events, the oldest first.
  package var inOrder: [Entry] {
    var (ordered, rest): ([Entry], _) = ([], events[...])
    func happened(before count: Int) {
      while let one = rest.first, one.after <= count {
        ordered.append(.event(one.event))
        rest.removeFirst()
      }
    }
    for (i, answer) in all.enumerated() {
      happened(before: noted - entries.count + i)
      ordered.append(.answer(answer))
    }
    happened(before: noted)
    return ordered
  }
}
