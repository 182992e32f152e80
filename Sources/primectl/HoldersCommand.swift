// primectl holders: the processes that use a device.

import ArgumentParser
import Bus
import Glibc
internal import JSON
import Linux
internal import Placement
import Simulation

struct HoldersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holders", abstract: "List the processes that use a device's nodes.",
    discussion: """
      They keep it from being unbound, unplugged or put to sleep. Beside the DRM nodes these are its \
      node under /dev/accel, /dev/nvidia* and /dev/kfd; /dev/kfd and NVIDIA's control nodes are shared \
      by all devices of the driver. A process that closed a node and still maps it is one of them. \
      Other users' processes are seen by root only.

      Examples:
        sudo primectl holders renderD129
        sudo primectl holders pci-0000:01:00.0 --json | jq .[].pid
      """)

  @Argument(
    help: "The device: node, number, stable id or driver.", completion: devicesCompletion)
  var device: String
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let info = try options.connect().device(named: device)
    let found = holders(of: nodes(of: info))
    if output.json {
      return print(JSON.array(found.map(json)).text)
    }
    if geteuid() != 0 { complain("not root: other users' processes are not seen") }
    if found.isEmpty { return print("Nobody that you may see uses \(info.node).") }
    printTable(
      [["PID", "NAME", "NODES"]]
        + found.map { holder in
          let onlyMapped = holder.mapped.filter { !holder.open.contains($0) }
          let nodes = holder.open + onlyMapped.map { "\($0) (mapped)" }
          return ["\(holder.pid)", holder.name, nodes.joined(separator: " ")]
        }, hasHead: true)
  }

  private func json(_ holder: NodeHolder) -> JSON {
    .object([
      ("pid", JSON(UInt64(holder.pid))), ("name", .string(holder.name)),
      ("nodes", .array(holder.open.map { .string($0) })),
      ("mapped", .array(holder.mapped.map { .string($0) })),
    ])
  }
}

/// The device's nodes: DRM's and the driver's own.
private func nodes(of info: DeviceInfo) -> Set<String> {
  var nodes = Set([info.text(.renderNode), info.text(.primaryNode)]).subtracting([""])
  // In the device's directory in sysfs, like its DRM nodes: drivers/accel/drm_accel.c.
  for name in namesIn(info.text(.sysfsPath) + "/accel") where name.hasPrefix("accel") {
    nodes.insert("/dev/accel/\(name)")
  }
  nodes.formUnion(Driver(name: info.text(.driver)).info.ownNodes)
  if let node = nvidiaNode(of: info) { nodes.insert(node) }
  return nodes
}

/// nvidia.ko shows the minor of its device's /dev/nvidiaN in /proc. nil: it drives another one.
private func nvidiaNode(of info: DeviceInfo) -> String? {
  let slot = info.text(.sysfsPath).split(separator: "/").last ?? ""
  let lines = readText("/proc/driver/nvidia/gpus/\(slot)/information").split(separator: "\n")
  let minor = lines.first { $0.hasPrefix("Device Minor:") }?.split(separator: " ").last
  return minor.map { "/dev/nvidia\($0.filter(\.isNumber))" }
}
