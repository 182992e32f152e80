// Small kernel files: sysfs attributes and /proc pages.

internal import Glibc

/// The first 16 KiB of a file, "" if it can't be read. For sysfs and /proc only: never a path that a
/// client named.
package func readText(_ path: String) -> String {
  let fd = open(path, O_RDONLY | O_CLOEXEC)
  guard fd >= 0 else { return "" }
  let file = OwnedFD(fd)
  return String(unsafeUninitializedCapacity: 16384) { buffer in
    var filled = 0
    while filled < buffer.count {
      let n = read(file.rawValue, buffer.baseAddress! + filled, buffer.count - filled)
      if n <= 0 { break }
      filled += n
    }
    return filled
  }
}

/// The same without its last newline.
package func readAttribute(_ path: String) -> String {
  var text = readText(path)
  if text.last == "\n" { text.removeLast() }
  return text
}

/// What a directory of sysfs or /proc holds, in no order; empty if it can't be read.
package func namesIn(_ directory: String) -> [String] {
  guard let stream = opendir(directory) else { return [] }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    names.append(
      withUnsafeBytes(of: &entry.pointee.d_name) {
        String(cString: $0.bindMemory(to: CChar.self).baseAddress!)
      })
  }
  return names
}
