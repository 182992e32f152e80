// Fds that stand for a scenario's DMA-BUFs: memfds, identified by name. Any process can make one,
// so that real clients can ask a simulated daemon.

internal import CShims
internal import Glibc
package import Linux
package import Placement
package import Ports

/// An fd for plane `plane` of buffer `id`: a memfd named `primed:b0`, or `primed:b0.1` for plane 1.
package func makeBuffer(_ id: String, plane: Int = 0) throws(Errno) -> OwnedFD {
  let name = plane == 0 ? "primed:\(id)" : "primed:\(id).\(plane)"
  return OwnedFD(try Errno.check(primed_memfd(name, simulatedBufferSize, false)))
}

/// Bytes of every buffer.
private let simulatedBufferSize: UInt64 = 4096

extension SimulatedKernel: BufferReader {
  package func identity(of fd: Int32) -> BufferIdentity? {
    guard let file = FileIdentity(of: fd) else { return nil }
    return named.find(file) ?? identify(file, fd)
  }

  package func label(of fd: Int32) -> BufferLabel {
    guard let dmabuf = dmabuf(of: fd) else { return BufferLabel(exporter: .unknown, size: 0) }
    return BufferLabel(exporter: dmabuf.name, size: simulatedBufferSize)
  }

  package func introspect(_ buffer: HeldBuffer) -> Introspection? {
    guard scenario.kernel.introspection, let dmabuf = dmabuf(buffer.identity) else { return nil }
    // Introspection identifies a device by its DRM nodes, and an accelerator has none.
    if case .device(let index) = dmabuf.exporter, devices[index].description.node == nil {
      return nil
    }
    var seen = Introspection(
      card: .none, render: .none, registered: isRegistered(dmabuf), residency: dmabuf.residency,
      preferred: dmabuf.home, attached: 0)  // Nobody's import outlasts its own probe.
    if case .device(let index) = dmabuf.exporter {
      seen.card = scenario.devices[index].cardNumber ?? .none
      seen.render = scenario.devices[index].renderNumber ?? .none
    }
    return seen
  }

  package func newestIdentity() -> BufferIdentity? { BufferIdentity(inode: takeInode(for: nil)) }

  /// nil: an fd of another file, or of a buffer that the scenario does not have.
  private func dmabuf(of fd: Int32) -> SimulatedDMABuf? {
    identity(of: fd).flatMap { dmabuf($0) }
  }

  private func identify(_ file: FileIdentity, _ fd: Int32) -> BufferIdentity? {
    guard let found = dmabuf(named: fd) else { return nil }
    named.add(file, found.identity)
    return found.identity
  }

  private func dmabuf(named fd: Int32) -> SimulatedDMABuf? {
    guard let name = memfdName(fd), name.hasPrefix("primed:") else { return nil }
    let parts = name.dropFirst("primed:".count).split(
      separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let index = parts.first.flatMap({ buffersByID[String($0)] }) else { return nil }
    let plane = parts.count == 2 ? Int(parts[1]) : 0
    return plane.flatMap { dmabuf(index, plane: $0) }
  }
}

/// The part after `/memfd:`. Calls no file system: an fd on FUSE can't block it.
private func memfdName(_ fd: Int32) -> String? {
  let target = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 512) { buffer -> String? in
    let length = buffer.withMemoryRebound(to: CChar.self) {
      readlink("/proc/self/fd/\(fd)", $0.baseAddress!, $0.count)
    }
    return length > 0 ? String(decoding: buffer.prefix(length), as: UTF8.self) : nil
  }
  let (prefix, suffix) = ("/memfd:", " (deleted)")
  guard let target, target.hasPrefix(prefix), target.hasSuffix(suffix) else { return nil }
  return String(target.dropFirst(prefix.count).dropLast(suffix.count))
}
