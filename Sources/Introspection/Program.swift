// The BPF program in the daemon: a descriptor that it can run, and nothing more.

internal import CBPF
package import Linux
package import Placement

/// An answer of the program.
package enum Seen: Sendable, Equatable {
  /// The buffer of a device, or of none (both nodes `.none`).
  case buffer(Introspection)
  /// A DMA-BUF of an exporter that the program does not know.
  case unknownExporter
  /// Not a DMA-BUF, or no longer the one that was asked about.
  case otherFile
  /// It was changing at each attempt.
  case busy
  /// The values that were read contradict each other.
  case inconsistent
  /// The program can't be run.
  case failed(Errno)
}

package final class Program: Sendable {
  private let fd: OwnedFD
  /// Drivers of whose buffers it also tells the memory.
  package let drivers: Set<String>

  package init(_ fd: consuming OwnedFD, drivers: Set<String>) {
    self.fd = fd
    self.drivers = drivers
  }

  /// One run takes microseconds: if it met a change, it is repeated at once.
  private static let tries = 4

  /// Reads the DMA-BUF that has this identity and that `buffer`, which is borrowed, is open on.
  /// Calls no driver and never blocks, so the loop's thread may call it.
  package func look(at buffer: Int32, _ identity: BufferIdentity) -> Seen {
    for _ in 0..<Self.tries {
      var look = dmabuf_look()
      look.fd = buffer
      look.inode = identity.inode
      guard primed_bpf_run(fd.rawValue, &look) == 0 else { return .failed(.last) }
      switch dmabuf_status(look.status) {
      case DMABUF_DEVICE, DMABUF_NO_DEVICE: return Seen(look)
      case DMABUF_UNKNOWN: return .unknownExporter
      case DMABUF_NONE, DMABUF_NO_FD: return .otherFile
      case DMABUF_CHANGED: continue
      default: return .inconsistent
      }
    }
    return .busy
  }
}

extension Seen {
  fileprivate init(_ look: dmabuf_look) {
    func known(_ count: UInt8) -> UInt8? {
      count == UInt8(DMABUF_ATTACHED_UNKNOWN) ? nil : count
    }
    self = .buffer(
      Introspection(
        card: DeviceNumber(minor: look.card), render: DeviceNumber(minor: look.render),
        registered: look.registered != 0, residency: Memory(look.residency),
        preferred: Memory(look.preferred), attached: known(look.attached),
        peers: known(look.peers)))
  }
}

extension DeviceNumber {
  /// `minor`: the minor number plus one; 0: no node.
  fileprivate init(minor: UInt32) {
    self = minor == 0 ? .none : DeviceNumber(major: 226, minor: minor - 1)
  }
}

extension Memory {
  fileprivate init(_ word: UInt8) {
    self =
      switch dmabuf_memory(UInt32(word)) {
      case DMABUF_MEMORY_DEDICATED: .dedicated
      case DMABUF_MEMORY_SYSTEM: .system
      default: .unknown
      }
  }
}
