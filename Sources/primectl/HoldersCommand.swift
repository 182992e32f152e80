// primectl holders: who keeps a device busy.

import ArgumentParser
import Bus
import Foundation

struct HoldersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holders", abstract: "List the processes that have a device's nodes open.",
    discussion: "Other users' processes are seen by root only.")

  @Argument(help: "The device: node, number, stable id or driver.")
  var device: String
  @OptionGroup var options: BusOptions

  private struct Holder {
    var pid: Int
    var name: String
    var nodes: [String]
  }

  func run() throws {
    let info = try options.connect().device(named: device)
    let nodes = Set([info.text("RenderNode"), info.text("PrimaryNode")]).subtracting([""])
    let found = holders(of: nodes)
    if options.json {
      return try printJSON(
        found.map { ["pid": $0.pid, "name": $0.name, "nodes": $0.nodes] as [String: Any] })
    }
    if found.isEmpty { return print("Nobody that you may see has \(info.node) open.") }
    printTable(
      [["PID", "NAME", "NODES"]]
        + found.map { ["\($0.pid)", $0.name, $0.nodes.joined(separator: " ")] })
  }

  private func holders(of nodes: Set<String>) -> [Holder] {
    let files = FileManager.default
    let pids = ((try? files.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap(Int.init)
    return pids.sorted().compactMap { pid in
      let fds = (try? files.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []
      let open = fds.compactMap { try? files.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\($0)") }
      let held = nodes.intersection(open).sorted()
      guard !held.isEmpty else { return nil }
      let name = (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? ""
      return Holder(pid: pid, name: name.trimmingCharacters(in: .newlines), nodes: held)
    }
  }
}
