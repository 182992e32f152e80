import CBPF
import CShims
import Glibc
import Linux
import Placement
import Ports
import Testing

@testable import Introspection

/// The daemon's half against a fake loader.
@Suite struct SourceTests {
  /// Listens as primed-introspect.socket does.
  private final class Listener {
    let path: String
    let fd: OwnedFD

    init() throws {
      path = "/tmp/primed-introspect-test.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
      fd = OwnedFD(socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0))
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
      let raw = fd.rawValue
      let bound = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      try #require(bound == 0 && listen(raw, 4) == 0)
    }
    deinit { unlink(path) }

    func accepted() -> OwnedFD { OwnedFD(accept(fd.rawValue, nil, nil)) }
  }

  /// Runs the loop until `done` or two turns of its shortest timer.
  private func answer(_ listener: Listener, _ reply: (borrowing OwnedFD) -> Void) throws
    -> LoaderAnswer?
  {
    let loop = try EventLoop()
    var answer: LoaderAnswer?
    let connection = try LoaderConnection(to: listener.path, on: loop) {
      answer = $0
      loop.exit(0)
    }
    reply(listener.accepted())
    _ = try loop.run()
    return withExtendedLifetime(connection) { answer }
  }

  private func send(_ text: String, _ fd: Int32, over socket: borrowing OwnedFD) {
    _ = primed_send(socket.rawValue, text, text.utf8.count, fd)
  }

  @Test func aRefusalHasItsReason() throws {
    let answer = try answer(Listener()) { send("failed no layouts: none", -1, over: $0) }
    guard case .refused(let reason) = answer else {
      Issue.record()
      return
    }
    #expect(reason == "no layouts: none")
  }

  @Test func aProgramAndItsDrivers() throws {
    let answer = try answer(Listener()) { send("ready amdgpu xe", 0, over: $0) }
    guard case .program(let program) = answer else {
      Issue.record()
      return
    }
    #expect(program.drivers == ["amdgpu", "xe"])
  }

  @Test func whateverElse() throws {
    for reply in ["ready amdgpu", "hello", ""] {
      let answer = try answer(Listener()) { if !reply.isEmpty { send(reply, -1, over: $0) } }
      guard case .refused = answer else {
        Issue.record("\(reply)")
        return
      }
    }
  }

  @Test func nobodyListens() throws {
    let loop = try EventLoop()
    #expect(throws: Errno(ENOENT)) {
      try LoaderConnection(to: "/nowhere/at/all", on: loop) { _ in }
    }
  }

  /// What the loader sends need not be a program, and the kernel may refuse to run a program.
  @Test func whatCantBeRunIsNoEvidence() throws {
    let (listener, loop) = (try Listener(), try EventLoop())
    let memory = OwnedFD(try Errno.check(primed_memfd("plain", 4096, false)))
    let identity = BufferIdentity(inode: 1)
    let source = IntrospectionSource(loop: loop, socket: listener.path) { done in
      loop.soon { loop.exit(0) }
      guard let fd = try? OwnedFD.duplicate(memory.rawValue) else { return done(nil) }
      done(HeldBuffer(identity: identity, fd: fd))
    }
    source.onChange = { Issue.record("it must stay off") }
    source.ask()
    send("ready tgpu", memory.rawValue, over: listener.accepted())
    _ = try loop.run()
    #expect(!source.isOn)
    #expect(source.introspect(memory.rawValue, identity) == nil)
  }
}
