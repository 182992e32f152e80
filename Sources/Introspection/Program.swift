// The BPF program as the daemon has it: a descriptor that it can run, and nothing else.

internal import CBPF
package import Linux
package import Placement

/// One answer of the program.
package enum Seen: Sendable, Equatable {
  /// Of a device, or (both nodes `.none`) of none.
  case buffer(Introspection)
  /// A DMA-BUF, but the program knows nothing of its exporter.
  case unknownExporter
  /// Not a DMA-BUF, or not the one that was asked about any more.
  case otherFile
  /// It was changing, each time that it was looked at.
  case busy
  /// What was read contradicts itself.
  case inconsistent
  /// The program can't be run.
  case failed(Errno)
}

package final class Program: Sendable {
  private let fd: OwnedFD
  /// Drivers of whose buffers it tells more than the exporter.
  package let drivers: Set<String>

  package init(_ fd: consuming OwnedFD, drivers: Set<String>) {
    self.fd = fd
    self.drivers = drivers
  }

  /// A look is over in microseconds: one that met a change is made again at once.
  private static let tries = 4

  /// Looks at the DMA-BUF that `buffer`, which is borrowed, is open on and that has this identity.
  /// Asks no driver and blocks on nothing: for the loop's own thread.
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
    let unknown = look.attached == UInt8(DMABUF_ATTACHED_UNKNOWN)
    self = .buffer(
      Introspection(
        card: DeviceNumber(minor: look.card), render: DeviceNumber(minor: look.render),
        registered: look.registered != 0, residency: Memory(look.residency),
        preferred: Memory(look.preferred), attached: unknown ? nil : look.attached))
  }
}

extension DeviceNumber {
  /// `minor`: one more than the minor number; 0: no node.
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
