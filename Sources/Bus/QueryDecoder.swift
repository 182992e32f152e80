// From a call to a question: everything is checked before anything is done. The fds stay the
// message's own.
//
// A message of 32 MiB has room for millions of fds, hints and values, and everybody else waits while one
// is read: what is more than anyone could mean is not read to its end.

internal import CShims
internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

/// Keys of hints in a question, fds of a buffer, words of `usage`.
private let listLimit = 64
/// Elements of an unknown hint's value, all in all.
private let elementLimit = 1024

extension Message {
  /// `ah`: the planes' fds, borrowed from the message, 1 to 4.
  /// - Throws: what makes the rest of the message unreadable.
  func readPlanes(
    _ identify: (Int32) -> BufferIdentity?
  ) throws(BusError) -> Result<DecodedPlanes, BusError> {
    var decoded = DecodedPlanes()
    var failure: BusError?
    var count = 0
    do throws(Errno) {
      _ = try enter("a", "h")
      while let fd = try readFD() {
        count += 1
        guard count <= listLimit else { throw Errno(E2BIG) }
        guard failure == nil else { continue }
        if decoded.planes.count == Planes.limit {
          failure = .tooManyPlanes
        } else if let identity = identify(fd) {
          decoded.append(identity, fd)
        } else {
          failure = .notDmaBuf(plane: decoded.planes.count)
        }
      }
      try leave()
    } catch {
      throw error.code == E2BIG ? .tooManyPlanes : .invalidArgument("planes: \(error)")
    }
    if let failure { return .failure(failure) }
    return decoded.planes.count == 0 ? .failure(.noPlanes) : .success(decoded)
  }

  /// `a{sv}`. Unknown keys are passed over; a known key of another type is an error.
  /// - Throws: what makes the rest of the message unreadable.
  func readHints() throws(BusError) -> Result<Hints, BusError> {
    var hints = Hints()
    var failure: BusError?
    var (keys, elements) = (0, 0)
    do throws(Errno) {
      _ = try enter("a", "{sv}")
      while try enter("e", "sv") {
        keys += 1
        guard keys <= listLimit, let key = try readString() else {
          throw Errno(keys > listLimit ? E2BIG : EBADMSG)
        }
        if try !readHint(key, into: &hints, &elements) {
          let type = try variantContents()
          failure = failure ?? .invalidArgument(Self.mistyped(key, type))
          try skipValue(&elements)
        }
        try leave()
      }
      try leave()
    } catch {
      throw .invalidArgument(
        error.code == E2BIG
          ? "hints: more than \(listLimit) keys, or \(elementLimit) values" : "hints: \(error)")
    }
    return failure.map { .failure($0) } ?? .success(hints)
  }

  /// Passes over the value that comes next, of any type.
  private func skipValue(_ elements: inout Int) throws(Errno) {
    var type: CChar = 0
    var contents: UnsafePointer<CChar>?
    elements += 1
    guard elements <= elementLimit else { throw Errno(E2BIG) }
    try Errno.checkNegative(sd_bus_message_peek_type(raw, &type, &contents))
    guard let contents else {
      var basic = (type, CChar(0))
      try Errno.checkNegative(
        withUnsafePointer(to: &basic) {
          $0.withMemoryRebound(to: CChar.self, capacity: 2) { sd_bus_message_skip(raw, $0) }
        })
      return
    }
    try Errno.checkNegative(sd_bus_message_enter_container(raw, type, contents))
    while try Errno.checkNegative(sd_bus_message_at_end(raw, 0)) == 0 { try skipValue(&elements) }
    try leave()
  }

  /// false: a known key whose value has the wrong type.
  private func readHint(
    _ key: UnsafePointer<CChar>, into hints: inout Hints, _ elements: inout Int
  ) throws(Errno) -> Bool {
    if same(key, "sampling-device") {
      return try variant("t") { m throws(Errno) in
        hints.samplingDevice = DeviceNumber(try m.readUInt64())
      }
    }
    if same(key, "target-device") {
      return try variant("t") { m throws(Errno) in
        hints.targetDevice = DeviceNumber(try m.readUInt64())
      }
    }
    if same(key, "primary-device") {
      return try variant("t") { m throws(Errno) in
        hints.primaryDevice = DeviceNumber(try m.readUInt64())
      }
    }
    if same(key, "usage") {
      return try variant("as") { m throws(Errno) in hints.usage = try m.readUsage() }
    }
    if same(key, "format") {
      return try variant("u") { m throws(Errno) in hints.format = try m.readUInt32() }
    }
    if same(key, "modifier") {
      return try variant("t") { m throws(Errno) in hints.modifier = try m.readUInt64() }
    }
    if same(key, "client") { return try readClient(into: &hints) }
    if same(key, "wake") {
      return try variant("b") { m throws(Errno) in hints.wake = try m.readBool() }
    }
    if same(key, "fresh") {
      return try variant("b") { m throws(Errno) in hints.fresh = try m.readBool() }
    }
    if same(key, "explain") {
      return try variant("b") { m throws(Errno) in hints.explain = try m.readBool() }
    }
    try skipValue(&elements)
    return true
  }

  private func variant(
    _ type: StaticString, _ read: (Message) throws(Errno) -> Void
  ) throws(Errno) -> Bool {
    guard try enterVariant(of: type) else { return false }
    try read(self)
    try leave()
    return true
  }

  /// Unknown usages are passed over, as unknown keys are.
  private func readUsage() throws(Errno) -> Usage {
    var usage: Usage = []
    var words = 0
    _ = try enter("a", "s")
    while let word = try readString() {
      words += 1
      guard words <= listLimit else { throw Errno(E2BIG) }
      if same(word, "sample") { usage.insert(.sample) }
      if same(word, "scanout") { usage.insert(.scanout) }
      if same(word, "capture") { usage.insert(.capture) }
    }
    try leave()
    return usage
  }

  /// A pid, or a pidfd, whose fdinfo names the pid.
  private func readClient(into hints: inout Hints) throws(Errno) -> Bool {
    if try variant("u", { m throws(Errno) in hints.clientPID = try m.readUInt32() }) { return true }
    return try variant("h") { m throws(Errno) in
      hints.clientPID = try m.readFD().flatMap(pid(ofPidfd:)) ?? 0
    }
  }

  private static func mistyped(
    _ key: UnsafePointer<CChar>, _ type: UnsafePointer<CChar>?
  ) -> String {
    let key = String(cString: key)
    let wanted =
      switch key {
      case Names.Hint.usage: "as"
      case Names.Hint.format: "u"
      case Names.Hint.client: "h or u"
      case Names.Hint.wake, Names.Hint.fresh, Names.Hint.explain: "b"
      default: "t"
      }
    return
      "hint \(key) must have the type \(wanted), not \(type.map { String(cString: $0) } ?? "none")"
  }
}

/// nil for any fd but a pidfd of a process that lives.
private func pid(ofPidfd fd: Int32) -> UInt32? {
  // Of others a driver may be asked, which may wake its device or wait for it.
  guard primed_is_pidfd(fd) else { return nil }
  for line in readText("/proc/self/fdinfo/\(fd)").split(separator: "\n")
  where line.hasPrefix("Pid:") {
    return UInt32(line.dropFirst(4).drop { $0 == "\t" || $0 == " " })
  }
  return nil
}

/// Planes and the fds that they came as, in plane order.
struct DecodedPlanes {
  private(set) var planes = Planes()
  private var fds: (Int32, Int32, Int32, Int32) = (-1, -1, -1, -1)

  mutating func append(_ identity: BufferIdentity, _ fd: Int32) {
    switch planes.count {
    case 0: fds.0 = fd
    case 1: fds.1 = fd
    case 2: fds.2 = fd
    default: fds.3 = fd
    }
    planes.append(identity)
  }

  func fd(_ plane: Int) -> Int32 {
    switch plane {
    case 0: fds.0
    case 1: fds.1
    case 2: fds.2
    default: fds.3
    }
  }
}
