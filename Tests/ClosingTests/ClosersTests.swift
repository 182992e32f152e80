// Fds from messages are closed by other threads, in time and within bounds.
//
// A close that blocks is that of a TCP connection with SO_LINGER: the kernel waits for the peer to
// read.

import CClose
import CShims
import Glibc
import Linux
import Testing

/// Closing it blocks until the peer has gone.
private final class Lingering {
  let fd: Int32
  private let peer: Int32

  init() throws {
    let server = try Errno.check(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    fd = try Errno.check(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    let (mine, size0) = (fd, size)
    try withUnsafeMutableBytes(of: &address) { bytes in
      let address = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
      try Errno.check(bind(server, address, size0))
      try Errno.check(listen(server, 1))
      try Errno.check(getsockname(server, address, &size))
      try Errno.check(connect(mine, address, size0))
    }
    peer = try Errno.check(accept(server, nil, nil))
    close(server)
    var linger = linger(l_onoff: 1, l_linger: 3600)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
    let junk = [UInt8](repeating: 0, count: 65536)
    while send(fd, junk, junk.count, Int32(MSG_DONTWAIT)) > 0 {}
  }

  func letGo() { close(peer) }
}

/// An open file by its fd number; another test in this process may reuse the number after the
/// close.
private struct File {
  let fd: Int32
  private let inode: UInt

  init(_ fd: Int32) {
    self.fd = fd
    inode = Self.inode(fd)
  }

  var isOpen: Bool { Self.inode(fd) == inode }

  private static func inode(_ fd: Int32) -> UInt {
    var status = stat()
    return fstat(fd, &status) == 0 ? status.st_ino : 0
  }
}

private func closerThreads() -> Int {
  namesIn("/proc/self/task").count { readAttribute("/proc/self/task/\($0)/comm") == "closer" }
}

/// Ends when `condition` holds; supervises as the daemon's loop does.
private func wait(_ what: String, until condition: () -> Bool) {
  for _ in 0..<10_000 {
    if condition() { return }
    var timer = pollfd(fd: primed_closers_timer(), events: Int16(POLLIN), revents: 0)
    poll(&timer, 1, 1)
    primed_supervise_closers()
  }
  Issue.record("waited in vain: \(what)")
}

private func received(_ owner: UInt32) -> File {
  let file = File(primed_memfd("received", 0, false))
  primed_note_received(file.fd, owner)
  return file
}

@Suite(.serialized) struct ClosersTests {
  init() { #expect(primed_closers_timer() >= 0) }

  @Test func whatIsOursIsClosedAtOnce() {
    let file = File(primed_memfd("ours", 0, false))
    #expect(close(file.fd) == 0)
    #expect(!file.isOpen)
  }

  @Test func aReceivedFDIsClosedSoonAndThenNothingIsLeft() {
    let file = received(1000)
    #expect(close(file.fd) == 0)
    wait("its close") { !file.isOpen }
    wait("the closer's end") { closerThreads() == 0 }
  }

  @Test func whatAMessageBringsIsReceived() throws {
    var ends: [Int32] = [0, 0]
    socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends)
    let mine = File(primed_memfd("sent", 0, false))
    let received = File(try pass(mine.fd, over: ends))
    #expect(primed_claim_received(1000))
    #expect(!primed_claim_received(1001))
    close(mine.fd)
    #expect(!mine.isOpen)
    close(received.fd)
    wait("its close") { !received.isOpen }
    ends.forEach { close($0) }
    wait("the closer's end") { closerThreads() == 0 }
  }

  /// Each owner may have eight blocked closes: one owner has more, and another owner's close waits
  /// for none of them.
  @Test func oneOwnersStuckClosesHoldUpNobodyElses() throws {
    let stuck = try (0..<12).map { _ in try Lingering() }
    for one in stuck {
      primed_note_received(one.fd, 1000)
      close(one.fd)
    }
    let other = received(1001)
    close(other.fd)
    wait("the other's close") { !other.isOpen }
    wait("its share") { primed_stuck_fds(1000) == 12 }
    #expect(closerThreads() <= Int(PRIMED_CLOSERS_PER_OWNER) + 1)
    #expect(primed_stuck_fds(1001) == 0)
    for one in stuck { one.letGo() }
    wait("all closes") { primed_waiting_fds() == 0 && primed_stuck_fds(1000) == 0 }
    wait("the closers' end") { closerThreads() == 0 }
  }
}

extension ClosersTests {
  /// The user of a connection becomes known after some of its closes already block.
  @Test func whatAConnectionSentIsItsUsersOnceThatIsKnown() throws {
    let stuck = try (0..<10).map { _ in try Lingering() }
    for (i, one) in stuck.enumerated() {
      primed_note_received(one.fd, i < 5 ? 0x8000_0001 : 1000)
      close(one.fd)
    }
    wait("a closer each") { closerThreads() == 10 }
    primed_rename_owner(0x8000_0001, 1000)
    let more = received(1000)
    close(more.fd)
    wait("its turn") { primed_stuck_fds(1000) > PRIMED_CLOSERS_PER_OWNER }
    #expect(more.isOpen)
    for one in stuck { one.letGo() }
    wait("all closes") { !more.isOpen && closerThreads() == 0 }
  }
}

/// Sends `fd` through one of `ends` and receives its copy from the other.
private func pass(_ fd: Int32, over ends: [Int32]) throws -> Int32 {
  let size = 64
  let control = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
  defer { control.deallocate() }
  let header = control.assumingMemoryBound(to: cmsghdr.self)
  header.pointee.cmsg_len = MemoryLayout<cmsghdr>.size + 4
  header.pointee.cmsg_level = SOL_SOCKET
  header.pointee.cmsg_type = Int32(SCM_RIGHTS)
  control.storeBytes(of: fd, toByteOffset: MemoryLayout<cmsghdr>.size, as: Int32.self)
  var byte: UInt8 = 0
  try withUnsafeMutablePointer(to: &byte) { byte in
    var vector = iovec(iov_base: byte, iov_len: 1)
    try withUnsafeMutablePointer(to: &vector) { vector in
      var message = msghdr()
      message.msg_iov = vector
      message.msg_iovlen = 1
      message.msg_control = control
      message.msg_controllen = MemoryLayout<cmsghdr>.size + 8
      try Errno.check(sendmsg(ends[0], &message, 0))
      message.msg_controllen = size
      try Errno.check(recvmsg(ends[1], &message, 0))
    }
  }
  return control.load(fromByteOffset: MemoryLayout<cmsghdr>.size, as: Int32.self)
}
