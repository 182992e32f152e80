// primectl monitor: primed's signals as they come.

import ArgumentParser
import Bus
import Glibc
import Inspection
internal import JSON
import Placement
import Simulation

struct MonitorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Print what happens, as it happens, until interrupted.",
    discussion: """
      Devices that come, go and change, and when a compositor has to ask again. Goes on when primed \
      is restarted. With --json an object a line.

      --what and --device print a part of it alone; what concerns all devices is printed for each. \
      The device must be there when monitor starts.

      Examples:
        primectl monitor
        primectl monitor --what added,removed
        primectl monitor --device renderD129
        primectl monitor --json | jq 'select(.what == "added").device.RenderNode'
      """)

  @Option(
    help: "Only these: \(Happening.words.joined(separator: ", ")), separated by commas.",
    completion: .list(Happening.words))
  var what: String?
  @Option(
    help: "Only what is about this device: node, number, stable id or driver.",
    completion: devicesCompletion)
  var device: String?
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  private var kinds: [String]? { what?.split(separator: ",").map(String.init) }

  func validate() throws {
    if let wrong = kinds?.first(where: { !Happening.words.contains($0) }) {
      throw ValidationError(
        "--what \(wrong): one of \(Happening.words.joined(separator: ", "))")
    }
  }

  func run() throws {
    let client = try options.connect()
    var devices = Devices()
    var isFirst = true
    try client.monitor { happening in
      if case .running(true) = happening {
        devices = Devices(try client.deviceObjects(), try client.brokerProperties())
        if isFirst { try check(device, among: devices) }
        isFirst = false
      }
      guard let happening = devices.apply(happening) else { return }
      guard kinds?.contains(happening.word) ?? true,
        device.map({ devices.isAbout($0, happening) }) ?? true
      else { return }
      print(output.json ? devices.json(happening).text : "\(clock())  \(devices.words(happening))")
      fflush(nil)
    }
  }

  /// A device that has gone is not known, and nothing would ever be printed of a misspelt one.
  private func check(_ word: String?, among devices: Devices) throws {
    guard let word, !devices.known.values.contains(where: { $0.isNamed(word) }) else { return }
    throw noDevice(word, among: devices.known.values.sorted { isBefore($0.node, $1.node) })
  }

  /// The time of day, as in log files.
  private func clock() -> String {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    let two = { (n: Int32) in n < 10 ? "0\(n)" : "\(n)" }
    return [parts.tm_hour, parts.tm_min, parts.tm_sec].map(two).joined(separator: ":")
  }
}

extension Happening {
  static let words = ["running", "invalidated", "releasing", "added", "removed", "changed"]

  fileprivate var word: String {
    switch self {
    case .running: "running"
    case .invalidated: "invalidated"
    case .releasing: "releasing"
    case .added: "added"
    case .removed: "removed"
    case .changed: "changed"
    }
  }
}

/// Device names by object path and number; those of devices that have gone are kept.
private struct Devices {
  private(set) var known: [String: DeviceInfo] = [:]
  /// primed's own properties, as far as they are known.
  private var primed: [String: BusValue] = [:]

  init() {}
  init(
    _ objects: [(path: String, properties: [String: BusValue])], _ primed: [String: BusValue]
  ) {
    for object in objects { known[object.path] = DeviceInfo(properties: object.properties) }
    self.primed = primed
  }

  /// Takes over what is told. Of a change, what really changed: primed tells some properties
  /// together. nil: nothing did.
  mutating func apply(_ happening: Happening) -> Happening? {
    switch happening {
    case .running, .invalidated, .releasing, .removed: return happening
    case .added(let path, let properties):
      known[path] = DeviceInfo(properties: properties)
      return happening
    case .changed(let path, let properties):
      let old = path == Names.path ? primed : known[path]?.properties ?? [:]
      let new = old.merging(properties) { _, new in new }
      if path == Names.path { primed = new } else { known[path] = DeviceInfo(properties: new) }
      let news = properties.filter { old[$0.key] != $0.value }
      return news.isEmpty ? nil : .changed(path: path, properties: news)
    }
  }

  private func name(_ path: String) -> String { known[path].map(words) ?? path }
  private func words(_ info: DeviceInfo) -> String { "\(info.node) (\(info.name))" }
  private func node(_ number: DeviceNumber) -> String {
    known.values.first { $0.number == number }?.node ?? number.words
  }

  /// Signals about all devices are about each.
  func isAbout(_ word: String, _ happening: Happening) -> Bool {
    switch happening {
    case .running: true
    case .invalidated(_, let numbers):
      known.values.contains { $0.isNamed(word) && numbers.contains($0.number) }
    case .releasing(let number): known.values.contains { $0.isNamed(word) && $0.number == number }
    case .added(let path, _), .removed(let path), .changed(let path, _):
      path == Names.path || known[path]?.isNamed(word) == true
    }
  }

  func words(_ happening: Happening) -> String {
    switch happening {
    case .running(let here): here ? "primed runs" : "primed does not run; waiting for it"
    case .invalidated(let generation, let devices):
      "answers that rest on \(devices.map(node).joined(separator: ", ")) are out of date"
        + " (generation \(generation))"
    case .releasing(let number): "\(node(number)) is being released"
    case .added(let path, _): "\(name(path)) came"
    case .removed(let path): "\(name(path)) went"
    case .changed(let path, let properties):
      (path == Names.path ? "primed" : name(path)) + ": "
        + properties.sorted { $0.key < $1.key }.map { "\($0.key) \(words($0.key, $0.value))" }
        .joined(separator: ", ")
    }
  }

  private func words(_ key: String, _ value: BusValue) -> String {
    guard key == "PrimaryDevice", case .number(let number) = value else { return value.words }
    return number == 0 ? "none" : node(DeviceNumber(number))
  }

  func json(_ happening: Happening) -> JSON {
    switch happening {
    case .running(let here): .object([("what", .string(happening.word)), ("running", .bool(here))])
    case .invalidated(let generation, let devices):
      .object([
        ("what", .string(happening.word)), ("generation", JSON(generation)),
        ("devices", .array(devices.map { JSON($0.rawValue) })),
      ])
    case .releasing(let number):
      .object([("what", .string(happening.word)), ("device", JSON(number.rawValue))])
    case .added(let path, let properties):
      .object([
        ("what", .string(happening.word)), ("path", .string(path)), ("device", JSON(properties)),
      ])
    case .removed(let path): .object([("what", .string(happening.word)), ("path", .string(path))])
    case .changed(let path, let properties):
      .object([
        ("what", .string(happening.word)), ("path", .string(path)),
        ("properties", JSON(properties)),
      ])
    }
  }
}
