// Small files: sysfs attributes, /proc pages, an administrator's settings.

internal import Glibc

/// What one read(2) of at most `size` bytes gives; "" if the file can't be read. That is all of a
/// sysfs attribute, and of a page of /proc that is one record (single_open; seq_read_iter in
/// fs/seq_file.c). Never for a path that a client named.
package func readText(_ path: String, atMost size: Int = 16384) -> String {
  let fd = open(path, O_RDONLY | O_CLOEXEC)
  guard fd >= 0 else { return "" }
  let file = OwnedFD(fd)
  return String(unsafeUninitializedCapacity: size) { buffer in
    max(0, read(file.rawValue, buffer.baseAddress, buffer.count))
  }
}

/// At most so many bytes of a settings file are read.
package let fileLimit = 65_536

/// A settings file's text, and whether it is the whole file. Invalid UTF-8 is replaced.
package func readFile(_ path: String) throws(Errno) -> (text: String, isWhole: Bool) {
  let file = OwnedFD(try Errno.check(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)))
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while bytes.count <= fileLimit {
    let n = try Errno.check(read(file.rawValue, &chunk, chunk.count))
    if n == 0 { break }
    bytes += chunk.prefix(n)
  }
  return (String(decoding: bytes.prefix(fileLimit), as: UTF8.self), bytes.count <= fileLimit)
}

/// A sysfs attribute without its last newline.
package func readAttribute(_ path: String) -> String {
  var text = readText(path)
  if text.last == "\n" { text.removeLast() }
  return text
}

/// The entries of a directory of sysfs or /proc, in no order; empty if it can't be read.
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
