// Reads little-endian numbers from files of the kernel and the compiler, never beyond their end.

internal import CBPF

/// Why a file does not have the expected format.
package struct FormatError: Error, CustomStringConvertible {
  package var description: String
  init(_ description: String) { self.description = description }
}

/// A part of a file. Copies share the file's memory.
package struct Bytes {
  private let file: [UInt8]
  private let range: Range<Int>

  package init(_ file: [UInt8]) {
    self.file = file
    range = 0..<file.count
  }

  private init(_ file: [UInt8], _ range: Range<Int>) {
    self.file = file
    self.range = range
  }

  package var count: Int { range.count }
  package var array: [UInt8] { Array(file[range]) }

  package func part(_ offset: Int, _ count: Int) throws(FormatError) -> Bytes {
    guard offset >= 0, count >= 0, offset <= self.count, count <= self.count - offset else {
      throw FormatError("it is cut short")
    }
    return Bytes(file, range.lowerBound + offset..<range.lowerBound + offset + count)
  }

  package func u8(_ offset: Int) throws(FormatError) -> UInt8 { try load(offset) }
  package func u16(_ offset: Int) throws(FormatError) -> UInt16 {
    UInt16(littleEndian: try load(offset))
  }
  package func u32(_ offset: Int) throws(FormatError) -> Int {
    Int(UInt32(littleEndian: try load(offset)))
  }
  /// - Throws: also for a number that is larger than any file.
  package func u64(_ offset: Int) throws(FormatError) -> Int {
    guard let value = Int(exactly: UInt64(littleEndian: try load(offset))) else {
      throw FormatError("a number in it is absurd")
    }
    return value
  }

  private func load<T: FixedWidthInteger>(_ offset: Int) throws(FormatError) -> T {
    guard offset >= 0, offset <= count - MemoryLayout<T>.size else {
      throw FormatError("it is cut short")
    }
    return file.withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: range.lowerBound + offset, as: T.self)
    }
  }

  /// The string up to the next NUL.
  package func string(_ offset: Int) throws(FormatError) -> String {
    guard (0..<count).contains(offset),
      let end = file[(range.lowerBound + offset)..<range.upperBound].firstIndex(of: 0)
    else { throw FormatError("a name in it has no end") }
    return String(decoding: file[(range.lowerBound + offset)..<end], as: UTF8.self)
  }

  package func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    file.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[range])) }
  }

  /// The offset of `text` between two NULs, or at the beginning.
  func offset(of text: String) -> Int? {
    let wanted = Array(text.utf8) + [0]
    return withUnsafeBytes { own -> Int? in
      var from = 0
      while let at = own.find(wanted, from: from) {
        if at == 0 || own[at - 1] == 0 { return at }
        from = at + 1
      }
      return nil
    }
  }
}

extension UnsafeRawBufferPointer {
  fileprivate func find(_ wanted: [UInt8], from: Int) -> Int? {
    guard from < count,
      let at = primed_find(baseAddress! + from, count - from, wanted, wanted.count)
    else { return nil }
    return baseAddress!.distance(to: at)
  }
}
