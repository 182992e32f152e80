// A user's own rows, a line each:
//
//     # exporter  importer  attach   map    use    [kernels]
//     nvidia-drm  amdgpu    nothing  fails  hangs  6.1..6.18   # seen on my machine
//     mydrm:system  others  pins   nothing  works
//
// A row is about the exporter's dedicated memory, its system memory, or (without a word) both.
// Any driver may be named, also one that primed knows nothing of.
// The importer may be `*` (any) or `others` (any but the exporter's driver).

/// Where an administrator puts them.
package let ownPairsPath = "/etc/primed/pairs"

package struct PairSyntaxError: Error, Sendable, Equatable {
  /// Counted from 1.
  package var line: Int
  package var reason: String
}

extension PairRow {
  /// Reads a file of rows. A line that can't be read is reported and left out.
  package static func parse(_ text: String) -> (rows: [PairRow], errors: [PairSyntaxError]) {
    var rows: [PairRow] = []
    var errors: [PairSyntaxError] = []
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    for (i, line) in lines.enumerated() {
      do throws(PairSyntaxError) {
        if let row = try parse(line: line, number: i + 1) { rows.append(row) }
      } catch {
        errors.append(error)
      }
    }
    return (rows, errors)
  }

  private static func parse(
    line: Substring, number: Int
  ) throws(PairSyntaxError) -> PairRow? {
    let halves = line.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
    let words = halves[0].split { $0 == " " || $0 == "\t" || $0 == "\r" }
    guard !words.isEmpty else { return nil }
    func failed(_ reason: String) -> PairSyntaxError {
      PairSyntaxError(line: number, reason: reason)
    }
    guard words.count == 5 || words.count == 6 else {
      throw failed("expected: exporter importer attach map use [kernels]")
    }
    guard let attach = ImportEffect(rawValue: String(words[2])),
      let map = ImportEffect(rawValue: String(words[3]))
    else { throw failed("attach and map are one of: nothing wakes pins moves fails unknown") }
    guard let use = ImportUse(rawValue: String(words[4])) else {
      throw failed("use is one of: works hangs unknown")
    }
    guard let kernels = KernelRange(words.count == 6 ? words[5] : "..") else {
      throw failed("kernels are written as 6.1..6.12, 6.1.. or ..6.12")
    }
    let exporter = words[0].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let memory = exporter.count == 1 ? .unknown : memoryWords[String(exporter[1])] else {
      throw failed("a memory is written as :dedicated or :system, after the exporter")
    }
    let comment = halves.count == 2 ? halves[1].drop { $0 == " " } : ""
    let source = "own, line \(number)" + (comment.isEmpty ? "" : ": \(comment)")
    return PairRow(
      String(exporter[0]), of: memory, String(words[1]), attach: attach, map: map, use: use,
      on: kernels, source: source)
  }
}

private let memoryWords: [String: Memory] = ["dedicated": .dedicated, "system": .system]

extension PairRow {
  /// As a line of a file.
  package var words: [String] {
    let word = memoryWords.first { $0.value == memory }?.key
    return [
      exporterName + (word.map { ":\($0)" } ?? ""), importerName, attach.rawValue, map.rawValue,
      use.rawValue, kernels.words,
    ]
  }
}

extension PairRow {
  /// Of words as `words` has them; nil: they are not.
  package init?(words: [String], source: String) {
    let (rows, _) = PairRow.parse(words.joined(separator: " "))
    guard var row = rows.first else { return nil }
    row.source = source
    self = row
  }
}

extension KernelRange {
  /// As a file says it; "" for all.
  package var words: String {
    if self == .all { return "" }
    func word(_ version: KernelVersion?) -> String {
      version.map { "\($0.major).\($0.minor)" } ?? ""
    }
    return word(since) + ".." + word(until)
  }

  fileprivate init?(_ text: some StringProtocol) {
    guard let dots = text.indices.first(where: { text[$0...].hasPrefix("..") }) else { return nil }
    let (low, high) = (text[..<dots], text[dots...].dropFirst(2))
    self.init(since: KernelVersion(low), until: KernelVersion(high))
    guard low.isEmpty || since != nil, high.isEmpty || until != nil else { return nil }
  }
}

extension KernelVersion {
  /// "6.12", "6.12.117-amd64".
  package init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ".", maxSplits: 2)
    guard parts.count >= 2, let major = Int(parts[0]),
      let minor = Int(parts[1].prefix { $0.isNumber })
    else { return nil }
    self.init(major, minor)
  }
}
