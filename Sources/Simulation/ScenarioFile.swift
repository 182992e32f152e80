// Reads a scenario's file without Foundation.

internal import Glibc
internal import JSON
internal import Linux

/// nil: it can't be opened or read. Reads one byte more than the JSON parser accepts, so that the
/// parser reports a file that is too long.
func readScenarioFile(_ path: String) -> [UInt8]? {
  guard let fd = try? OwnedFD(Errno.check(open(path, O_RDONLY | O_CLOEXEC))) else { return nil }
  var text: [UInt8] = []
  while text.count <= JSON.sizeLimit {
    var chunk = [UInt8](repeating: 0, count: 65536)
    let count = read(fd.rawValue, &chunk, chunk.count)
    guard count >= 0 else { return nil }
    if count == 0 { break }
    text += chunk.prefix(count)
  }
  return text
}
