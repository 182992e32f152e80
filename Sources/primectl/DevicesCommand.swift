// primectl devices: the machine's DRM devices as primed sees them.

import ArgumentParser
import Bus
import Inspection
internal import JSON
import Placement
import Simulation

struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "List the DRM devices, or show all that is known of one.",
    discussion: """
      The device marked * is the one that primed takes for a compositor's own where the compositor \
      does not say which that is. The properties are explained in org.primed.Broker1(5).

      Examples:
        primectl devices
        primectl device renderD128
        primectl devices --json | jq '.[].RenderNode'
      """, aliases: ["device"])

  @Argument(
    help: "One device: node, number, stable id, driver, or name in the list.",
    completion: devicesCompletion)
  var device: String?
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let client = try options.connect()
    let devices = try device.map { [try client.device(named: $0)] } ?? client.deviceInfos()
    if output.json {
      return print(JSON.array(devices.map { JSON($0.properties) }).text)
    }
    if device != nil { return show(devices[0]) }
    if devices.isEmpty {
      return print("No DRM device. primed shows one as soon as its driver is there.")
    }
    printTable(
      [["", "NODE", "DRIVER", "ROLE", "MEMORY", "POWER", "STATE", "CONNECTED", "DEVICE"]]
        + devices.map(row), hasHead: true)
  }

  /// The longest column is last, so that a narrow terminal folds only that one.
  private func row(_ d: DeviceInfo) -> [String] {
    [
      d.flag(.primary) ? "*" : "", d.node, d.text(.driver), d.text(.role), memory(d),
      d.text(.power), d.text(.state), d.list(.connectedConnectors).joined(separator: " "),
      d.name,
    ]
  }

  private func memory(_ d: DeviceInfo) -> String {
    (d.flag(.dedicatedMemoryEstimated) ? ">=" : "") + bytes(d.number(.dedicatedMemory))
  }

  private func show(_ device: DeviceInfo) {
    printTable(
      device.properties.sorted { $0.key < $1.key }.map { key, value in
        [key, words(key, value, of: device)]
      })
  }

  private func words(_ key: String, _ value: BusValue, of device: DeviceInfo) -> String {
    switch (key, value) {
    case ("DedicatedMemory", _): memory(device)
    // In the form of `ls -l`.
    case ("RenderDevice", .number(let number)), ("PrimaryDevice", .number(let number)):
      number == 0 ? "-" : "\(number) (\(DeviceNumber(number).words))"
    default: value.words
    }
  }
}
