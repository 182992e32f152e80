// Makes type data (BTF) in the format of the kernel's tools, from types given in code.

@testable import BPFLoader

struct TypeDataBuilder {
  typealias ID = Int
  struct Member {
    var name: String
    var type: ID
    /// From the structure's beginning.
    var bit: Int
    var bitfield = 0
  }

  private var types: [UInt8] = []
  private var strings: [UInt8]
  private(set) var count = 0
  private let firstID: ID
  private let firstString: Int
  private let base: [String: Int]
  private var names: [String: Int] = [:]

  init() {
    (strings, firstID, firstString, base) = ([0], 1, 0, [:])
  }

  /// Split BTF: ids continue those of the base, and the base's strings are shared.
  init(over base: TypeDataBuilder) {
    (strings, firstID) = ([], base.firstID + base.count)
    firstString = base.firstString + base.strings.count
    self.base = base.base.merging(base.names) { $1 }
  }

  private mutating func string(_ name: String) -> Int {
    if name.isEmpty { return 0 }
    if let known = base[name] ?? names[name] { return known }
    let offset = firstString + strings.count
    names[name] = offset
    strings += Array(name.utf8) + [0]
    return offset
  }

  private mutating func add(
    _ kind: Int, _ name: String, _ members: Int, _ sizeOrType: Int, flag: Bool = false
  ) -> ID {
    words(string(name), (flag ? 1 << 31 : 0) | kind << 24 | members, sizeOrType)
    count += 1
    return firstID + count - 1
  }

  private mutating func words(_ words: Int...) {
    for word in words { types += withUnsafeBytes(of: UInt32(word).littleEndian, Array.init) }
  }

  mutating func int(_ name: String, bytes: Int) -> ID {
    let id = add(1, name, 0, bytes)
    words(bytes * 8)
    return id
  }
  mutating func pointer(to type: ID) -> ID { add(2, "", 0, type) }
  mutating func array(of type: ID, _ n: Int) -> ID {
    let id = add(3, "", 0, 0)
    words(type, type, n)
    return id
  }
  mutating func structure(_ name: String, bytes: Int = 64, _ members: [Member]) -> ID {
    let flag = members.contains { $0.bitfield > 0 }
    let id = add(4, name, members.count, bytes, flag: flag)
    for member in members {
      words(string(member.name), member.type, member.bitfield << 24 | member.bit)
    }
    return id
  }
  mutating func enumeration(_ name: String, values: [(String, Int)]) -> ID {
    let id = add(6, name, values.count, 4)
    for value in values { words(string(value.0), value.1) }
    return id
  }
  mutating func forward(_ name: String) -> ID { add(7, name, 0, 0) }
  mutating func typedef(_ name: String, _ type: ID) -> ID { add(8, name, 0, type) }
  mutating func const(_ type: ID) -> ID { add(10, "", 0, type) }
  mutating func kind(_ kind: Int) -> ID { add(kind, "", 0, 0) }

  var bytes: [UInt8] {
    var file: [UInt8] = [0x9f, 0xeb, 1, 0]
    for word in [24, 0, types.count, types.count, strings.count] {
      file += withUnsafeBytes(of: UInt32(word).littleEndian, Array.init)
    }
    return file + types + strings
  }

  func data(over base: TypeData? = nil) throws -> TypeData { try TypeData(bytes, over: base) }
}

/// Where C puts members of these sizes, in bits.
func laidOut(_ members: [(String, TypeDataBuilder.ID, bytes: Int)]) -> [TypeDataBuilder.Member] {
  var at = 0
  return members.map { name, type, bytes in
    let alignment = min(max(bytes, 1), 8)
    at = (at + alignment - 1) / alignment * alignment
    defer { at += bytes }
    return TypeDataBuilder.Member(name: name, type: type, bit: at * 8)
  }
}
