// The BPF program as the daemon has it: a descriptor that it can run, and nothing else.

internal import CBPF
package import Linux
package import Placement

/// One answer of the program.
package enum Seen: Sendable, Equatable {
  /// Of a device, or (both nodes `.none`) of none. `attached`: importers, nil unknown.
  case buffer(Introspection, attached: Int?)
  /// A DMA-BUF, but the program knows nothing of its exporter.
  case unknownExporter
  /// Not a DMA-BUF, or not the one that was asked about any more.
  case otherFile
  /// It was busy changing, each time that it was looked at.
  case busy
  /// What was read contradicts itself.
  case inconsistent
  /// The program can't be run.
  case failed(Errno)
}

package struct Program: ~Copyable, Sendable {
  private let fd: OwnedFD
  package init(_ fd: consuming OwnedFD) { self.fd = fd }

  /// A look is over in microseconds: one that met a change is made again at once.
  private static let tries = 4

  /// Looks at the DMA-BUF that `buffer`, which is borrowed, is open on and that has this identity. Asks no
  /// driver and blocks on nothing: for the loop's own thread.
  package borrowing func look(at buffer: Int32, _ identity: BufferIdentity) -> Seen {
    for _ in 0..<Self.tries {
      var look = dmabuf_look()
      look.fd = buffer
      look.inode = identity.inode
      guard primed_bpf_run(fd.rawValue, &look) == 0 else { return .failed(.last) }
      switch look.status {
      case DMABUF_DEVICE.rawValue, DMABUF_NO_DEVICE.rawValue: return Seen(look)
      case DMABUF_UNKNOWN.rawValue: return .unknownExporter
      case DMABUF_NONE.rawValue, DMABUF_NO_FD.rawValue: return .otherFile
      case DMABUF_CHANGED.rawValue: continue
      default: return .inconsistent
      }
    }
    return .busy
  }
}

extension Seen {
  fileprivate init(_ look: dmabuf_look) {
    let seen = Introspection(
      card: DeviceNumber(minor: look.card), render: DeviceNumber(minor: look.render),
      registered: look.registered != 0, residency: Memory(look.residency), preferred: Memory(look.preferred))
    let unknown = look.attached == UInt8(DMABUF_ATTACHED_UNKNOWN)
    self = .buffer(seen, attached: unknown ? nil : Int(look.attached))
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
      switch UInt32(word) {
      case DMABUF_MEMORY_DEDICATED.rawValue: .dedicated
      case DMABUF_MEMORY_SYSTEM.rawValue: .system
      default: .unknown
      }
  }
}
