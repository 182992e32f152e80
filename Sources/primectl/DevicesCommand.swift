// primectl devices: the machine's DRM devices as primed sees them.

import ArgumentParser
import Bus
import Simulation

struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "List the DRM devices.",
    discussion: """
      The device marked * is the one that primed takes for a compositor's own where the compositor \
      does not say which that is.

      EXAMPLES:
        primectl devices
        primectl devices --json | jq '.[].RenderNode'
      """)

  @OptionGroup var options: BusOptions

  func run() throws {
    let devices = try options.connect().deviceInfos()
    if options.json {
      return print(JSON.array(devices.map { JSON($0.properties) }).text)
    }
    if devices.isEmpty {
      return print("No DRM device. primed shows one as soon as its driver is there.")
    }
    printTable(
      [["", "NODE", "DRIVER", "DEVICE", "ROLE", "MEMORY", "POWER", "NO_MOVE", "STATE", "CONNECTORS"]]
        + devices.map(row))
  }

  private func row(_ d: DeviceInfo) -> [String] {
    [
      d.flag("Primary") ? "*" : "", d.node, d.text("Driver"), d.name, d.text("Role"),
      (d.flag("DedicatedMemoryEstimated") ? ">=" : "") + bytes(d.number("DedicatedMemory")),
      d.text("Power"), d.text("NoMove"), d.text("State"),
      d.list("Connectors").joined(separator: " "),
    ]
  }
}
