// Reading and writing values of the contract's types, for primectl.

internal import CSystemd
internal import Glibc
internal import Linux
internal import Placement

extension Message {
  func readObjectPath() throws(Errno) -> String {
    var path: UnsafePointer<CChar>?
    try Errno.checkNegative(sd_bus_message_read_basic(raw, CChar(UInt8(ascii: "o")), &path))
    return String(cString: path!)
  }

  /// `a{sa{sv}}`: an object's interfaces.
  func readInterfaces() throws(Errno) -> [String: [String: BusValue]] {
    var all: [String: [String: BusValue]] = [:]
    _ = try enter("a", "{sa{sv}}")
    while try enter("e", "sa{sv}") {
      let interface = try readString().map { String(cString: $0) } ?? ""
      all[interface] = try readDictionary()
      try leave()
    }
    try leave()
    return all
  }

  /// `a{sv}`; values of other types than the contract's are skipped.
  func readDictionary() throws(Errno) -> [String: BusValue] {
    var all: [String: BusValue] = [:]
    _ = try enter("a", "{sv}")
    while try enter("e", "sv") {
      guard let key = try readString(), let type = try variantContents() else {
        throw Errno(EBADMSG)
      }
      let name = String(cString: key)
      if let value = try readVariant(String(cString: type)) { all[name] = value }
      try leave()
    }
    try leave()
    return all
  }

  private func readVariant(_ type: String) throws(Errno) -> BusValue? {
    let value: BusValue
    switch type {
    case "s":
      _ = try enter("v", "s")
      value = .string(try readString().map { String(cString: $0) } ?? "")
    case "u":
      _ = try enter("v", "u")
      value = .number(UInt64(try readUInt32()))
    case "t":
      _ = try enter("v", "t")
      value = .number(try readUInt64())
    case "b":
      _ = try enter("v", "b")
      value = .bool(try readBool())
    case "as":
      _ = try enter("v", "as")
      value = .strings(try readStrings())
    case "a(tuu)":
      _ = try enter("v", "a(tuu)")
      value = .verdicts(try readVerdicts())
    case "a(tus)":
      _ = try enter("v", "a(tus)")
      value = .lines(try readLines())
    case "a{st}":
      _ = try enter("v", "a{st}")
      value = .counters(try readCounters())
    case "a(ssssssss)":
      _ = try enter("v", "a(ssssssss)")
      value = .rows(try readRows())
    default:
      try skip("v")
      return nil
    }
    try leave()
    return value
  }

  private func readRows() throws(Errno) -> [[String]] {
    var rows: [[String]] = []
    _ = try enter("a", "(ssssssss)")
    while try enter("r", "ssssssss") {
      var words: [String] = []
      for _ in "ssssssss" { words.append(try readString().map { String(cString: $0) } ?? "") }
      rows.append(words)
      try leave()
    }
    try leave()
    return rows
  }

  func readStrings() throws(Errno) -> [String] {
    var list: [String] = []
    _ = try enter("a", "s")
    while let word = try readString() { list.append(String(cString: word)) }
    try leave()
    return list
  }

  private func readLines() throws(Errno) -> [Explanation.Line] {
    var list: [Explanation.Line] = []
    _ = try enter("a", "(tus)")
    while try enter("r", "tus") {
      list.append(
        Explanation.Line(
          device: DeviceNumber(try readUInt64()),
          access: Access(rawValue: try readUInt32()) ?? .unknown,
          why: try readString().map { String(cString: $0) } ?? ""))
      try leave()
    }
    try leave()
    return list
  }

  private func readVerdicts() throws(Errno) -> [Verdict] {
    var list: [Verdict] = []
    _ = try enter("a", "(tuu)")
    while try enter("r", "tuu") {
      list.append(
        Verdict(
          device: DeviceNumber(try readUInt64()),
          access: Access(rawValue: try readUInt32()) ?? .unknown,
          abilities: Usage(rawValue: UInt8(truncatingIfNeeded: try readUInt32()))))
      try leave()
    }
    try leave()
    return list
  }

  /// `a(tsau)`
  func readPlaces() throws(Errno) -> [AdviceReply.Place] {
    var list: [AdviceReply.Place] = []
    _ = try enter("a", "(tsau)")
    while try enter("r", "tsau") {
      var place = AdviceReply.Place(
        device: DeviceNumber(try readUInt64()),
        memory: try readString().map { String(cString: $0) } ?? "", accesses: [])
      _ = try enter("a", "u")
      while try !isAtEnd() {
        place.accesses.append(Access(rawValue: try readUInt32()) ?? .unknown)
      }
      try leave()
      list.append(place)
      try leave()
    }
    try leave()
    return list
  }

  func isAtEnd() throws(Errno) -> Bool {
    try Errno.checkNegative(sd_bus_message_at_end(raw, 0)) > 0
  }

  private func readCounters() throws(Errno) -> [(name: String, value: UInt64)] {
    var list: [(name: String, value: UInt64)] = []
    _ = try enter("a", "{st}")
    while try enter("e", "st") {
      let name = try readString().map { String(cString: $0) } ?? ""
      list.append((name, try readUInt64()))
      try leave()
    }
    try leave()
    return list
  }

  /// Each hint in its type of the contract; unknown hints as strings, which the service ignores.
  func append(hints: [String: BusValue]) throws(Errno) {
    try open("a", "{sv}")
    for (key, value) in hints.sorted(by: { $0.key < $1.key }) {
      try open("e", "sv")
      try append(key)
      let kind = Hint(named: key)?.kind
      switch (kind, value) {
      case (.number32, .number(let n)), (.client, .number(let n)):
        try open("v", "u")
        try append(UInt32(truncatingIfNeeded: n))
      case (_, .number(let n)):
        try open("v", "t")
        try append(n)
      case (_, .bool(let b)):
        try open("v", "b")
        try append(b)
      case (_, .numbers(let list)):
        try open("v", "at")
        try open("a", "t")
        for number in list { try append(number) }
        try close()
      case (_, .strings(let list)):
        try open("v", "as")
        try append(list)
      case (_, .string(let text)):
        try open("v", "s")
        try append(text)
      case (_, .lines), (_, .verdicts), (_, .counters), (_, .rows): throw Errno(EINVAL)
      }
      try close()
      try close()
    }
    try close()
  }
}
