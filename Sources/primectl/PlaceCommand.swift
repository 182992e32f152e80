// primectl place: asks where a buffer belongs, as a compositor would.

import ArgumentParser
import Bus
import CShims
import DRM
import Glibc
import Linux
import Placement
import Simulation

struct PlaceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "place", abstract: "Ask which device should use a buffer.",
    discussion: """
      The buffer is one that this command makes and drops again, or one whose DMA-BUF fd it was \
      given by the shell.

      Examples:
        primectl place --device renderD129 --memory vram
        primectl place --udmabuf --hint usage=scanout
        primectl place --fd 3 --json 3<&0
        primed --bus session --simulate hybrid-laptop &
        primectl place --buffer game --bus session
      """)

  @Option(
    help: "Make the buffer on this device: node, number, stable id or driver.",
    completion: devicesCompletion)
  var device: String?
  @Option(
    help: "Where to make it: vram or system (default: what the device can make).",
    completion: .list(["vram", "system"]))
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
      valueName: "key=value"), completion: .list(hintKeys.map { $0 + "=" }))
  var hint: [String] = []
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  private static let hintKeys = [
    Names.Hint.samplingDevice, Names.Hint.targetDevice, Names.Hint.primaryDevice, Names.Hint.usage,
    Names.Hint.format, Names.Hint.modifier, Names.Hint.client, Names.Hint.wake, Names.Hint.fresh,
    Names.Hint.explain,
  ]

  private static let usages = ["sample", "scanout", "capture"]

  func validate() throws {
    let sources = [device != nil, udmabuf, !fd.isEmpty, !buffer.isEmpty].filter { $0 }.count
    guard sources == 1 else {
      throw ValidationError("say which buffer: one of --device, --udmabuf, --fd, --buffer")
    }
    guard memory == nil || (device != nil && ["vram", "system"].contains(memory)) else {
      throw ValidationError("--memory is vram or system, and goes with --device")
    }
    if let fd = fd.first(where: { fcntl($0, F_GETFD) < 0 }) {
      throw ValidationError(
        "--fd \(fd) is not open; have the shell open it: primectl place --fd 3 3<&0")
    }
    for word in buffer { _ = try planeOfBuffer(word) }
    // Which devices there are, only primed knows.
    _ = try parseHints { _ in .none }
  }

  func run() throws {
    let client = try options.connect()
    let made = try makeBuffers(client)
    var hints = try parseHints { try client.device(named: $0).number }
    hints[Names.Hint.explain] = .bool(true)
    let reply = try withExtendedLifetime(made) {
      do { return try client.place(made.map { $0.fd.rawValue } + fd, hints) } catch let error
        as CallError
        where !buffer.isEmpty && error.name == BusError.notDmaBuf(plane: 0).name
      {
        throw CleanExit.failure(
          "primed simulates no machine with a buffer \(buffer.joined(separator: ", "));"
            + " `primectl scenario show` prints those of a built-in one")
      }
    }
    if output.json {
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
        throw CleanExit.failure(
          "no udmabuf: \(error); it takes /dev/udmabuf (modprobe udmabuf) and the right to open it")
      }
    }
    if let device { return [Made(try allocate(on: try client.device(named: device)))] }
    return try buffer.map { word in
      let (id, plane) = try planeOfBuffer(word)
      return Made(try makeBuffer(id, plane: plane))
    }
  }

  /// `id`, or `id.plane`.
  private func planeOfBuffer(_ word: String) throws -> (id: String, plane: Int) {
    let parts = word.split(separator: ".", maxSplits: 1)
    guard let id = parts.first, let plane = parts.count == 2 ? Int(parts[1]) : 0 else {
      throw ValidationError("--buffer \(word): give an id, or id.plane")
    }
    return (String(id), plane)
  }

  /// By the driver's own interface where it is known, else as a dumb buffer of the card node.
  private func allocate(on info: DeviceInfo) throws -> OwnedFD {
    var description = DeviceDescription(
      stableID: info.text("StableId"), sysfsPath: info.text("SysfsPath"),
      driver: info.text("Driver"))
    let ownInterface = canSacrifice(driver: description.driver)
    if ownInterface {
      description.render = Node(path: info.node, number: info.number)
    } else {
      guard memory == nil else {
        throw CleanExit.failure(
          "--memory: primectl can't choose it on \(description.driver); leave it out")
      }
      description.primary = Node(path: info.text("PrimaryNode"), number: info.number)
    }
    let wanted: Memory = !ownInterface ? .unknown : memory == "system" ? .system : .dedicated
    do {
      return try DeviceNode(opening: description).allocate(size: 1 << 20, in: wanted)
    } catch {
      let simulated = info.text("Bus") == "simulated"
      throw CleanExit.failure(
        "can't make a buffer on \(info.node): \(error)"
          + (simulated ? "; it is simulated: name a buffer of its scenario with --buffer" : ""))
    }
  }

  // MARK: Hints

  /// `number` tells the number of the device that a word names.
  private func parseHints(
    _ number: (String) throws -> DeviceNumber
  ) throws -> [String: BusValue] {
    var hints: [String: BusValue] = [:]
    for word in hint {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { throw ValidationError("--hint \(word): give key=value") }
      hints[parts[0]] = try value(of: parts[0], parts[1], number)
    }
    return hints
  }

  private func value(
    of key: String, _ word: String, _ number: (String) throws -> DeviceNumber
  ) throws -> BusValue {
    switch key {
    case Names.Hint.samplingDevice, Names.Hint.targetDevice, Names.Hint.primaryDevice:
      return .number(try UInt64(word) ?? number(word).rawValue)
    case Names.Hint.usage:
      let (words, known) = (word.split(separator: ",").map(String.init), Self.usages)
      guard let wrong = words.first(where: { !known.contains($0) }) else { return .strings(words) }
      throw ValidationError("--hint usage: \(wrong) is none of \(known.joined(separator: ", "))")
    case Names.Hint.format where word.utf8.count == 4 && UInt32(word) == nil:
      return .number(word.utf8.reversed().reduce(0) { $0 << 8 | UInt64($1) })
    case Names.Hint.format, Names.Hint.modifier, Names.Hint.client:
      let digits = word.hasPrefix("0x") ? UInt64(word.dropFirst(2), radix: 16) : UInt64(word)
      guard let digits else {
        let choices = key == Names.Hint.format ? "a number or a fourcc, as XR24" : "a number"
        throw ValidationError("--hint \(key): \(word) is not \(choices)")
      }
      return .number(digits)
    case Names.Hint.wake, Names.Hint.fresh, Names.Hint.explain:
      guard let flag = Bool(word) else { throw ValidationError("--hint \(key): true or false") }
      return .bool(flag)
    default:
      throw ValidationError(
        "--hint \(key): no such hint; one of \(Self.hintKeys.joined(separator: ", "))")
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
    if case .number(let count) = reply.details["attachments"] {
      facts.append(["attachments", "\(count) when last looked at"])
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
