// Loads the program into the kernel: first its maps, filled and frozen, then its types, then the
// program itself.
//
// The daemon, which receives the program's descriptor, can run the program and do nothing else with
// it. The layouts are offsets that the program adds to kernel addresses, so writing them would
// allow reading any kernel memory: they are frozen before the program is loaded, and no system call
// can change them then, not even one of this loader. Only the map of functions stays writable, and
// only by the program: it is frozen for user space as well.

internal import CBPF
internal import Glibc

/// Why there is no program.
package struct LoadError: Error, CustomStringConvertible {
  package var description: String
}

/// Closes its descriptor when it is destroyed.
package struct Descriptor: ~Copyable {
  package let rawValue: Int32
  init(_ rawValue: Int32) { self.rawValue = rawValue }
  deinit { close(rawValue) }
}

package struct LoadedProgram: ~Copyable {
  package let fd: Descriptor

  package init(_ object: ProgramObject, _ layouts: Layouts) throws(LoadError) {
    let constants = try Self.constantsMap(object, layouts.core)
    let drivers = try Self.driversMap(layouts.drivers)
    let functions = try Self.map(
      "functions", PRIMED_MAP_HASH, key: MemoryLayout<UInt64>.size,
      value: MemoryLayout<UInt32>.size,
      entries: DMABUF_MOST_FUNCTIONS, readOnly: false)
    try Self.freeze(functions)
    let instructions = Self.linked(object) { name in
      switch name {
      case "drivers": drivers.rawValue
      case "functions": functions.rawValue
      default: constants.rawValue
      }
    }
    fd = try Self.load(object, instructions)
  }

  // MARK: Maps

  private static func map(
    _ name: String, _ kind: primed_map_kind, key: Int, value: Int, entries: Int32, readOnly: Bool
  ) throws(LoadError) -> Descriptor {
    Descriptor(
      try check("no map") {
        primed_bpf_create_map(kind, name, UInt32(key), UInt32(value), UInt32(entries), readOnly)
      })
  }

  private static func freeze(_ map: borrowing Descriptor) throws(LoadError) {
    let fd = map.rawValue
    try check("a map can't be frozen") { primed_bpf_freeze(fd) }
  }

  private static func constantsMap(
    _ object: ProgramObject, _ core: dmabuf_core
  ) throws(LoadError) -> Descriptor {
    var bytes = object.constants
    let offset: Int
    do throws(FormatError) { offset = try object.constant("core") } catch { throw .object(error) }
    guard offset + MemoryLayout<dmabuf_core>.size <= bytes.count else {
      throw .object(FormatError("its constants are too few"))
    }
    withUnsafeBytes(of: core) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    let map = try map(
      ".rodata", PRIMED_MAP_ARRAY, key: MemoryLayout<UInt32>.size, value: bytes.count, entries: 1,
      readOnly: true)
    var key: UInt32 = 0
    let fd = map.rawValue
    try check("a map can't be filled") { primed_bpf_put(fd, &key, bytes) }
    try freeze(map)
    return map
  }

  private static func driversMap(
    _ drivers: [(name: String, layout: dmabuf_driver)]
  ) throws(LoadError) -> Descriptor {
    let map = try map(
      "drivers", PRIMED_MAP_HASH, key: Int(DMABUF_DRIVER_NAME),
      value: MemoryLayout<dmabuf_driver>.stride,
      entries: DMABUF_MOST_DRIVERS, readOnly: true)
    let fd = map.rawValue
    for driver in drivers {
      let padding = max(0, Int(DMABUF_DRIVER_NAME) - driver.name.utf8.count)
      let key = Array(driver.name.utf8) + [UInt8](repeating: 0, count: padding)
      var layout = driver.layout
      try check("a map can't be filled") { primed_bpf_put(fd, key, &layout) }
    }
    try freeze(map)
    return map
  }

  // MARK: Program

  /// The instructions, with the maps' descriptors put in (linux/bpf.h, BPF_PSEUDO_MAP_FD and
  /// BPF_PSEUDO_MAP_VALUE).
  private static func linked(_ object: ProgramObject, map: (String) -> Int32) -> [UInt8] {
    var code = object.instructions
    for reference in object.references {
      let at = reference.instruction * ProgramObject.instructionSize
      let isValue = reference.section == ProgramObject.constantsSection
      code[at + 1] = code[at + 1] & 0x0f | (isValue ? 2 : 1) << 4
      withUnsafeBytes(of: map(reference.symbol).littleEndian) {
        code.replaceSubrange(at + 4..<at + 8, with: $0)
      }
      withUnsafeBytes(of: UInt32(isValue ? reference.offset : 0).littleEndian) {
        code.replaceSubrange(at + 12..<at + 16, with: $0)
      }
    }
    return code
  }

  private static func load(
    _ object: ProgramObject, _ instructions: [UInt8]
  ) throws(LoadError) -> Descriptor {
    let types = Descriptor(
      try check("the program's types are refused") {
        primed_bpf_load_types(object.types, UInt32(object.types.count))
      })
    let fd = load(object, instructions, types, nil, 0)
    if fd >= 0 { return Descriptor(fd) }
    let error = LoadError("the program is refused", errno)
    let words = verifiersWords(object, instructions, types)
    throw words.isEmpty ? error : LoadError(description: "\(error): \(words)")
  }

  private static func load(
    _ object: ProgramObject, _ code: [UInt8], _ types: borrowing Descriptor,
    _ log: UnsafeMutablePointer<CChar>?, _ logSize: Int
  ) -> Int32 {
    let (functions, relocations) = (object.functions, object.relocations)
    return primed_bpf_load_program(
      "dmabuf_look", object.license, code, code.count, types.rawValue,
      functions.bytes, functions.bytes.count, functions.size,
      relocations.bytes, relocations.bytes.count, relocations.size, log, logSize)
  }

  /// The last lines of the verifier's log, from a second attempt: for a program that is accepted
  /// the log would have thousands of lines, so it is requested only when it is needed.
  private static func verifiersWords(
    _ object: ProgramObject, _ code: [UInt8], _ types: borrowing Descriptor
  ) -> String {
    var log = [CChar](repeating: 0, count: 1 << 20)
    let fd = load(object, code, types, &log, log.count)
    if fd >= 0 { close(fd) }
    let lines = log[..<strnlen(log, log.count)].split(separator: 10)
    let told = lines.last { !$0.starts(with: "processed ".utf8.map(Int8.init)) } ?? []
    return String(decoding: told.prefix(200).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  @discardableResult
  private static func check(_ what: String, _ call: () -> Int32) throws(LoadError) -> Int32 {
    let result = call()
    guard result >= 0 else { throw LoadError(what, errno) }
    return result
  }
}

extension LoadError {
  init(_ what: String, _ errno: Int32) {
    self.init(description: "\(what): \(String(cString: strerror(errno)))")
  }

  static func object(_ error: FormatError) -> LoadError {
    LoadError(description: "the program's object file: \(error)")
  }
}
