import Placement
import Simulation
import Testing

@testable import Inspection

struct CaptureTests {
  /// A scenario's answers in the form of the log.
  private func answers(_ scenario: Scenario) -> [ToldAnswer] {
    let player = ScenarioPlayer(scenario)
    var told: [ToldAnswer] = []
    player.onAnswer = { one in
      var planes = Planes()
      planes.append(BufferIdentity(inode: UInt64(one.question.buffers[0]) + 1))
      var query = Query(planes: planes, hints: one.question.hints)
      // The client must not be in the capture.
      query.hints.clientPID = 4242
      told.append(
        ToldAnswer(
          RecentAnswer(query, one.answer, at: 0), age: 10_000 - UInt64(one.step),
          exporter: one.explanation.home ?? .none, home: one.explanation.homeMemory,
          residency: one.explanation.residency))
    }
    _ = player.play()
    return told
  }

  private func capture(_ name: String) throws -> (Capture, Int) {
    let scenario = try Scenario(named: name)
    let told = answers(scenario)
    return (
      Capture(
        Machine(simulating: scenario), noMove: .ignored,
        introspection: scenario.kernel.introspection, answers: told), told.count
    )
  }

  @Test(arguments: Scenario.builtInNames)
  func whatIsCapturedPlaysAndPasses(name: String) throws {
    let capture = try capture(name).0
    let text = capture.scenario.text
    let read = try Scenario(json: Array(text.utf8))
    #expect(read.text == text)
    #expect(ScenarioPlayer.play(read).isEmpty)
    #expect(!text.contains("4242"))
    for device in read.devices { #expect(device.id.hasPrefix(device.driver.prefix(3))) }
  }

  @Test func itHasTheQuestionsAndAnswers() throws {
    let (capture, count) = try capture("hybrid-laptop")
    let places = capture.scenario.steps.filter {
      if case .place = $0.action { true } else { false }
    }
    #expect(places.count == count)
    #expect(places.allSatisfy { $0.expect.device != nil && $0.expect.access != nil })
    #expect(capture.scenario.devices.map(\.id) == ["i915-0", "amdgpu-0"])
    #expect(capture.notes[0].hasPrefix("2 devices, 2 buffers"))
  }

  @Test func whatTheSimulationAnswersOtherwiseIsSaid() throws {
    let scenario = try Scenario(named: "hybrid-laptop")
    var told = answers(scenario)
    told[0].answer.access = .unreachable
    let capture = Capture(
      Machine(simulating: scenario), noMove: .ignored, introspection: false, answers: told)
    #expect(ScenarioPlayer.play(capture.scenario).isEmpty)
    #expect(capture.scenario.about?.contains("step 0: here") == true)
  }

  @Test func aBufferOfNobodyKnownIsLeftOut() throws {
    let scenario = try Scenario(named: "hybrid-laptop")
    var told = answers(scenario)
    for i in told.indices { told[i].exporter = .none }
    let capture = Capture(
      Machine(simulating: scenario), noMove: .ignored, introspection: false, answers: told)
    #expect(capture.scenario.buffers.isEmpty)
    #expect(capture.notes.contains { $0.contains("answers are left out") })
  }

  @Test func theReportHoldsAllAndRunsNothing() throws {
    let scenario = try Scenario(named: "hybrid-laptop")
    let page = ReportPage(
      Machine(simulating: scenario), findings: [Finding(.problem, "a <b>", mend: "mend & go")],
      primed: [("Version", "1")], log: ["primed: </pre><script>alert(1)</script>"],
      scenario: scenario.text)
    let html = page.html
    #expect(!html.contains("<script") && html.contains("default-src 'none'"))
    #expect(html.contains("a &lt;b&gt;") && html.contains("mend &amp; go"))
    #expect(html.contains("&lt;/pre&gt;&lt;script&gt;"))
    #expect(html.contains("&quot;hybrid laptop&quot;"))
    for word in ["matrix", "topology", "devices", "log", "scenario"] {
      #expect(html.contains("<section id=\"\(word)\">") && html.contains("href=\"#\(word)\""))
    }
  }

  @Test func barsAreAsLongAsTheirNumbers() {
    var story = Story()
    story.steps = [
      Story.Step("a", naive: 1 << 20, primed: 0), Story.Step("b", naive: 0, primed: 1 << 19),
    ]
    let bars = story.bars(Terminal(width: 84))
    #expect(bars[1].count { $0 == "#" } == 56)
    #expect(bars[2].count { $0 == "#" } == 28)
    #expect(bars[1].hasSuffix("1.0 MiB"))
    #expect(Story().bars(Terminal())[1].hasSuffix("nothing"))
    #expect(story.picture.text.contains("In all: naive 1.0 MiB, primed 512.0 KiB"))
  }
}
