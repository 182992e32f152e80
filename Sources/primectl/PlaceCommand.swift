// primectl place: asks where a buffer belongs, as a compositor would.

import ArgumentParser
import Bus
import CShims
import DRM
import Linux
import Placement
import Simulation

struct PlaceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "place", abstract: "Ask which device should use a buffer.",
    discussion: """
      The buffer is one that this command makes and drops again, or one whose DMA-BUF fd it was \
      given by the shell.

      EXAMPLES:
        primectl place --device renderD129 --memory vram
        primectl place --udmabuf --hint usage=scanout
        primectl place --fd 3 --json 3<&0
        primectl place --buffer game --bus session    (primed --simulate hybrid-laptop)
      """)

  @Option(help: "Make the buffer on this device: node, number, stable id or driver.")
  var device: String?
  @Option(help: "Where to make it: vram or system (default: what the device can make).")
  var memory: String?
  @Flag(help: "Make a buffer of system memory that no device exported.")
  var udmabuf = false
  @Option(help: "Ask about the DMA-BUF of this fd; once a plane.")
  var fd: [Int32] = []
  @Option(help: "A buffer of the scenario that primed simulates; once a plane: b0, b0.1.")
  var buffer: [String] = []
  @Option(
    help: ArgumentHelp(
      "A hint of the interface, e.g. usage=scanout, primary-device=renderD128, fresh=true.",
      valueName: "key=value"))
  var hint: [String] = []
  @OptionGroup var options: BusOptions

  func validate() throws {
    let sources = [device != nil, udmabuf, !fd.isEmpty, !buffer.isEmpty].filter { $0 }.count
    guard sources == 1 else {
      throw ValidationError("say which buffer: one of --device, --udmabuf, --fd, --buffer")
    }
    guard memory == nil || (device != nil && ["vram", "system"].contains(memory)) else {
      throw ValidationError("--memory is vram or system, and goes with --device")
    }
  }

  func run() throws {
    let client = try options.connect()
    let made = try makeBuffers(client)
    var hints = try parseHints(client)
    hints[Names.Hint.explain] = .bool(true)
    let reply = try withExtendedLifetime(made) {
      try client.place(made.map { $0.fd.rawValue } + fd, hints)
    }
    if options.json {
      print(json(reply).text)
    } else {
      show(reply, try client.deviceInfos())
    }
  }

  // MARK: Buffers

  /// Keeps a buffer of this command alive until the answer is there.
  private final class Made {
    let fd: OwnedFD
    init(_ fd: consuming OwnedFD) { self.fd = fd }
  }

  private func makeBuffers(_ client: BrokerClient) throws -> [Made] {
    if udmabuf {
      do { return [Made(OwnedFD(try Errno.check(primed_udmabuf_create(4096))))] } catch {
        throw CleanExit.failure("no udmabuf: \(error); it needs /dev/udmabuf")
      }
    }
    if let device { return [Made(try allocate(on: try client.device(named: device)))] }
    return try buffer.map { word in
      let parts = word.split(separator: ".", maxSplits: 1)
      let plane = parts.count == 2 ? Int(parts[1]) : 0
      guard let plane, let id = parts.first else {
        throw ValidationError("--buffer \(word): give an id, or id.plane")
      }
      return Made(try makeBuffer(String(id), plane: plane))
    }
  }

  /// By the driver's own interface where it is known, else as a dumb buffer of the card node.
  private func allocate(on info: DeviceInfo) throws -> OwnedFD {
    var description = DeviceDescription(
      stableID: info.text("StableId"), sysfsPath: info.text("SysfsPath"), driver: info.text("Driver"))
    let ownInterface = canSacrifice(driver: description.driver)
    if ownInterface {
      description.render = Node(path: info.node, number: info.number)
    } else {
      guard memory == nil else {
        throw ValidationError("--memory: \(description.driver) has no interface known to primectl")
      }
      description.primary = Node(path: info.text("PrimaryNode"), number: info.number)
    }
    let wanted: Memory = !ownInterface ? .unknown : memory == "system" ? .system : .dedicated
    do {
      return try DeviceNode(opening: description).allocate(size: 1 << 20, in: wanted)
    } catch {
      throw CleanExit.failure("\(info.node): no buffer: \(error)")
    }
  }

  // MARK: Hints

  private func parseHints(_ client: BrokerClient) throws -> [String: BusValue] {
    var hints: [String: BusValue] = [:]
    for word in hint {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { throw ValidationError("--hint \(word): give key=value") }
      hints[parts[0]] = try value(of: parts[0], parts[1], client)
    }
    return hints
  }

  private func value(of key: String, _ word: String, _ client: BrokerClient) throws -> BusValue {
    switch key {
    case Names.Hint.samplingDevice, Names.Hint.targetDevice, Names.Hint.primaryDevice:
      return .number(try UInt64(word) ?? client.device(named: word).number.rawValue)
    case Names.Hint.usage: return .strings(word.split(separator: ",").map(String.init))
    case Names.Hint.format where word.utf8.count == 4 && UInt32(word) == nil:
      return .number(word.utf8.reversed().reduce(0) { $0 << 8 | UInt64($1) })
    case Names.Hint.format, Names.Hint.modifier, Names.Hint.client:
      let digits = word.hasPrefix("0x") ? UInt64(word.dropFirst(2), radix: 16) : UInt64(word)
      guard let digits else { throw ValidationError("--hint \(key): \(word) is no number") }
      return .number(digits)
    case Names.Hint.wake, Names.Hint.fresh, Names.Hint.explain:
      guard let flag = Bool(word) else { throw ValidationError("--hint \(key): true or false") }
      return .bool(flag)
    default: return .string(word)
    }
  }

  // MARK: Answers

  private func json(_ reply: PlaceReply) -> JSON {
    .object([
      ("device", JSON(reply.device.rawValue)), ("access", .string(reply.access.word)),
      ("confidence", .string(reply.confidence.word)), ("buffer", JSON(reply.buffer)),
      ("generation", JSON(reply.generation)), ("details", JSON(reply.details)),
    ])
  }

  private func show(_ reply: PlaceReply, _ devices: [DeviceInfo]) {
    let chosen = devices.first { $0.number == reply.device }
    print("\(chosen.map { "\($0.node) (\($0.name))" } ?? "no device"), \(reply.access.word)")
    if case .string(let reason) = reply.details["reason"] { print("  \(reason)") }
    var facts: [[String]] = [["confidence", reply.confidence.word]]
    for key in ["rule", "home-memory", "residency"] {
      if case .string(let word) = reply.details[key] { facts.append([key, word]) }
    }
    if case .strings(let list) = reply.details["evidence"] {
      for (i, line) in list.enumerated() { facts.append([i == 0 ? "evidence" : "", line]) }
    }
    if case .number(let ms) = reply.details["recheck"] {
      facts.append(["recheck", "not settled; ask again in \(ms) ms"])
    }
    if case .lines(let lines) = reply.details["devices"] {
      for (i, line) in lines.enumerated() {
        let node = devices.first { $0.number == line.device }?.node ?? "\(line.device.rawValue)"
        facts.append([i == 0 ? "devices" : "", "\(node): \(line.access.word), \(line.why)"])
      }
    }
    printTable(facts.map { ["  " + $0[0], $0[1]] })
  }
}
