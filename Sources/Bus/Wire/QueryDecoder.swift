// Reads a call into a Query: everything is checked before anything is done. The fds still belong to
// the message.
//
// A message may have 32 MiB, which is room for millions of elements, and all callers wait while one
// is read. So the number of elements is limited (Limits), and reading stops there.

internal import CShims
internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

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
        guard count <= Limits.listElements else { throw Errno(E2BIG) }
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

  /// `a{sv}`, as `method` takes it. Unknown keys are passed over; a known key of another type is an
  /// error.
  func readHints(for method: Hint.Methods = .place) throws(BusError) -> Hints {
    var hints = Hints()
    if let failure = try readHints(into: &hints, for: method) { throw failure }
    return hints
  }

  /// The same, into a question that is being made, without a copy.
  /// - Returns: what is wrong with them, where the rest of the message can be read all the same.
  /// - Throws: what makes the rest of the message unreadable.
  func readHints(
    into hints: inout Hints, for method: Hint.Methods = .place
  ) throws(BusError) -> BusError? {
    var failure: BusError?
    var (keys, elements) = (0, 0)
    do throws(Errno) {
      _ = try enter("a", "{sv}")
      while try enter("e", "sv") {
        keys += 1
        guard keys <= Limits.listElements, let key = try readString() else {
          throw Errno(keys > Limits.listElements ? E2BIG : EBADMSG)
        }
        if try !readHint(key, for: method, into: &hints, &elements, &failure) {
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
          ? "hints: more than \(Limits.listElements) keys, or \(Limits.valueElements) values"
          : "hints: \(error)")
    }
    return failure
  }

  /// `a(tu)`: who will use the buffer; unknown bits are passed over.
  func readUsers() throws(BusError) -> [AdviceUser] {
    var users: [AdviceUser] = []
    do throws(Errno) {
      _ = try enter("a", "(tu)")
      while try enter("r", "tu") {
        guard users.count < AdviceUser.limit else { throw Errno(E2BIG) }
        let device = DeviceNumber(try readUInt64())
        let bits = UInt8(truncatingIfNeeded: try readUInt32())
        users.append(AdviceUser(device, Usage(rawValue: bits).intersection(.all)))
        try leave()
      }
      try leave()
    } catch {
      throw .invalidArgument(
        error.code == E2BIG
          ? "users: more than \(AdviceUser.limit); name those that matter most" : "users: \(error)")
    }
    guard !users.isEmpty else {
      throw .invalidArgument(
        "no user; name the devices that will use the buffer, 1 to \(AdviceUser.limit)")
    }
    return users
  }

  /// Passes over the value that comes next, of any type.
  private func skipValue(_ elements: inout Int) throws(Errno) {
    var type: CChar = 0
    var contents: UnsafePointer<CChar>?
    elements += 1
    guard elements <= Limits.valueElements else { throw Errno(E2BIG) }
    try checked(sd_bus_message_peek_type(raw, &type, &contents))
    guard let contents else {
      var basic = (type, CChar(0))
      try checked(
        withUnsafePointer(to: &basic) {
          $0.withMemoryRebound(to: CChar.self, capacity: 2) { sd_bus_message_skip(raw, $0) }
        })
      return
    }
    try checked(sd_bus_message_enter_container(raw, type, contents))
    while try checked(sd_bus_message_at_end(raw, 0)) == 0 { try skipValue(&elements) }
    try leave()
  }

  /// false: a known key whose value has the wrong type. What `method` does not take is read and
  /// dropped.
  private func readHint(
    _ key: UnsafePointer<CChar>, for method: Hint.Methods, into hints: inout Hints,
    _ elements: inout Int, _ failure: inout BusError?
  ) throws(Errno) -> Bool {
    guard let row = row(of: key) else {
      try skipValue(&elements)
      return true
    }
    if row.methods.rawValue & method.rawValue == 0 {
      var unused = Hints()
      return try readValue(row.hint, row.kind, into: &unused, &failure)
    }
    return try readValue(row.hint, row.kind, into: &hints, &failure)
  }

  private func readValue(
    _ hint: Hint, _ kind: Hint.Kind, into hints: inout Hints, _ failure: inout BusError?
  ) throws(Errno) -> Bool {
    switch kind {
    case .device, .number64:
      try variant("t") { m throws(Errno) in hints.set(hint, number: try m.readUInt64()) }
    case .number32:
      try variant("u") { m throws(Errno) in hints.set(hint, number: UInt64(try m.readUInt32())) }
    case .flag:
      try variant("b") { m throws(Errno) in hints.set(hint, flag: try m.readBool()) }
    case .usage:
      try variant("as") { m throws(Errno) in hints.set(usage: try m.readUsage()) }
    case .devices:
      try variant("at") { m throws(Errno) in
        if let list = try m.readDevices() {
          hints.set(candidates: list)
        } else {
          failure = failure ?? .invalidArgument(Self.tooMany(hint))
        }
      }
    case .client: try readClient(into: &hints)
    }
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
      guard words <= Limits.listElements else { throw Errno(E2BIG) }
      for (known, use) in Usage.words where same(word, known) { usage.insert(use) }
    }
    try leave()
    return usage
  }

  /// nil: more than a list may have.
  private func readDevices() throws(Errno) -> DeviceList? {
    var (values, size) = (UnsafeRawPointer?.none, 0)
    try checked(sd_bus_message_read_array(raw, TypeCode("t").code, &values, &size))
    let count = size / MemoryLayout<UInt64>.size
    guard count <= DeviceList.limit else { return nil }
    var list = DeviceList()
    for i in 0..<count {
      list.append(
        DeviceNumber(values!.load(fromByteOffset: i * MemoryLayout<UInt64>.size, as: UInt64.self)))
    }
    return list
  }

  /// A pid, or a pidfd, whose fdinfo names the pid.
  private func readClient(into hints: inout Hints) throws(Errno) -> Bool {
    if try variant("u", { m throws(Errno) in hints.set(clientPID: try m.readUInt32()) }) {
      return true
    }
    return try variant("h") { m throws(Errno) in
      hints.set(clientPID: try m.readFD().flatMap(pid(ofPidfd:)) ?? 0)
    }
  }

  private static func tooMany(_ hint: Hint) -> String {
    "hint \(hint.name): more than \(DeviceList.limit) devices; name only those that your renderers are"
  }

  private static func mistyped(
    _ key: UnsafePointer<CChar>, _ type: UnsafePointer<CChar>?
  ) -> String {
    let wanted = row(of: key)?.hint.typeWord ?? ""
    let given = type.map { String(cString: $0) } ?? "none"
    return "hint \(String(cString: key)) must have the type \(wanted), not \(given)"
  }
}

/// The hint of this name. Makes no String, since it is called for each hint of a question.
private func row(
  of key: UnsafePointer<CChar>
) -> (hint: Hint, kind: Hint.Kind, methods: Hint.Methods)? {
  let first = UInt8(bitPattern: key[0])
  for row in Hint.table where row.firstLetter == first && same(key, row.name) {
    return (row.hint, row.kind, row.methods)
  }
  return nil
}

/// nil for any fd but a pidfd of a process that lives.
private func pid(ofPidfd fd: Int32) -> UInt32? {
  // fdinfo of other files may call their driver, which may wake its device or block.
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
