// What each source of evidence said of a buffer, or why it said nothing, from an explained answer.

package struct SourceLine: Sendable, Equatable {
  /// The word of primed's property Evidence.
  package var source: String
  package var said: String
  /// It is not in use, or had nothing to say.
  package var isSilent: Bool
}

package struct SourceLines: Sendable {
  /// One for each source, strongest first.
  package private(set) var lines: [SourceLine] = []
  /// What was said by several together.
  package private(set) var rest: [String] = []

  /// - Parameters:
  ///   - evidence: the detail `evidence`.
  ///   - inUse: primed's property Evidence.
  ///   - missing: the sources that are not in use, and why.
  ///   - declared: the device that the hint `sampling-device` names.
  ///   - notAsked: "renderD129: not asked: it sleeps" for each device that no import was tried on.
  package init(
    _ evidence: [String], inUse: [String], missing: [(source: String, why: String)],
    declared: String?, notAsked: [String]
  ) {
    var left = evidence
    let hasFlag = inUse.contains("no-move-import")
    for (source, starts, nothing) in Self.table {
      var said = left.filter { line in starts.contains { Self.isSaid(line, by: $0) } }
      // With the flag, imports of both kinds are told in the same words.
      if source == "safe-import" && hasFlag { said = [] }
      if source == "no-move-import" && !hasFlag { said = [] }
      left.removeAll { said.contains($0) }
      if source == "declared", said.isEmpty, let declared { said = [declared] }
      let why =
        missing.first { $0.source == source && !inUse.contains(source) }
        .map { "not in use: \($0.why)" }
      var silence = why ?? nothing
      if source == (hasFlag ? "no-move-import" : "safe-import"), !notAsked.isEmpty {
        silence = notAsked.joined(separator: "; ")
      }
      lines.append(
        SourceLine(
          source: source, said: said.isEmpty ? silence : said.joined(separator: "; "),
          isSilent: said.isEmpty))
    }
    rest = left
  }

  /// The line may begin with its plane.
  private static func isSaid(_ line: String, by start: String) -> Bool {
    let words = line.hasPrefix("plane ") ? line.drop { $0 != ":" }.dropFirst(2) : line[...]
    return words.hasPrefix(start)
  }

  private static let imports = ["reached at every look", "would have moved it", "can't use it"]
  /// Each source, how the lines begin that come of it (Placement/Rules/Explanation), and what its
  /// silence means.
  private static let table: [(source: String, starts: [String], nothing: String)] = [
    ("declared", ["sampling-device"], "the client named no sampling device"),
    (
      "driver-record", ["exporter, by its driver's record", "in system memory if its own"],
      "nothing that decides: no driver with records was asked, or a stronger one was enough"
    ),
    (
      "introspection", ["exporter, by kernel introspection"],
      "it named no exporter, or a driver's record was stronger"
    ),
    ("no-move-import", imports + ["exporter, by who would move it"], "no device was asked"),
    ("safe-import", imports + ["exporter, by who would move it"], "not needed"),
    (
      "passive",
      [
        "exporter, by its name", "exporter, by a sibling", "taught by another buffer",
        "modifier of the hardware",
      ], "nothing that the others did not tell: name, modifier, siblings"
    ),
  ]
}
