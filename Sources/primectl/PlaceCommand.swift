// primectl place: asks where a buffer belongs, as a compositor would.

import ArgumentParser
import Bus
import Inspection
internal import JSON
import Placement
import Simulation

struct PlaceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "place", abstract: "Ask which device should use a buffer, and why.",
    discussion: """
      The buffer is one that this command makes and drops again, or one whose DMA-BUF fd it was \
      given by the shell.

      Examples:
        primectl place --device renderD129 --memory vram
        primectl place --udmabuf --hint usage=scanout
        primectl place --device amdgpu --hint candidates=renderD128 --hint verdicts
        primectl place --fd 3 --json 3<&0
        primed --bus session --simulate hybrid-laptop &
        primectl place --buffer game --bus session
      """)

  @OptionGroup var buffer: BufferOptions
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let client = try options.connect()
    let reply = try buffer.ask(client).reply
    if output.json {
      print(JSON.object(reply.json).text)
    } else {
      show(reply, try client.deviceInfos())
    }
  }

  private func show(_ reply: PlaceReply, _ devices: [DeviceInfo]) {
    let chosen = devices.first { $0.number == reply.device }
    let terminal = Terminal.output
    print(
      terminal.paint(chosen.map { "\($0.node) (\($0.name))" } ?? "no device", .strong) + ", "
        + terminal.paint(Cell(word: reply.access.word)))
    if case .string(let reason) = reply.detail(Names.Detail.reason) {
      printLines(terminal.fold(reason, from: 2).map { "  " + $0 })
    }
    var facts: [[String]] = [["confidence", reply.confidence.word]]
    if case .number(let home) = reply.detail(Names.Detail.home) {
      let exporter = devices.first { $0.number.rawValue == home }?.node
      facts.append(["home", exporter ?? DeviceNumber(home).words])
    }
    for key in [Names.Detail.rule, Names.Detail.homeMemory, Names.Detail.residency] {
      if case .string(let word) = reply.detail(key) { facts.append(["\(key)", word]) }
    }
    if case .number(let count) = reply.detail(Names.Detail.attachments) {
      facts.append(["attachments", "\(count) when last looked at"])
    }
    if case .strings(let list) = reply.detail(Names.Detail.evidence) {
      for (i, line) in list.enumerated() { facts.append([i == 0 ? "evidence" : "", line]) }
    }
    if case .number(let ms) = reply.detail(Names.Detail.recheck) {
      facts.append(["recheck", "not settled; ask again in \(ms) ms"])
    }
    if case .lines(let lines) = reply.detail(Names.Detail.devices) {
      for (i, line) in lines.enumerated() {
        let node = devices.first { $0.number == line.device }?.node ?? "\(line.device.rawValue)"
        let can = abilities(of: line.device, reply)
        facts.append([i == 0 ? "devices" : "", "\(node): \(line.access.word)\(can), \(line.why)"])
      }
    }
    printLines(
      Terminal.output.table(facts.map { [Cell($0[0]), Cell($0[1])] }, indent: 2))
  }

  /// What a device can do with the buffer, if it reaches it where it lies.
  private func abilities(of device: DeviceNumber, _ reply: PlaceReply) -> String {
    guard case .verdicts(let verdicts) = reply.detail(Names.Detail.verdicts),
      let text = verdicts.first(where: { $0.device == device })?.abilities.text, !text.isEmpty
    else { return "" }
    return " (\(text))"
  }
}

extension PlaceReply {
  var json: [(key: String, value: JSON)] {
    [
      ("device", JSON(device.rawValue)), ("access", .string(access.word)),
      ("confidence", .string(confidence.word)), ("buffer", JSON(buffer)),
      ("generation", JSON(generation)), ("details", JSON(details)),
    ]
  }
}
