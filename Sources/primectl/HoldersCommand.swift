// primectl holders: who keeps a device busy.

import ArgumentParser
import Bus
import Glibc
import Linux
import Simulation

struct HoldersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holders", abstract: "List the processes that have a device's nodes open.",
    discussion: """
      They keep it from being unbound, unplugged or put to sleep. Other users' processes are seen by \
      root only.

      Examples:
        sudo primectl holders renderD129
        sudo primectl holders pci-0000:01:00.0 --json | jq .[].pid
      """)

  @Argument(
    help: "The device: node, number, stable id or driver.", completion: devicesCompletion)
  var device: String
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  private struct Holder {
    var pid: Int
    var name: String
    var nodes: [String]
  }

  func run() throws {
    let info = try options.connect().device(named: device)
    let nodes = Set([info.text("RenderNode"), info.text("PrimaryNode")]).subtracting([""])
    let found = holders(of: nodes)
    if output.json {
      return print(JSON.array(found.map(json)).text)
    }
    if geteuid() != 0 { complain("not root: other users' processes are not seen") }
    if found.isEmpty { return print("Nobody that you may see has \(info.node) open.") }
    printTable(
      [["PID", "NAME", "NODES"]]
        + found.map { ["\($0.pid)", $0.name, $0.nodes.joined(separator: " ")] })
  }

  private func json(_ holder: Holder) -> JSON {
    .object([
      ("pid", JSON(UInt64(holder.pid))), ("name", .string(holder.name)),
      ("nodes", .array(holder.nodes.map { .string($0) })),
    ])
  }

  private func holders(of nodes: Set<String>) -> [Holder] {
    namesIn("/proc").compactMap { Int($0) }.sorted().compactMap { pid in
      let open = namesIn("/proc/\(pid)/fd").compactMap { linkTarget("/proc/\(pid)/fd/\($0)") }
      let held = nodes.intersection(open).sorted()
      guard !held.isEmpty else { return nil }
      return Holder(pid: pid, name: readAttribute("/proc/\(pid)/comm"), nodes: held)
    }
  }

  private func linkTarget(_ path: String) -> String? {
    var target = [UInt8](repeating: 0, count: 256)
    let length = readlink(path, &target, target.count)
    return length > 0 ? String(decoding: target.prefix(length), as: UTF8.self) : nil
  }
}
