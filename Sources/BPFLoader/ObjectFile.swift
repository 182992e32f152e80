// The parts of the ELF object from clang that the kernel needs to load the BPF program.
//
// libbpf is not used: it would be one more library on the user's machine, in a privileged process,
// with libelf and zlib behind it, for what the kernel does itself since 5.17: BPF_PROG_LOAD takes
// the CO-RE relocations as the compiler wrote them. What remains is to find five sections and to
// put the descriptors of three maps into the instructions: this file and Loading.swift. Global
// variables are kept out of the type data (dmabuf.bpf.c, UNTYPED), so that the type data needs none
// of libbpf's fixes.

/// Program/dmabuf.bpf.o, embedded.
let committedObject = PackageResources.dmabuf_bpf_o

package struct ProgramObject {
  package typealias Records = (bytes: [UInt8], size: Int)
  /// A 16-byte instruction that loads the address of a map, or of a variable in the constants' map.
  package struct Reference: Equatable {
    package var instruction: Int
    package var symbol: String
    /// The section, and the offset in it.
    package var section: String
    package var offset: Int
  }

  package let license: String
  package let instructions: [UInt8]
  package let references: [Reference]
  package let constants: [UInt8]
  package let types: [UInt8]
  package let functions: Records
  package let relocations: Records

  /// Bytes of one instruction.
  static let instructionSize = 8
  static let constantsSection = ".rodata"
  static let programSection = "syscall"

  package init(_ file: [UInt8]) throws(FormatError) {
    let elf = try ELF(Bytes(file))
    license = try elf.section("license").contents.string(0)
    instructions = try elf.section(Self.programSection).contents.array
    constants = try elf.section(Self.constantsSection).contents.array
    types = try elf.section(".BTF").contents.array
    references = try elf.references(of: Self.programSection)
    for reference in references {
      try Self.check(reference, instructions: instructions, constants: constants)
    }
    let extra = try ExtraTypes(elf.section(".BTF.ext").contents)
    // These offsets are in bytes; the kernel wants those of functions in instructions. With one
    // function at 0 both are the same.
    guard extra.functions.bytes.count == extra.functions.size,
      extra.functions.bytes.prefix(4).allSatisfy({ $0 == 0 })
    else { throw FormatError("it has more functions than one") }
    (functions, relocations) = (extra.functions, extra.relocations)
  }

  /// Each reference is in an existing BPF_LD | BPF_IMM | BPF_DW instruction of double size; each
  /// variable is inside the constants.
  private static func check(
    _ reference: Reference, instructions: [UInt8], constants: [UInt8]
  ) throws(FormatError) {
    let count = instructions.count / instructionSize
    guard reference.instruction < count - 1,
      instructions[reference.instruction * instructionSize] == 0x18,
      reference.section != constantsSection || reference.offset < constants.count
    else { throw FormatError("a relocation does not fit") }
  }

  /// The offset of a variable in `constants`.
  package func constant(_ name: String) throws(FormatError) -> Int {
    for reference in references
    where reference.symbol == name && reference.section == Self.constantsSection {
      return reference.offset
    }
    throw FormatError("it has no \(name)")
  }
}

/// An object file of 64 bits (elf.h: Elf64_Ehdr, Elf64_Shdr, Elf64_Sym, Elf64_Rel).
private struct ELF {
  struct Section {
    var name: String
    var contents: Bytes
    var link: Int
  }
  private var sections: [Section] = []

  init(_ file: Bytes) throws(FormatError) {
    let bpf = 247
    guard try file.u32(0) == 0x464c_457f, try file.u8(4) == 2, try file.u8(5) == 1,
      Int(try file.u16(18)) == bpf
    else { throw FormatError("it is no object file for BPF") }
    let headers = try file.part(try file.u64(40), Int(try file.u16(58)) * Int(try file.u16(60)))
    let size = Int(try file.u16(58))
    func contents(_ header: Bytes) throws(FormatError) -> Bytes {
      let empty = 8  // SHT_NOBITS
      return try header.u32(4) == empty
        ? file.part(0, 0) : file.part(try header.u64(24), try header.u64(32))
    }
    func header(_ i: Int) throws(FormatError) -> Bytes { try headers.part(i * size, size) }
    let names = try contents(header(Int(try file.u16(62))))
    for i in 0..<Int(try file.u16(60)) {
      let header = try header(i)
      sections.append(
        Section(
          name: try names.string(try header.u32(0)), contents: try contents(header),
          link: try header.u32(40)))
    }
  }

  func section(_ name: String) throws(FormatError) -> Section {
    for section in sections where section.name == name { return section }
    throw FormatError("it has no section \(name)")
  }

  /// All must be R_BPF_64_64.
  func references(of name: String) throws(FormatError) -> [ProgramObject.Reference] {
    let relocations = try section(".rel" + name).contents
    let symbols = try section(".symtab")
    guard sections.indices.contains(symbols.link) else {
      throw FormatError("its symbols have no names")
    }
    let names = sections[symbols.link].contents
    var references: [ProgramObject.Reference] = []
    for at in stride(from: 0, to: relocations.count, by: 16) {
      let (place, info) = (try relocations.u64(at), try relocations.u64(at + 8))
      let symbol = try symbols.contents.part((info >> 32) * 24, 24)
      let section = Int(try symbol.u16(6))
      guard info & 0xffff_ffff == 1, place % ProgramObject.instructionSize == 0,
        sections.indices.contains(section)
      else { throw FormatError("it has a relocation of another kind") }
      references.append(
        ProgramObject.Reference(
          instruction: place / ProgramObject.instructionSize,
          symbol: try names.string(try symbol.u32(0)),
          section: sections[section].name, offset: try symbol.u64(8)))
    }
    return references
  }
}

/// .BTF.ext (Documentation/bpf/btf.rst): a header, and tables of records of one code section each.
private struct ExtraTypes {
  let functions: ProgramObject.Records
  let relocations: ProgramObject.Records

  init(_ bytes: Bytes) throws(FormatError) {
    let header = try bytes.u32(4)
    guard try bytes.u16(0) == 0xeb9f, header >= 32 else {
      throw FormatError("it has no relocations")
    }
    func table(_ field: Int) throws(FormatError) -> ProgramObject.Records {
      let table = try bytes.part(header + (try bytes.u32(field)), try bytes.u32(field + 4))
      let records = try table.part(12, table.count - 12)
      let (size, count) = (try table.u32(0), try table.u32(8))
      guard size > 0, records.count % size == 0, records.count / size == count else {
        throw FormatError("it has code in two sections")
      }
      return (records.array, size)
    }
    functions = try table(8)
    relocations = try table(24)
  }
}
