// primectl monitor: what primed tells everybody, as it happens.

import ArgumentParser
import Bus
import Glibc
import Placement
import Simulation

struct MonitorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Print what happens, as it happens, until interrupted.",
    discussion: """
      Devices that come, go and change, and when a compositor has to ask again. Goes on when primed \
      is restarted. With --json an object a line.

      Examples:
        primectl monitor
        primectl monitor --json | jq 'select(.what == "added").device.RenderNode'
      """)

  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let client = try options.connect()
    var devices = Devices()
    try client.monitor { happening in
      if case .running(true) = happening { devices = Devices(try client.deviceObjects()) }
      if case .added(let path, let properties) = happening {
        devices.known[path] = DeviceInfo(properties: properties)
      }
      print(output.json ? devices.json(happening).text : "\(clock())  \(devices.words(happening))")
      fflush(nil)
    }
  }

  /// The time of day, as the logs have it.
  private func clock() -> String {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    let two = { (n: Int32) in n < 10 ? "0\(n)" : "\(n)" }
    return [parts.tm_hour, parts.tm_min, parts.tm_sec].map(two).joined(separator: ":")
  }
}

/// The devices that signals name by path and number; those that have gone are remembered.
private struct Devices {
  var known: [String: DeviceInfo] = [:]

  init() {}
  init(_ objects: [(path: String, properties: [String: BusValue])]) {
    for object in objects { known[object.path] = DeviceInfo(properties: object.properties) }
  }

  private func name(_ path: String) -> String { known[path].map(words) ?? path }
  private func words(_ info: DeviceInfo) -> String { "\(info.node) (\(info.name))" }
  private func node(_ number: DeviceNumber) -> String {
    known.values.first { $0.number == number }?.node ?? number.words
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
    case .running(let here): .object([("what", .string("running")), ("running", .bool(here))])
    case .invalidated(let generation, let devices):
      .object([
        ("what", .string("invalidated")), ("generation", JSON(generation)),
        ("devices", .array(devices.map { JSON($0.rawValue) })),
      ])
    case .releasing(let number):
      .object([("what", .string("releasing")), ("device", JSON(number.rawValue))])
    case .added(let path, let properties):
      .object([
        ("what", .string("added")), ("path", .string(path)), ("device", JSON(properties)),
      ])
    case .removed(let path): .object([("what", .string("removed")), ("path", .string(path))])
    case .changed(let path, let properties):
      .object([
        ("what", .string("changed")), ("path", .string(path)), ("properties", JSON(properties)),
      ])
    }
  }
}
