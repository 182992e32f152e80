// --hint: the interface's hints as words, decoded by the contract's table.

import ArgumentParser
import Bus
import Placement

struct HintOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A hint of the interface, e.g. usage=scanout, candidates=renderD128,renderD129, verdicts.",
      discussion: "One of \(Hint.names.joined(separator: ", ")). See org.primed.Broker1(5).",
      valueName: "key=value"),
    completion: .list(Hint.allCases.map { $0.kind == .flag ? "\($0.name)" : "\($0.name)=" }))
  var hint: [String] = []

  /// The hints by name. Throws for a hint that `method` does not take.
  /// - Parameter number: returns the number of the device that a word names.
  func values(
    for method: Hint.Methods, _ number: (String) throws -> DeviceNumber
  ) throws -> [String: BusValue] {
    var values: [String: BusValue] = [:]
    for word in hint {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let key = String(parts[0])
      guard let hint = Hint(named: key), hint.methods.contains(method) else {
        let known = Hint.allCases.filter { $0.methods.contains(method) }.map { "\($0.name)" }
        throw ValidationError(
          "--hint \(key): no such hint; one of \(known.joined(separator: ", "))")
      }
      values[key] = try value(of: hint, parts.count == 2 ? String(parts[1]) : nil, number)
    }
    return values
  }

  private func value(
    of hint: Hint, _ word: String?, _ number: (String) throws -> DeviceNumber
  ) throws -> BusValue {
    func wrong(_ what: String) -> any Error { ValidationError("--hint \(hint.name): \(what)") }
    if hint.kind == .flag {
      guard let flag = Bool(word ?? "true") else { throw wrong("true or false") }
      return .bool(flag)
    }
    guard let word else { throw wrong("give a value: \(hint.name)=...") }
    switch hint.kind {
    case .device: return .number(try UInt64(word) ?? number(word).rawValue)
    case .devices:
      let words = word.split(separator: ",").map(String.init)
      return .numbers(try words.map { try UInt64($0) ?? number($0).rawValue })
    case .usage:
      let words = word.split(separator: ",").map(String.init)
      if let wrong = words.first(where: { Usage(word: $0) == nil }) {
        throw ValidationError("--hint usage: \(wrong) is none of \(Usage.allWords)")
      }
      return .strings(words)
    case .number32 where word.utf8.count == 4 && UInt32(word) == nil:
      return .number(word.utf8.reversed().reduce(0) { $0 << 8 | UInt64($1) })
    case .number32, .number64, .client:
      let digits = word.hasPrefix("0x") ? UInt64(word.dropFirst(2), radix: 16) : UInt64(word)
      guard let digits else {
        throw wrong("\(word) is not a number" + (hint == .format ? " or a fourcc, as XR24" : ""))
      }
      return .number(digits)
    case .flag: preconditionFailure("read above")
    }
  }
}

extension Usage {
  init?(word: String) {
    guard let known = Self.words.first(where: { "\($0.key)" == word }) else { return nil }
    self = known.value
  }
  static var allWords: String { words.map { "\($0.key)" }.joined(separator: ", ") }
  var list: [String] { Self.words.filter { contains($0.value) }.map { "\($0.key)" } }
  /// "sample, scanout"; "" for none.
  var text: String { list.joined(separator: ", ") }
}
