import CBPF
import Testing

@testable import BPFLoader

/// The committed object.
@Suite struct ObjectFileTests {
  private func object() throws -> ProgramObject { try ProgramObject(committedObject) }

  @Test func whatTheKernelWants() throws {
    let object = try object()
    #expect(object.license == "Dual MIT/GPL")
    #expect(object.instructions.count % 8 == 0 && object.instructions.count > 1000)
    #expect((object.functions.size, object.functions.bytes.count) == (8, 8))
    #expect(object.relocations.size == 16 && object.relocations.bytes.count > 16)
    #expect(
      Set(object.references.map(\.symbol)) == ["core", "drivers", "functions", "name_of_symbol"])
    #expect(try object.constant("core") + MemoryLayout<dmabuf_core>.size <= object.constants.count)
  }

  /// The compiler's own type data, read by the same reader as the kernel's.
  @Test func itsTypes() throws {
    let types = Types(try TypeData(object().types))
    #expect(try types.place(of: "priv", in: "dma_buf")?.width == 8)
    #expect(try types.place(of: "attachments.next->prev", in: "dma_buf")?.offsets.count == 2)
    #expect(try types.place(of: "file->f_inode->i_ino", in: "dma_buf")?.offsets.count == 3)
    #expect(try types.place(of: "registered", in: "dmabuf_look") == Place(offsets: [28], width: 1))
  }

  /// What C and BPF call by one name is laid out alike, and the program's context is what the
  /// daemon sends.
  @Test func theSameStructuresOnBothSides() {
    #expect(MemoryLayout<dmabuf_look>.size == 32)
    #expect(MemoryLayout<dmabuf_value>.stride == 36)
    #expect(MemoryLayout<dmabuf_driver>.stride == 80)
  }

  @Test func noTruncationTraps() {
    for length in stride(from: 0, to: committedObject.count, by: 7) {
      #expect(throws: FormatError.self) { try ProgramObject(Array(committedObject[..<length])) }
    }
  }
}
