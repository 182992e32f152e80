// Fds that stand for a scenario's dma-bufs: memfds whose name says which. Any process can make one,
// so that a simulated daemon can be asked by real clients.

internal import CShims
internal import Glibc
package import Kernel
package import Linux
package import Placement

/// An fd for plane `plane` of buffer `id`: a memfd named `primed:b0`, or `primed:b0.1` for plane 1.
package func makeBuffer(_ id: String, plane: Int = 0) throws(Errno) -> OwnedFD {
  let name = plane == 0 ? "primed:\(id)" : "primed:\(id).\(plane)"
  return OwnedFD(try Errno.check(primed_memfd(name, simulatedBufferSize, false)))
}

/// Bytes; that of every buffer.
private let simulatedBufferSize: UInt64 = 4096

extension SimulatedKernel: BufferReader {
  package func identity(of fd: Int32) -> BufferIdentity? { dmabuf(of: fd)?.identity }

  package func label(of fd: Int32) -> BufferLabel {
    guard let dmabuf = dmabuf(of: fd) else { return BufferLabel(exporter: .unknown, size: 0) }
    let name: ExporterName =
      switch dmabuf.exporter {
      case .device(let index): DriverFacts.exporterName(scenario.devices[index].driver)
      case .nobody: .named("udmabuf")
      case .sacrifice: .drm
      }
    return BufferLabel(exporter: name, size: simulatedBufferSize)
  }

  package func introspect(_ fd: Int32) -> Introspection? {
    guard scenario.kernel.introspection, let dmabuf = dmabuf(of: fd) else { return nil }
    var seen = Introspection(
      card: .none, render: .none, registered: isRegistered(dmabuf), residency: dmabuf.residency,
      preferred: dmabuf.home, attached: 0)  // Nobody's import outlasts its own probe.
    if case .device(let index) = dmabuf.exporter {
      seen.card = scenario.devices[index].cardNumber ?? .none
      seen.render = scenario.devices[index].renderNumber ?? .none
    }
    return seen
  }

  /// nil: an fd of anything else, or of a buffer that the scenario does not have.
  private func dmabuf(of fd: Int32) -> SimulatedDMABuf? {
    // By inode once the name was read, so that a question costs what it costs with real dma-bufs.
    var (device, inode): (dev_t, ino_t) = (0, 0)
    guard primed_identity(fd, &device, &inode) == 0 else { return nil }
    if let known = named[inode], known.device == device { return known.dmabuf }
    guard let found = dmabuf(named: fd) else { return nil }
    if named.count == 4096 { named.removeAll() }
    named[inode] = (device, found)
    return found
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

/// What follows `/memfd:`. Asks no file system: an fd on FUSE can't stall it.
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
