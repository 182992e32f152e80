// The kernel's type data (BTF, Documentation/bpf/btf.rst) from /sys/kernel/btf: of vmlinux, and of
// each module on top of it. Only as much as is needed to find members of structures.

package final class TypeData {
  /// Counts on from the base's types; 0 is `void`.
  package typealias ID = Int

  package let size: Int
  private let base: TypeData?
  private let types: Bytes
  private let strings: Bytes
  /// For each own type, its offset in `types`.
  private var offsets: [Int32] = []
  private let firstID: ID
  private let firstString: Int
  /// Structures that were looked up.
  private var found: [String: ID] = [:]

  /// - Parameter base: vmlinux's type data, for a module's.
  package init(_ file: [UInt8], over base: TypeData? = nil) throws(FormatError) {
    let bytes = Bytes(file)
    guard try bytes.u16(0) == 0xeb9f, try bytes.u8(2) == 1 else {
      throw FormatError("it is no type data")
    }
    let header = try bytes.u32(4)
    self.base = base
    size = bytes.count
    types = try bytes.part(header + (try bytes.u32(8)), try bytes.u32(12))
    strings = try bytes.part(header + (try bytes.u32(16)), try bytes.u32(20))
    firstID = base.map { $0.firstID + $0.offsets.count } ?? 1
    firstString = base.map { $0.firstString + $0.strings.count } ?? 0
    offsets = try Self.index(types)
  }

  /// The offset of each type. The kernel has about 100,000 types: no call for each, and no check
  /// that is not needed.
  private static func index(_ types: Bytes) throws(FormatError) -> [Int32] {
    var offsets: [Int32] = []
    offsets.reserveCapacity(types.count / 24)
    let end = types.withUnsafeBytes { memory -> Int? in
      var at = 0
      while at <= memory.count - 12 {
        let info = memory.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self)
        guard let length = length(Int(UInt32(littleEndian: info))) else { return nil }
        offsets.append(Int32(at))
        at += length
      }
      return at
    }
    guard let end else { throw FormatError("it has types of an unknown kind") }
    guard end == types.count else { throw FormatError("it is cut short") }
    return offsets
  }

  /// A type's kind, with the format's number.
  private enum Kind: Int {
    case int = 1
    case pointer, array, structure, union, enumeration, forward, typedef, volatile, const
    case restrict, function, prototype, variable, section, float, declarationTag, typeTag,
      enumeration64

    /// Stands for another type with the same layout.
    var isAlias: Bool {
      switch self {
      case .typedef, .volatile, .const, .restrict, .typeTag: true
      default: false
      }
    }
  }

  /// Twelve bytes for every type, and more depending on its kind. nil: a kind that is newer than
  /// this code; its length is unknown, so the next type can't be found.
  private static func length(_ info: Int) -> Int? {
    let members = info & 0xffff
    return switch Kind(rawValue: info >> 24 & 0x1f) {
    case .int, .variable, .declarationTag: 16
    case .array: 24
    case .structure, .union, .section, .enumeration64: 12 + 12 * members
    case .enumeration, .prototype: 12 + 8 * members
    case .pointer, .forward, .typedef, .volatile, .const, .restrict, .function, .float, .typeTag: 12
    case nil: nil
    }
  }

  /// A type's header, and the file that it is in.
  private struct Entry {
    var data: TypeData
    var at: Int
    var kind: Kind
    var name: Int
    var members: Int
    var isBitfields: Bool
    /// Bytes, or the type that it refers to.
    var sizeOrType: Int
  }

  private func entry(_ id: ID) throws(FormatError) -> Entry {
    if id < firstID, let base { return try base.entry(id) }
    guard offsets.indices.contains(id - firstID) else { throw FormatError("it refers to no type") }
    let at = Int(offsets[id - firstID])
    let info = try types.u32(at + 4)
    guard let kind = Kind(rawValue: info >> 24 & 0x1f) else {
      throw FormatError("it has no such kind")
    }
    return Entry(
      data: self, at: at, kind: kind, name: try types.u32(at), members: info & 0xffff,
      isBitfields: info >> 31 == 1, sizeOrType: try types.u32(at + 8))
  }

  private func name(_ offset: Int) throws(FormatError) -> String {
    if offset < firstString, let base { return try base.name(offset) }
    return try strings.string(offset - firstString)
  }

  /// The offset of a name, in the base's strings if it is there. Each name is there once.
  private func nameOffset(_ name: String) -> Int? {
    base?.nameOffset(name) ?? strings.offset(of: name).map { $0 + firstString }
  }

  /// A structure with members; a module's own comes before vmlinux's.
  package func structure(_ name: String) throws(FormatError) -> ID? {
    if let id = found[name] { return id }
    guard let wanted = nameOffset(name) else { return nil }
    for i in offsets.indices where try types.u32(Int(offsets[i])) == wanted {
      guard Kind(rawValue: try types.u32(Int(offsets[i]) + 4) >> 24 & 0x1f) == .structure else {
        continue
      }
      found[name] = firstID + i
      return firstID + i
    }
    return try base?.structure(name)
  }

  /// The type behind typedefs and qualifiers.
  private func resolve(_ id: ID) throws(FormatError) -> (ID, Entry)? {
    var id = id
    for _ in 0..<32 where id != 0 {
      let entry = try entry(id)
      guard entry.kind.isAlias else { return (id, entry) }
      id = entry.sizeOrType
    }
    return nil
  }

  package struct Member: Equatable {
    /// Bytes from the beginning of the structure.
    package var offset: Int
    package var type: ID
  }

  /// Also finds members of anonymous structures and unions. nil: no such member, or a bit field.
  package func member(_ name: String, of id: ID, depth: Int = 0) throws(FormatError) -> Member? {
    guard depth < 8, let (_, entry) = try resolve(id), [.structure, .union].contains(entry.kind)
    else {
      return nil
    }
    for i in 0..<entry.members {
      let at = entry.at + 12 + 12 * i
      let (nameOffset, type) = (try entry.data.types.u32(at), try entry.data.types.u32(at + 4))
      let place = try entry.data.types.u32(at + 8)
      let bits = entry.isBitfields ? place & 0xff_ffff : place
      if nameOffset == 0 {
        guard let inner = try member(name, of: type, depth: depth + 1) else { continue }
        return Member(offset: bits / 8 + inner.offset, type: inner.type)
      }
      guard try self.name(nameOffset) == name else { continue }
      let isBitfield = entry.isBitfields && place >> 24 != 0
      return isBitfield || bits % 8 != 0 ? nil : Member(offset: bits / 8, type: type)
    }
    return nil
  }

  /// The element type of an array.
  package func element(of id: ID) throws(FormatError) -> ID? {
    guard let (_, entry) = try resolve(id), entry.kind == .array else { return nil }
    return try entry.data.types.u32(entry.at + 12)
  }

  package enum Pointee: Equatable {
    case type(ID)
    /// Its members are in other type data.
    case declared(String)
  }

  /// The target type of a pointer.
  package func pointee(of id: ID) throws(FormatError) -> Pointee? {
    guard let (_, entry) = try resolve(id), entry.kind == .pointer,
      let (target, pointed) = try resolve(entry.sizeOrType)
    else { return nil }
    return pointed.kind == .forward ? .declared(try name(pointed.name)) : .type(target)
  }

  /// Bytes of a number, an enumeration or a pointer; nil: it is none of these.
  package func width(of id: ID) throws(FormatError) -> Int? {
    guard let (_, entry) = try resolve(id) else { return nil }
    switch entry.kind {
    case .pointer: return 8
    case .int, .enumeration, .enumeration64:
      return [1, 2, 4, 8].contains(entry.sizeOrType) ? entry.sizeOrType : nil
    default: return nil
    }
  }
}
