// Which processes use a device node: those that have it open, and those that map it and may have
// closed it since. Only root can see other users' processes.

internal import Glibc

package struct NodeHolder: Equatable, Sendable {
  package var pid: Int
  package var name: String
  package var open: [String]
  package var mapped: [String]
}

/// Sorted by pid.
package func holders(of nodes: Set<String>) -> [NodeHolder] {
  namesIn("/proc").compactMap { Int($0) }.sorted().compactMap { pid in
    let fds = "/proc/\(pid)/fd"
    let open = nodes.intersection(namesIn(fds).compactMap { linkTarget("\(fds)/\($0)") })
    let mapped = nodes.intersection(mappedFiles(of: pid))
    guard !open.isEmpty || !mapped.isEmpty else { return nil }
    return NodeHolder(
      pid: pid, name: readAttribute("/proc/\(pid)/comm"), open: open.sorted(),
      mapped: mapped.sorted())
  }
}

private func linkTarget(_ path: String) -> String? {
  var target = [UInt8](repeating: 0, count: 256)
  let length = readlink(path, &target, target.count)
  return length > 0 ? String(decoding: target.prefix(length), as: UTF8.self) : nil
}

/// proc_pid_maps(5): the file name follows five columns.
private func mappedFiles(of pid: Int) -> [String] {
  guard let maps = fopen("/proc/\(pid)/maps", "re") else { return [] }
  defer { fclose(maps) }
  var (line, size) = (UnsafeMutablePointer<CChar>?.none, 0)
  defer { free(line) }
  var files: [String] = []
  while getline(&line, &size, maps) > 0 {
    guard let line, let path = strchr(line, CInt(UInt8(ascii: "/"))) else { continue }
    let file = String(cString: path)
    files.append(file.last == "\n" ? String(file.dropLast()) : file)
  }
  return files
}
