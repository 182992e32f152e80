import Placement
import Simulation
import Testing

@testable import Inspection

struct PictureTests {
  @Test func whatOthersSayIsEscaped() {
    #expect(
      escaped("<a href='x'>&\"\u{1}\u{1b}[31m") == "&lt;a href=&#39;x&#39;&gt;&amp;&quot;[31m")
    var svg = SVG(width: 10, height: 10, title: "</title><script>")
    svg.write("</text>", 0, 0)
    svg.rectangle(0, 0, 1, 1, .sky, hover: "\"/><script>")
    #expect(!svg.text.contains("<script>"))
    #expect(!svg.text.contains("</text></text>"))
  }

  @Test func aHoverIsATitleOfItsShape() {
    var svg = SVG(width: 10, height: 10, title: "t")
    svg.rectangle(0, 0, 1, 1, .sky, hover: "why")
    #expect(svg.text.contains("<title>why</title></rect>"))
    svg.arrow(from: (0, 0), to: (9, 9), .green, hover: "link")
    #expect(svg.text.contains("<title>link</title></path>"))
  }

  private func machine(_ name: String) throws -> Machine {
    Machine(simulating: try Scenario(named: name))
  }

  @Test func everyPairIsInThePictureWithItsReason() throws {
    let machine = try machine("nvidia-1037-intel")
    let text = machine.matrixPicture.text
    for row in machine.matrix.rows {
      for cell in row.cells { #expect(text.contains(escaped(cell.why))) }
    }
    for outcome in ReachMatrix.Outcome.allCases { #expect(text.contains(outcome.colour.rawValue)) }
  }

  @Test func noTwoOutcomesLookAlike() {
    #expect(
      Set(ReachMatrix.Outcome.allCases.map(\.colour)).count == ReachMatrix.Outcome.allCases.count)
    #expect(
      Set(ReachMatrix.Outcome.allCases.map(\.word)).count == ReachMatrix.Outcome.allCases.count)
  }

  @Test func topologyShowsWhereBuffersLieAndWhoIsGone() throws {
    let text = try machine("egpu-pulled").topologyPicture.text
    for word in ["game \u{2192} renderD128", ">gone<", "16.0 GiB", "eDP-1"] {
      #expect(text.contains(word), "\(word)")
    }
  }

  private func buffer(
    _ name: String, of exporter: DeviceSlot?, in memory: Memory, on user: DeviceSlot?,
    _ access: Access
  ) -> RecentBuffer {
    RecentBuffer(
      name: name, exporter: exporter, exporterIsUnknown: exporter == nil, memory: memory,
      user: user, access: access, why: "")
  }

  @Test func aBufferOfNobodyHereIsNotInSystemMemory() throws {
    var machine = try machine("hybrid-laptop")
    machine.recent = [buffer("lost", of: nil, in: .dedicated, on: nil, .unknown)]
    let text = machine.topologyPicture.text
    #expect(text.contains("Exporter gone or unknown") && text.contains("lost"))
    machine.recent = [buffer("shared", of: nil, in: .system, on: nil, .inPlace)]
    #expect(!machine.topologyPicture.text.contains("Exporter gone or unknown"))
  }

  @Test func ofItsOwnMemoryADeviceIsNoOther() throws {
    var machine = try machine("hybrid-laptop")
    let dgpu = machine.shown.first { machine.table.memories(of: $0).contains(.dedicated) }!
    machine.recent = [buffer("game", of: dgpu, in: .dedicated, on: dgpu, .inPlace)]
    let own = machine.topologyPicture.text
    machine.recent = [buffer("game", of: dgpu, in: .dedicated, on: dgpu, .native)]
    #expect(own.replacing("in-place", with: "native") == machine.topologyPicture.text)
  }

  @Test func whatIsDrawnIsInTheLegend() throws {
    let text = try machine("hybrid-laptop").topologyPicture.text
    for words in ["system memory, used where it lies", "a device that sleeps or is gone"] {
      #expect(text.contains(words))
    }
    #expect(!text.contains("left out"))
    #expect(try machine("eight-gpu-workstation").topologyPicture.text.contains("left out"))
  }

  @Test func onlyWhoUsesSystemMemoryHasALinkToIt() throws {
    var alone = DeviceEntry(DeviceDescription(stableID: "x", sysfsPath: "/x", driver: "evdi"))
    alone.description.primary = Node(path: "/dev/dri/card0", number: DeviceNumber(1))
    (alone.description.imports, alone.description.exports) = (false, false)
    let machine = Machine(title: "", [alone], kernel: KernelVersion(6, 12))
    #expect(!machine.topologyPicture.text.contains("uses buffers in system memory"))
    #expect(
      try self.machine("hybrid-laptop").topologyPicture.text.contains(
        "uses buffers in system memory"))
  }

  @Test func theTreeOfTheTopologyHasLinksAndBuffers() throws {
    var machine = try machine("hybrid-laptop")
    let tree = machine.tree(Terminal(), links: true).joined(separator: "\n")
    #expect(tree.contains("reaches") && tree.contains("buffers"))
    #expect(tree != machine.tree(Terminal()).joined(separator: "\n"))
    machine.recent = [buffer("lost", of: nil, in: .dedicated, on: machine.shown[0], .mayMove)]
    let last = machine.tree(Terminal(), links: true).suffix(2).joined(separator: "\n")
    #expect(last.contains("of no device here") && last.contains("lost in dedicated memory"))
  }

  @Test func theMatrixMarksWhoCannotBeUsed() throws {
    let gone = try machine("egpu-pulled")
    for width in [60, 200] {
      #expect(gone.matrixText(Terminal(width: width)).contains { $0.contains("(gone)") })
    }
    #expect(gone.matrixPicture.text.contains("gone"))
  }

  @Test func numbersInNamesAreNumbers() {
    let names = ["renderD10", "renderD9", "card2", "vf10", "vf2", "vf02", "vf"]
    #expect(
      names.sorted(by: isBefore)
        == ["card2", "renderD9", "renderD10", "vf", "vf2", "vf02", "vf10"])
  }

  @Test func theNearestWordIsGuessed() {
    let words = ["devices", "device", "doctor", "demo", "topology", "capture"]
    #expect(nearest(to: "topologie", among: words) == "topology")
    #expect(nearest(to: "capt", among: words) == "capture")
    #expect(nearest(to: "doktor", among: words) == "doctor")
    #expect(nearest(to: "frobnicate", among: words) == nil)
    #expect(nearest(to: "d", among: words) == nil)
    #expect(counted(1, "call") == "1 call" && counted(0, "call") == "0 calls")
  }

  @Test func everySourceOfEvidenceHasALine() {
    let sources = SourceLines(
      ["exporter, by its name in fdinfo: amdgpu or i915", "reached at every look: i915", "other"],
      inUse: ["declared", "driver-record", "safe-import", "passive"],
      missing: [("introspection", "no loader"), ("no-move-import", "the kernel ignores the flag")],
      declared: nil, notAsked: ["renderD129: not asked: it sleeps"])
    #expect(
      sources.lines.map(\.source) == [
        "declared", "driver-record", "introspection", "no-move-import", "safe-import", "passive",
      ])
    #expect(sources.lines.map(\.isSilent) == [true, true, true, true, false, false])
    #expect(sources.lines[2].said == "not in use: no loader")
    #expect(sources.lines[4].said == "reached at every look: i915")
    #expect(sources.rest == ["other"])
    let none = SourceLines(
      [], inUse: ["safe-import"], missing: [], declared: "it will be sampled on card1",
      notAsked: ["renderD129: not asked: it sleeps"])
    #expect(
      none.lines[0]
        == SourceLine(
          source: "declared", said: "it will be sampled on card1", isSilent: false))
    #expect(none.lines[4].said == "renderD129: not asked: it sleeps")
  }

  @Test func aNarrowTerminalGetsLetters() throws {
    let machine = try machine("eight-gpu-workstation")
    let narrow = machine.matrixText(Terminal(width: 80))
    #expect(narrow.allSatisfy { $0.count <= 80 })
    #expect(narrow.contains { $0.hasPrefix("OF") })
    #expect(machine.matrixText(Terminal(width: 200)).contains { $0.contains("BUFFERS OF") })
    // Colour codes take no columns.
    #expect(
      machine.matrixText(Terminal(colour: true, width: 200)).contains { $0.contains("BUFFERS OF") })
  }
}
