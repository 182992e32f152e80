// The machine that is drawn: the one that primed runs on, or a scenario's.

import ArgumentParser
import Bus
import Inspection
import JSON
import Linux
import Placement
import Simulation

struct MachineOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Instead of asking primed: a scenario, its steps played.", valueName: "file|name"),
    completion: .custom { _, _, _ in Scenario.builtInNames })
  var simulate: String?
  @OptionGroup var bus: BusOptions

  func machine() throws -> Machine {
    guard let simulate else { return try Machine(asking: bus.connect()) }
    return Machine(simulating: try scenario(simulate))
  }
}

/// Writes a picture of a machine to a file, or JSON, or text.
struct DrawingOptions: ParsableArguments {
  @Option(
    help: "Draw it into this file; - for standard output.", completion: .file(extensions: ["svg"]))
  var svg: String?
  @OptionGroup var recent: RecentOptions
  @OptionGroup var options: MachineOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    try recent.validate(with: options)
    if svg == "-" && output.json { throw ValidationError("--svg - or --json, not both") }
  }

  func show(
    _ picture: (Machine) -> SVG, _ json: (Machine) -> JSON, _ text: (Machine) -> [String]
  ) throws {
    let machine = try recent.machine(options)
    if let svg { try writePicture(picture(machine).text, to: svg) }
    if output.json {
      print(json(machine).text)
    } else if svg == nil {
      printLines(text(machine))
    }
  }
}

/// Whether primed's recent answers are shown with the machine.
struct RecentOptions: ParsableArguments {
  @Flag(help: "With the buffers that were asked about lately.")
  var recent = false
  @OptionGroup var log: LogOptions

  func validate(with options: MachineOptions) throws {
    if recent && options.simulate != nil {
      throw ValidationError("--recent or --simulate, not both")
    }
  }

  func machine(_ options: MachineOptions) throws -> Machine {
    var machine = try options.machine()
    if recent { machine.show(try log.told(of: options.bus.connect())) }
    return machine
  }
}

/// By the name of a built-in scenario, or the path of a file.
func scenario(_ name: String) throws -> Scenario {
  do { return try Scenario(named: name) } catch {
    // Of a file that is there the error names a place in it.
    let text = "\(error)"
    throw CleanExit.failure(text.hasPrefix(name + ":") ? text : "\(name): \(text)")
  }
}

extension Machine {
  /// From primed's devices and its pair table.
  init(asking client: BrokerClient) throws {
    let infos = try client.deviceInfos()
    // The version of a simulated kernel is not on the bus; most scenarios use the newest.
    let isSimulated = infos.contains { $0.isSimulated }
    let kernel = isSimulated ? newestKernel : KernelVersion(kernelRelease())
    var rows: [String: [PairRow]] = [:]
    if case .rows(let all)? = try client.brokerProperties()["\(Names.Property.pairs.rawValue)"] {
      for words in all where words.count == 8 {
        guard let row = PairRow(words: Array(words.prefix(6)), source: words[7]) else { continue }
        rows[words[6], default: []].append(row)
      }
    }
    self.init(
      title: isSimulated ? "a simulated machine" : "this machine, Linux \(kernelRelease())",
      infos.map { DeviceEntry($0) }, own: rows[PairOrigin.own.rawValue] ?? [],
      measured: rows[PairOrigin.measured.rawValue] ?? [], kernel: kernel)
    try askWhatIsScannedOut(client)
  }

  /// primed knows more than its properties show, for example whether a GPU is integrated, so it is
  /// asked.
  private mutating func askWhatIsScannedOut(_ client: BrokerClient) throws {
    for importer in matrix.devices {
      let user = AdviceUser(table.number(of: importer), .scanout)
      let places = try client.advise([user], [:]).places
      for row in matrix.rows {
        let isShown = places.contains {
          $0.device == table.number(of: row.exporter) && $0.memory == row.memory.word
        }
        // Advise returns no place on a released or ignored device.
        guard table.ready.contains(row.exporter) else { continue }
        matrix.set(scanout: isShown, by: importer, of: row.exporter, in: row.memory)
      }
    }
  }
}

extension DeviceEntry {
  init(_ info: DeviceInfo) {
    var device = DeviceDescription(
      stableID: info.text(.stableID), sysfsPath: info.text(.sysfsPath), driver: info.text(.driver))
    func node(_ path: Names.DeviceProperty, _ number: Names.DeviceProperty) -> Node? {
      let path = info.text(path)
      return path.isEmpty ? nil : Node(path: path, number: DeviceNumber(info.number(number)))
    }
    device.render = node(.renderNode, .renderDevice)
    device.primary = node(.primaryNode, .primaryDevice)
    device.driverVersion = info.text(.driverVersion)
    (device.vendor, device.model, device.bus) = (
      info.text(.vendor), info.text(.model), info.text(.bus)
    )
    device.bootVGA = info.flag(.bootVGA)
    // primed has already chosen the primary device.
    device.preferredPrimary = info.flag(.primary)
    device.dedicatedMemory = info.number(.dedicatedMemory)
    device.dedicatedMemoryIsEstimate = info.flag(.dedicatedMemoryEstimated)
    device.role = Role.allCases.first { $0.word == info.text(.role) } ?? .render
    device.connectors = info.list(.connectors)
    device.connected = info.list(.connectedConnectors)
    device.power = Power.allCases.first { $0.word == info.text(.power) } ?? .unknown
    device.imports = info.flag(.importing)
    device.exports = info.flag(.exporting)
    self.init(device)
    state = DeviceState.allCases.first { $0.word == info.text(.state) } ?? .ready
    noMove = NoMove.allCases.first { $0.word == info.text(.noMove) } ?? .unknown
  }
}

extension DeviceInfo {
  var isSimulated: Bool { text(.bus) == "simulated" }
}
