import CBPF
import Glibc
import Testing

@testable import BPFLoader

/// The object in the repository, and the one that this machine's compiler makes of its source.
@Suite struct ObjectFileTests {
  @Test(arguments: Origin.allCases) func whatTheKernelWants(_ origin: Origin) throws {
    let object = try ProgramObject(origin.bytes())
    #expect(object.license == "Dual MIT/GPL")
    #expect(object.instructions.count % 8 == 0 && object.instructions.count > 1000)
    #expect((object.functions.size, object.functions.bytes.count) == (8, 8))
    #expect(object.relocations.size == 16 && object.relocations.bytes.count > 16)
    #expect(
      Set(object.references.map(\.symbol)) == ["core", "drivers", "functions", "name_of_symbol"])
    #expect(try object.constant("core") + MemoryLayout<dmabuf_core>.size <= object.constants.count)
  }

  /// The object's type data, read by the same reader as the kernel's.
  @Test(arguments: Origin.allCases) func itsTypes(_ origin: Origin) throws {
    let types = Types(try TypeData(ProgramObject(origin.bytes()).types))
    #expect(try types.place(of: "priv", in: "dma_buf")?.width == 8)
    #expect(try types.place(of: "attachments.next->prev", in: "dma_buf")?.offsets.count == 2)
    #expect(try types.place(of: "file->f_inode->i_ino", in: "dma_buf")?.offsets.count == 3)
    #expect(try types.place(of: "registered", in: "dmabuf_look") == Place(offsets: [28], width: 1))
  }

  /// A structure has the same layout in C and in BPF, and the program's context is what the daemon
  /// sends.
  @Test func theSameStructuresOnBothSides() {
    #expect(MemoryLayout<dmabuf_look>.size == 40)
    #expect(MemoryLayout<dmabuf_value>.stride == 36)
    #expect(MemoryLayout<dmabuf_driver>.stride == 80)
  }

  @Test(arguments: Origin.allCases) func noTruncationTraps(_ origin: Origin) throws {
    let object = try origin.bytes()
    for length in stride(from: 0, to: object.count, by: 7) {
      #expect(throws: FormatError.self) { try ProgramObject(Array(object[..<length])) }
    }
  }

  /// Large numbers, at every place in turn: none is added, multiplied or narrowed unchecked. 0x78
  /// repeated is no negative number, and a multiple of 8.
  @Test(arguments: [0xff, 0x78] as [UInt8]) func noNumberTraps(byte: UInt8) {
    for at in stride(from: 0, to: committedObject.count - 12, by: 4) {
      var file = committedObject
      file.replaceSubrange(at..<at + 12, with: repeatElement(byte, count: 12))
      _ = try? ProgramObject(file)
    }
  }
}

enum Origin: CaseIterable, Sendable {
  case committed, compilerAtHand

  func bytes() throws -> [UInt8] {
    switch self {
    case .committed: committedObject
    case .compilerAtHand: try #require(madeHere, "Program/build says why not")
    }
  }
}

/// By Program/build; clang-14 makes the committed one of the same source (`build --check`).
private let madeHere: [UInt8]? = {
  let project = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
  let build = (project + ["Sources", "BPFLoader", "Program", "build"]).joined(separator: "/")
  let made = "/tmp/primed-program.\(getpid()).o"
  defer { unlink(made) }
  guard system("'\(build)' --to \(made)") == 0, let file = fopen(made, "r") else { return nil }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 1 << 20)
  let count = fread(&bytes, 1, bytes.count, file)
  return Array(bytes[..<count])
}()
