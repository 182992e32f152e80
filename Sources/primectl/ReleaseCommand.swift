// primectl release: keeps primed off a device, for VFIO, an unplug or a driver's unload.

import ArgumentParser
import Bus
import Foundation

struct ReleaseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release",
    abstract: "Close every node of a device, and keep primed off it while a command runs.",
    discussion: """
      Without a command, until interrupted. Takes root, or the polkit action \
      org.primed.release-device.

      EXAMPLES:
        primectl release renderD129 -- modprobe -r nvidia-drm
        primectl release pci-0000:01:00.0 -- virsh start gaming
      """)

  @Argument(help: "The device: node, number, stable id or driver.")
  var device: String
  @Option(help: "Why, for the log.")
  var why = "primectl release"
  @Argument(parsing: .postTerminator, help: "What to run meanwhile; its exit status is primectl's.")
  var command: [String] = []
  @OptionGroup var options: BusOptions

  func run() throws {
    let client = try options.connect()
    let info = try client.device(named: device)
    let guardFD = try client.release(info.number, why: why)
    let status = try withExtendedLifetime(guardFD) { try hold(info) }
    throw ExitCode(status)
  }

  private func hold(_ info: DeviceInfo) throws -> Int32 {
    guard let program = command.first else {
      print("\(info.node) is released; interrupt to give it back")
      while true { pause() }
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + command.dropFirst()
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
  }
}
