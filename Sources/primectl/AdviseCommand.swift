// primectl advise: where to allocate a buffer that several devices will use.

import ArgumentParser
import Bus
internal import JSON
import Placement
import Simulation

struct AdviseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "advise",
    abstract: "Ask where to allocate what these devices will use, so that nobody moves it.",
    discussion: """
      Prints the places, the best first: the device to allocate on, the memory, and how each of the \
      users would get at the buffer there. Where there is none, the buffer has to be copied.

      Examples:
        primectl advise renderD129:capture renderD128:sample,scanout
        primectl advise --hint format=XR24 amdgpu i915:sample --json
      """)

  @Argument(
    help: ArgumentHelp(
      "Who will use the buffer, the most important first, and what for: sample, scanout, capture.",
      valueName: "device[:usage,...]"), completion: devicesCompletion)
  var users: [String]
  @OptionGroup var hints: HintOptions
  @OptionGroup var options: BusOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard users.count <= AdviceUser.limit else {
      throw ValidationError("more than \(AdviceUser.limit) users; name those that matter most")
    }
    for word in users { _ = try parse(word) }
    // Only checks the words: primed knows the devices.
    _ = try hints.values(for: .advise) { _ in .none }
  }

  func run() throws {
    let client = try options.connect()
    let users = try self.users.map { word in
      let (device, usage) = try parse(word)
      return (info: try client.device(named: device), usage: usage)
    }
    var values = try hints.values(for: .advise) { try client.device(named: $0).number }
    values["\(Hint.explain.name)"] = .bool(true)
    let reply = try client.advise(users.map { AdviceUser($0.info.number, $0.usage) }, values)
    if output.json {
      print(json(reply).text)
    } else {
      show(reply, users.map(\.info), try client.deviceInfos())
    }
  }

  /// A stable ID contains colons: the part after the last colon is a usage only if it is a usage's
  /// word.
  private func parse(_ word: String) throws -> (device: String, usage: Usage) {
    guard let colon = word.lastIndex(of: ":") else { return (word, []) }
    let words = word[word.index(after: colon)...].split(separator: ",").map(String.init)
    guard let first = words.first, first.allSatisfy(\.isLetter) else { return (word, []) }
    var usage: Usage = []
    for one in words {
      guard let known = Usage(word: one) else {
        throw ValidationError("\(word): \(one) is none of \(Usage.allWords)")
      }
      usage.insert(known)
    }
    return (String(word[..<colon]), usage)
  }

  private func json(_ reply: AdviceReply) -> JSON {
    let places = reply.places.map { place in
      JSON.object([
        ("device", JSON(place.device.rawValue)), ("memory", .string(place.memory)),
        ("accesses", .array(place.accesses.map { .string($0.word) })),
      ])
    }
    return .object([
      ("places", .array(places)), ("generation", JSON(reply.generation)),
      ("details", JSON(reply.details)),
    ])
  }

  private func show(_ reply: AdviceReply, _ users: [DeviceInfo], _ devices: [DeviceInfo]) {
    if reply.places.isEmpty {
      print("There is no place that all of them can use as it lies: copy.")
    } else {
      let rows = reply.places.map { place in
        let device = devices.first { $0.number == place.device }
        return [device?.node ?? place.device.words, place.memory] + place.accesses.map(\.word)
      }
      printTable([["ALLOCATE ON", "MEMORY"] + users.map(\.node)] + rows, hasHead: true)
    }
    if case .strings(let lines) = reply.details["\(Names.Detail.evidence)"] {
      for line in lines { print("  \(line)") }
    }
  }
}
