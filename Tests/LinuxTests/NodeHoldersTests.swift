// Which processes have a file open or map it, tested with this process.

import Glibc
import Linux
import Testing

@Suite struct NodeHoldersTests {
  /// This process's row for a file of its own.
  func row(_ use: (Int32, String) -> Void) throws -> NodeHolder? {
    var name = Array("/tmp/primed-holders-XXXXXX".utf8CString)
    let fd = mkstemp(&name)
    let path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { unlink(path) }
    try #require(fd >= 0 && ftruncate(fd, 4096) == 0)
    use(fd, path)
    return holders(of: [path]).first { $0.pid == Int(getpid()) }
  }

  @Test func whoHasItOpen() throws {
    var open: Int32 = -1
    defer { close(open) }
    let row = try row { fd, _ in open = fd }
    #expect(row?.open.count == 1)
    #expect(row?.mapped == [])
    #expect(row?.name.isEmpty == false)
  }

  @Test func whoMapsItAndHasClosedIt() throws {
    var memory: UnsafeMutableRawPointer?
    defer { munmap(memory, 4096) }
    let row = try row { fd, _ in
      memory = mmap(nil, 4096, PROT_READ, MAP_SHARED, fd, 0)
      close(fd)
    }
    #expect(row?.open == [])
    #expect(row?.mapped.count == 1)
  }

  @Test func whoHasNothingOfIt() throws {
    let row = try row { fd, _ in close(fd) }
    #expect(row == nil)
  }
}
