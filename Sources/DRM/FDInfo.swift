// What /proc/self/fdinfo says of a DMA-BUF.

internal import Placement

struct FDInfo: Equatable {
  /// nil: not a DMA-BUF.
  private(set) var exporter: ExporterName?
  /// Bytes.
  private(set) var size: UInt64 = 0

  init(_ text: String) {
    for line in text.split(separator: "\n") {
      // Any process can set this name, with newlines in it; the kernel prints nothing after it.
      if line.hasPrefix("name:") { break }
      let pair = line.split(separator: ":", maxSplits: 1)
      guard pair.count == 2 else { continue }
      let value = pair[1].drop { $0 == "\t" || $0 == " " }
      if pair[0] == "exp_name" { exporter = value == "drm" ? .drm : .named(String(value)) }
      if pair[0] == "size" { size = UInt64(value) ?? 0 }
    }
  }
}
