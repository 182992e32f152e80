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
