// Devices that libudev takes for real ones: a directory in place of sysfs (umockdev), and functions
// that add devices to it.

import Glibc
import Linux
import MockUdev
import Placement
import Ports

@testable import Udev

struct NoMock: Error, CustomStringConvertible {
  var description = "umockdev's preload library is not in the way: see Package.swift, UdevTests"
}

final class MockMachine {
  private let raw: OpaquePointer
  let loop: EventLoop
  let source: UdevSource

  init() throws {
    guard let raw = mock_machine_new() else { throw NoMock() }
    self.raw = raw
    loop = try EventLoop()
    // umockdev has no database of udevd's: all its devices are uninitialized.
    source = try UdevSource(loop: loop, hasDaemon: false)
  }

  deinit { mock_machine_free(raw) }

  // MARK: Devices

  /// A device of a bus, by its path below /sys/devices; `properties` are udev's, as "KEY=value".
  @discardableResult
  func parent(
    _ path: String, bus: String, driver: String?, properties: [String] = [],
    attributes: [String: String] = [:]
  ) -> String {
    add(
      [
        "P: /devices/\(path)", "E: SUBSYSTEM=\(bus)",
        driver.map { "L: driver=../../bus/\(bus)/drivers/\($0)" },
      ], properties, attributes)
    return "/sys/devices/\(path)"
  }

  /// A PCI device, as udev names it.
  @discardableResult
  func pci(
    _ address: String, _ driver: String, properties: [String] = [],
    attributes: [String: String] = [:]
  ) -> String {
    parent(
      "pci0000:00/\(address)", bus: "pci", driver: driver,
      properties: ["ID_PATH=pci-\(address)"] + properties, attributes: attributes)
  }

  func platform(_ name: String, _ driver: String) -> String {
    parent(
      "platform/\(name)", bus: "platform", driver: driver, properties: ["ID_PATH=platform-\(name)"])
  }

  /// Card `card`, or render node `render`, of a parent device.
  @discardableResult
  func node(_ parent: String, card: Int? = nil, render: Int? = nil, properties: [String] = [])
    -> String
  {
    let (name, minor) = card.map { ("card\($0)", $0) } ?? ("renderD\(render!)", render!)
    let path = "\(parent.dropFirst("/sys".count))/drm/\(name)"
    add(
      [
        "P: \(path)", "N: dri/\(name)", "E: DEVNAME=/dev/dri/\(name)", "E: DEVTYPE=drm_minor",
        "E: SUBSYSTEM=drm", "E: MAJOR=226", "E: MINOR=\(minor)",
      ], properties, ["dev": "226:\(minor)"])
    return "/sys\(path)"
  }

  func accelerator(_ parent: String, _ index: Int) {
    add(
      [
        "P: \(parent.dropFirst("/sys".count))/accel/accel\(index)", "N: accel/accel\(index)",
        "E: DEVNAME=/dev/accel/accel\(index)", "E: DEVTYPE=accel_minor", "E: SUBSYSTEM=accel",
        "E: MAJOR=261", "E: MINOR=\(index)",
      ], [], ["dev": "261:\(index)"])
  }

  func connector(_ card: String, _ name: String, _ status: String) {
    let cardName = card.split(separator: "/").last!
    add(
      [
        "P: \(card.dropFirst("/sys".count))/\(cardName)-\(name)", "E: SUBSYSTEM=drm",
        "E: DEVTYPE=drm_connector",
      ], [], ["status": status])
  }

  private func add(_ lines: [String?], _ properties: [String], _ attributes: [String: String]) {
    let all =
      lines.compactMap { $0 } + properties.map { "E: \($0)" }
      + attributes.sorted { $0.key < $1.key }.map { "A: \($0.key)=\($0.value)" }
    precondition(mock_machine_add(raw, all.joined(separator: "\n") + "\n"))
  }

  func remove(_ path: String) { mock_machine_remove(raw, path) }
  func set(_ path: String, _ attribute: String, _ value: String) {
    mock_machine_set(raw, path, attribute, value)
  }
  /// The driver begins to unbind; the device's nodes are still there.
  func unbind(_ path: String) { mock_machine_unbind(raw, path) }
  func change(_ path: String) { mock_machine_event(raw, path, "change") }

  // MARK: What the source tells

  var devices: [DeviceDescription] { source.enumerate() }

  /// The only device.
  func device() throws -> DeviceDescription {
    let all = devices
    guard all.count == 1 else { throw Unexpected(description: "\(all.count) devices: \(all)") }
    return all[0]
  }

  /// The first `count` events that `body` causes.
  func events(_ count: Int, _ body: () -> Void) throws -> [DeviceEvent] {
    var events: [DeviceEvent] = []
    try source.listen { [loop] event in
      events.append(event)
      if events.count == count { loop.exit(0) }
    }
    body()
    let tooLate = try loop.after(10_000) { [loop] in loop.exit(1) }
    defer { withExtendedLifetime(tooLate) {} }
    guard try loop.run() == 0 else { throw Unexpected(description: "told only \(events)") }
    return events
  }
}

struct Unexpected: Error, CustomStringConvertible { var description: String }

extension DeviceEvent {
  var present: DeviceDescription? {
    if case .present(let device) = self { device } else { nil }
  }
  var absentPath: String? {
    if case .absent(let path) = self { path } else { nil }
  }
}
