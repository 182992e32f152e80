// The hints of the contract, one row each. The D-Bus decoder, primectl, scenarios, the manual, the
// interface XML and the C client's header take name, type and meaning from here (the last three by
// systemd/man/generate, which reads the table in this file). The order is that of `Hints.Keys` and
// of the manual.

package enum Hint: UInt8, Sendable, CaseIterable {
  case samplingDevice, targetDevice, primaryDevice, usage, format, modifier, client, candidates
  case verdicts, wake, fresh, explain

  package enum Kind: UInt8, Sendable {
    case device, devices, usage, number32, number64, client, flag
  }

  /// The methods that take it. PlaceMany and SetDefaults take what Place takes.
  package struct Methods: OptionSet, Sendable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let place = Methods(rawValue: 1)
    package static let advise = Methods(rawValue: 2)
    package static let both: Methods = [.place, .advise]
  }

  package struct Row: Sendable {
    package let hint: Hint
    package let name: StaticString
    package let kind: Kind
    package let methods: Methods
    /// For the manual and the interface XML; the first sentence must suffice alone.
    package let meaning: StaticString
    /// Tells most names apart without comparing strings.
    package let firstLetter: UInt8
    fileprivate init(
      _ hint: Hint, _ name: StaticString, _ kind: Kind, _ methods: Methods, _ meaning: StaticString
    ) {
      self.hint = hint
      self.name = name
      self.kind = kind
      self.methods = methods
      self.meaning = meaning
      firstLetter = name.utf8Start[0]
    }
  }

  package static let table: [Row] = [
    Row(
      .samplingDevice, "sampling-device", .device, .place,
      "The client's own word, from linux-dmabuf's set_sampling_device."),
    Row(
      .targetDevice, "target-device", .device, .place,
      "The device that drives the output which the surface is on."),
    Row(
      .primaryDevice, "primary-device", .device, .place,
      """
      The device that the compositor would use by default. If absent, the property PrimaryDevice.
      """),
    Row(
      .usage, "usage", .usage, .place,
      """
      What the buffer is used for: any of sample, scanout (on target-device, else sample), capture \
      (write). If absent, sample. Other words are passed over.
      """),
    Row(.format, "format", .number32, .both, "The DRM fourcc."),
    Row(.modifier, "modifier", .number64, .both, "The DRM format modifier."),
    Row(
      .client, "client", .client, .place,
      "The pidfd or pid of the client. Buffers of one swapchain teach each other."),
    Row(
      .candidates, "candidates", .devices, .both,
      """
      The only devices that may be named, 64 at most. In Place: those on which the asker can sample \
      this buffer (with capture: write it); besides, only target-device may be named, for scanout. \
      Their order means nothing. Numbers of no known device are dropped; if none is left, also of an \
      empty list, device is 0. In a call it says that the asker has checked format and modifier; in \
      SetDefaults it says only which devices the asker drives.
      """),
    Row(
      .verdicts, "verdicts", .flag, .place,
      "Fill verdicts, home and home-memory of the details. If absent, false."),
    Row(
      .wake, "wake", .flag, .place,
      """
      A sleeping device may be woken to find out. For root, and for who is active on the device's \
      seat: devices of other seats are left asleep, and evidence says so. If absent, false.
      """),
    Row(
      .fresh, "fresh", .flag, .place,
      """
      Do not answer from the cache. For root, and for who is active on the seat of any device; else \
      ignored, and evidence says so. For all but root, a look at the buffer that is less than 100 ms \
      old is the answer; so is the last look, however old, beyond 64 times a second and user. If \
      absent, false.
      """),
    Row(
      .explain, "explain", .flag, .both,
      "Fill all details. If absent, false, and an answer is as small as can be."),
  ]

  private var row: Row { Self.table[Int(rawValue)] }
  package var name: StaticString { row.name }
  package var kind: Kind { row.kind }
  package var methods: Methods { row.methods }
  package var meaning: StaticString { row.meaning }

  /// The D-Bus type as the documentation shows it: `client` has two.
  package var typeWord: StaticString {
    switch kind {
    case .device, .number64: "t"
    case .devices: "at"
    case .usage: "as"
    case .number32: "u"
    case .client: "h or u"
    case .flag: "b"
    }
  }

  package static var names: [String] { allCases.map { "\($0.name)" } }

  package init?(named word: String) {
    guard let found = Self.allCases.first(where: { "\($0.name)" == word }) else { return nil }
    self = found
  }
}
