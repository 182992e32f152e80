// primectl topology: devices, memories, connectors, and which device reaches what.

import ArgumentParser
import Inspection

struct TopologyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "topology",
    abstract: "Show the devices with their memories and connectors, and who reaches what.",
    discussion: """
      As a tree, each device with the others' memories that it uses in place, or as a picture with --svg, \
      which has links that move buffers, too. Both show where buffers lie, with the device that was named \
      for each: those that were asked about lately with --recent (root's to see), those of the scenario \
      with --simulate.

      Examples:
        primectl topology
        primectl topology --svg topology.svg
        sudo primectl topology --recent --svg topology.svg
        primectl topology --simulate egpu-pulled --svg topology.svg
        primectl topology --json | jq .devices
      """)

  @OptionGroup var drawing: DrawingOptions

  func run() throws {
    try drawing.show(\.topologyPicture, \.topologyJSON, { $0.tree(.output, links: true) })
  }
}
