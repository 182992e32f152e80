// primectl demo: one minute on a simulated laptop, on a private bus.

import ArgumentParser
import Bus
import Glibc
import Inspection
internal import JSON
import Linux
import Placement
import Simulation

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo", abstract: "See in a minute what primed does, on a simulated laptop.",
    discussion: """
      Starts a message bus and a primed of its own, which simulates a laptop with two GPUs, and asks it as \
      a compositor would: about a game's buffers, an evicted one, a copy made for the other GPU, and after \
      the GPU was pulled. Beside each answer stands what a compositor moves that imports into its own \
      device first. Nothing of this machine is touched. What moves is counted by the simulated kernel; a \
      buffer is taken for a frame of 2560 by 1440.

      Examples:
        primectl demo
        primectl demo --fast --svg demo.svg
        primectl demo --fast --json | jq .naive
      """)

  @Flag(help: "Without the pauses for reading.")
  var fast = false
  @Option(
    help: "Draw what moved into this file; - for standard output, without the story.",
    completion: .file(extensions: ["svg"]))
  var svg: String?
  @OptionGroup var output: OutputOptions

  func validate() throws {
    if svg == "-" && output.json { throw ValidationError("--svg - or --json, not both") }
  }

  func run() throws {
    // Not after a minute.
    if let svg, svg != "-" { try writeFile("", to: svg) }
    let isQuiet = output.json || svg == "-"
    let demo = try Demo(pause: fast || isQuiet ? 0 : 13, isQuiet: isQuiet)
    let story = try demo.tell()
    if let svg { try writePicture(story.picture.text, to: svg) }
    if svg == "-" { return }
    if output.json { return print(story.json.text) }
    print()
    printLines(story.bars(.output))
  }
}

/// The bus, primed on it, and two compositors: one asks primed, the other does not.
private final class Demo {
  private let pause: UInt32
  private let isQuiet: Bool
  private let scenario: Scenario
  private let bus: Child
  private let primed: Child
  private let client: BrokerClient
  /// Each compositor has a simulated machine on which the effects of its imports are counted.
  private let naive: SimulatedKernel
  private let asking: SimulatedKernel
  private let own = 0
  private var story = Story()
  private let terminal = Terminal.output

  private static let name = "demo-laptop"
  private static let frame: UInt64 = 2560 * 1440 * 4
  private static let steps = 4

  init(pause: UInt32, isQuiet: Bool) throws {
    (self.pause, self.isQuiet) = (pause, isQuiet)
    scenario = try Scenario(named: Self.name)
    (naive, asking) = (SimulatedKernel(scenario), SimulatedKernel(scenario))
    do {
      bus = try Child(["dbus-daemon", "--session", "--nofork", "--print-address"], quiet: true)
    } catch { throw CleanExit.failure("can't run dbus-daemon: \(error); install dbus-daemon") }
    guard let address = bus.readLine(), let choice = BusChoice(address) else {
      throw CleanExit.failure("dbus-daemon did not start; try: dbus-daemon --session --nofork")
    }
    do {
      primed = try Child(
        [Self.daemon, "--bus", address, "--simulate", Self.name], withErrors: true)
    } catch { throw CleanExit.failure("can't run \(Self.daemon): \(error); install primed") }
    client = try BrokerClient(choice)
    try waitForPrimed()
  }

  /// The program beside this one, else the one in PATH.
  private static var daemon: String {
    guard let program = realpath("/proc/self/exe", nil) else { return "primed" }
    defer { free(program) }
    let path = String(cString: program)
    let beside = path[..<(path.lastIndex(of: "/") ?? path.startIndex)] + "/primed"
    return access(String(beside), X_OK) == 0 ? String(beside) : "primed"
  }

  private struct IsThere: Error {}
  private func waitForPrimed() throws {
    // A client whose `monitor` ended in the middle can't be used again.
    let waiting = try BrokerClient(client.choice)
    do {
      try waiting.monitor { happening in
        if case .running(true) = happening { throw IsThere() }
      }
    } catch is IsThere {}
  }

  // MARK: The story

  func tell() throws -> Story {
    if pause > 0 { say("A story of a minute; --fast leaves out the pauses for reading.", .faint) }
    say(
      "A laptop in a file, a message bus and a primed of its own: nothing of this machine is touched."
    )
    say(
      "The compositor draws with renderD128 (i915). renderD129 (amdgpu) has 8 GiB of video memory.")
    try step(
      "A game renders on the AMD GPU", "three buffers in its video memory",
      ["game0", "game1", "game2"])
    try step(
      "A buffer was evicted", "meant for video memory, in system memory for a while", ["evicted"])
    try happens("migrate evicted") { $0.migrate(3, to: .dedicated) }
    say("  Its driver would bring it home now; the naive import keeps it out for good.")
    try step(
      "A copy for the other GPU", "render offload copied it to system memory on purpose", ["copy"])
    try happens("unplug dgpu") { $0.unplug(1) }
    try step("The AMD GPU is pulled", "no answer names it any more", ["game0", "desktop"])
    return story
  }

  /// Plays the next event on primed's machine and on the two on which effects are counted.
  private func happens(_ what: String, _ play: (SimulatedKernel) -> Void) throws {
    kill(primed.pid, SIGUSR1)
    while let line = primed.readLine(), !line.hasSuffix("simulated: \(what)") {}
    play(naive)
    play(asking)
  }

  private func step(_ title: String, _ about: String, _ buffers: [String]) throws {
    let number = story.steps.count + 1
    say("")
    say("\(number)/\(Self.steps)  \(title)", .strong)
    say("  \(about)")
    var moved = Story.Step(title, naive: 0, primed: 0)
    var rows: [[Cell]] = []
    for id in buffers {
      let index = scenario.buffers.firstIndex { $0.id == id }!
      let fd = try makeBuffer(id)
      let reply = try client.place([fd.rawValue], hints(for: scenario.buffers[index]))
      let device = scenario.devices.firstIndex { $0.number == reply.device }
      let harm = (naive: harm(index, naive, nil), primed: harm(index, asking, device))
      moved.naive += harm.naive
      moved.primed += harm.primed
      rows += self.rows(id, reply, device, naive: harm.naive)
    }
    if !isQuiet { printLines(terminal.table(rows, indent: 2)) }
    story.steps.append(moved)
    if pause > 0 { sleep(pause) }
  }

  /// What a compositor knows of a buffer.
  private func hints(for buffer: BufferModel) -> [String: BusValue] {
    var hints: [String: BusValue] = [
      "\(Hint.primaryDevice.name)": .number(scenario.devices[own].number.rawValue),
      "\(Hint.explain.name)": .bool(true),
    ]
    hints["\(Hint.format.name)"] = buffer.format.map { .number(UInt64($0)) }
    hints["\(Hint.modifier.name)"] = buffer.modifier.map { .number($0) }
    return hints
  }

  /// Bytes that the import moves out of video memory, or keeps from returning there.
  private func harm(_ buffer: Int, _ machine: SimulatedKernel, _ device: Int?) -> UInt64 {
    let before = machine.outcome(of: buffer, on: device ?? own)
    let hasMoved =
      device.map { machine.use(buffer, on: $0) } ?? machine.useNaively(buffer, primary: own)
    return hasMoved || before == .kept ? Self.frame : 0
  }

  /// primed's answer, and what happens without it.
  private func rows(_ id: String, _ reply: PlaceReply, _ device: Int?, naive: UInt64) -> [[Cell]] {
    let node = device.map { "renderD\(scenario.devices[$0].render ?? 0)" } ?? "no device"
    var why = ""
    if case .string(let text)? = reply.detail(Names.Detail.reason) { why = text }
    let without =
      naive > 0
      ? Cell("\(bytes(naive)) out of video memory, or kept out of it", .bad)
      : Cell("nothing moves", .faint)
    return [
      [Cell(id, .strong), Cell("primed"), Cell("\(node), \(reply.access.word). \(why)")],
      [Cell(""), Cell("naive", .faint), without],
    ]
  }

  private func say(_ text: String, _ style: Style? = nil) {
    if isQuiet { return }
    printLines(terminal.fold(text).map { terminal.paint(Cell($0, style)) })
    fflush(nil)
  }
}
