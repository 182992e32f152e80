// primectl devices: the machine's DRM devices as primed sees them.

import ArgumentParser
import Bus
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
        primectl devices renderD128
        primectl devices --json | jq '.[].RenderNode'
      """)

  @Argument(help: "One device: node, number, stable id or driver.", completion: devicesCompletion)
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
        + devices.map(row))
  }

  /// The longest last, so that a narrow terminal breaks nothing else.
  private func row(_ d: DeviceInfo) -> [String] {
    [
      d.flag("Primary") ? "*" : "", d.node, d.text("Driver"), d.text("Role"), memory(d),
      d.text("Power"), d.text("State"), d.list("ConnectedConnectors").joined(separator: " "),
      d.name,
    ]
  }

  private func memory(_ d: DeviceInfo) -> String {
    (d.flag("DedicatedMemoryEstimated") ? ">=" : "") + bytes(d.number("DedicatedMemory"))
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
    // As `ls -l` has it.
    case ("RenderDevice", .number(let number)), ("PrimaryDevice", .number(let number)):
      number == 0 ? "-" : "\(number) (\(DeviceNumber(number).words))"
    default: value.words
    }
  }
}
