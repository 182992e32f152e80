// The buffer of a question: one that is made for it, one whose fd the shell passed on, or a
// simulated one.

import ArgumentParser
import Bus
import CShims
import DRM
import Glibc
import Linux
import Placement
import Simulation

struct BufferOptions: ParsableArguments {
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
  @OptionGroup var hints: HintOptions

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
    // Only checks the words: primed knows the devices.
    _ = try hints.values(for: .place) { _ in .none }
  }

  /// The explained answer, the hints that were given, and the buffer's size in bytes.
  func ask(
    _ client: BrokerClient
  ) throws -> (reply: PlaceReply, hints: [String: BusValue], size: UInt64) {
    try withBuffer(client) { fds, hints in
      var hints = hints
      hints["\(Hint.explain.name)"] = .bool(true)
      let reply = try client.place(fds, hints)
      // A DMA-BUF's size is the end that lseek finds (dma_buf_llseek).
      let sizes = Set(fds).map { lseek($0, 0, Int32(SEEK_END)) }.filter { $0 > 0 }
      return (reply, hints, sizes.reduce(0) { $0 + UInt64($1) })
    }
  }

  /// Calls `body` with the planes' fds, which stay open during the call, and the hints.
  func withBuffer<Result>(
    _ client: BrokerClient, _ body: ([Int32], [String: BusValue]) throws -> Result
  ) throws -> Result {
    let made = try makeBuffers(client)
    let values = try hints.values(for: .place) { try client.device(named: $0).number }
    return try withExtendedLifetime(made) {
      do { return try body(made.map { $0.fd.rawValue } + fd, values) } catch let error as CallError
        where !buffer.isEmpty && error.name == BusError.notDmaBuf(plane: 0).name
      {
        throw CleanExit.failure(
          "primed simulates no machine with a buffer \(buffer.joined(separator: ", "));"
            + " `primectl scenario show` prints those of a built-in one")
      }
    }
  }

  /// Keeps a buffer that this command made alive until the answer has come.
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

  /// By the driver's own ioctl if it is known, else as a dumb buffer of the card node.
  private func allocate(on info: DeviceInfo) throws -> OwnedFD {
    var description = DeviceDescription(
      stableID: info.text(.stableID), sysfsPath: info.text(.sysfsPath),
      driver: info.text(.driver))
    let ownInterface = description.row.info.ownIoctls
    if ownInterface {
      description.render = Node(path: info.node, number: info.number)
    } else {
      guard memory == nil else {
        throw CleanExit.failure(
          "--memory: primectl can't choose it on \(description.driver); leave it out")
      }
      description.primary = Node(path: info.text(.primaryNode), number: info.number)
    }
    let wanted: Memory = !ownInterface ? .unknown : memory == "system" ? .system : .dedicated
    do {
      return try DeviceNode(opening: description).allocate(size: 1 << 20, in: wanted)
    } catch {
      let simulated = info.text(.bus) == "simulated"
      throw CleanExit.failure(
        "can't make a buffer on \(info.node): \(error)"
          + (simulated ? "; it is simulated: name a buffer of its scenario with --buffer" : ""))
    }
  }
}
