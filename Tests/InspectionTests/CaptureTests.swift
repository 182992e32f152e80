import Placement
import Simulation
import Testing

@testable import Inspection

struct CaptureTests {
  /// The machine at the end of a scenario, as primectl sees it on the bus, and its log.
  private func played(_ scenario: Scenario) -> (Machine, [Told]) {
    let player = ScenarioPlayer(scenario)
    _ = player.play()
    let machine = Machine(
      title: scenario.name, player.kernel.enumerate().map { DeviceEntry($0) },
      kernel: scenario.kernel.version)
    // The log is text, so what does not survive it is not in the capture.
    return (machine, player.told.compactMap { Told(line: $0.line) })
  }

  private func capture(_ scenario: Scenario, _ change: (inout [Told]) -> Void = { _ in }) -> Capture
  {
    var (machine, told) = played(scenario)
    change(&told)
    return Capture(
      machine, noMove: scenario.kernel.noMove == .ignored ? .ignored : .honoured,
      introspection: scenario.kernel.introspection, told: told)
  }

  private func places(_ scenario: Scenario) -> [Step] {
    scenario.steps.filter { if case .place = $0.action { true } else { false } }
  }

  @Test(arguments: Scenario.builtInNames)
  func whatIsCapturedPlaysAndPasses(name: String) throws {
    let capture = capture(try Scenario(named: name))
    let text = capture.scenario.text
    let read = try Scenario(json: Array(text.utf8))
    #expect(read.text == text)
    #expect(ScenarioPlayer.play(read) == [])
    #expect(!text.contains("4242"))
    for device in read.devices { #expect(device.id.hasPrefix(device.driver.prefix(3))) }
  }

  /// No answer is left out; where the simulation answers otherwise, it is one of these scenarios,
  /// for this reason.
  private static let otherwise = [
    "amd-beside-nvidia": "two may have exported it, and the other one did",
    "daenzer-evicted-at-first-sight": "two may have exported it, and the other one did",
    "daenzer-ping-pong": "two may have exported it, and the other one did",
    "gamescope-2070-rk3588": "two may have exported it, and the other one did",
    "linear-of-nvidia": "two may have exported it, and the other one did",
    "smithay-1844-pinephone": "two may have exported it, and the other one did",
    "two-virtio": "two may have exported it, and the other one did",
    "planes-of-two-exporters": "of planes after the first the exporter is not kept",
    "planes-out-of-reach": "of planes after the first the exporter is not kept",
    "hung-driver": "a hang is no step",
    "hyprland-16092-refused-import": "this machine refuses an import that the table permits",
  ]

  @Test(arguments: Scenario.builtInNames)
  func nothingIsLeftOutAndNothingDiffers(name: String) throws {
    let scenario = try Scenario(named: name)
    let answers = played(scenario).1.compactMap(\.answer)
    let capture = capture(scenario)
    #expect(places(capture.scenario).count == answers.count)
    if Self.otherwise[name] == nil {
      #expect(capture.differences == [])
      #expect(places(capture.scenario).allSatisfy { $0.expect.device != nil })
    } else {
      #expect(!capture.differences.isEmpty)
    }
  }

  @Test func itHasTheQuestionsAndAnswers() throws {
    let capture = capture(try Scenario(named: "hybrid-laptop"))
    #expect(places(capture.scenario).allSatisfy { $0.expect.access != nil })
    #expect(capture.scenario.devices.map(\.id) == ["i915-0", "amdgpu-0"])
    #expect(capture.notes[0].hasPrefix("2 devices, 2 buffers"))
  }

  @Test func whatTheSimulationAnswersOtherwiseIsSaid() throws {
    let capture = capture(try Scenario(named: "hybrid-laptop")) { told in
      guard case .answer(var first) = told[0] else { return }
      first.answer.access = .unreachable
      told[0] = .answer(first)
    }
    #expect(ScenarioPlayer.play(capture.scenario).isEmpty)
    #expect(capture.scenario.about?.contains("step 0: here") == true)
  }

  @Test func aDeviceThatWasPulledIsInIt() throws {
    let capture = capture(try Scenario(named: "egpu-pulled"))
    #expect(capture.scenario.devices.count == 2 && capture.scenario.buffers.count == 2)
    #expect(capture.scenario.devices.allSatisfy { $0.present })
    #expect(actions(capture).contains("unplug"))
    #expect(capture.scenario.buffers.contains { $0.exporter == 1 && $0.home == .dedicated })
  }

  @Test(arguments: [
    ("cosmic-913-release", "release"), ("after-a-replug", "plug"), ("asleep", "suspend"),
  ])
  func whatHappenedToDevicesIsAStep(name: String, word: String) throws {
    if name == "asleep" {
      var scenario = try Scenario(named: "hybrid-laptop")
      scenario.steps.insert(Step(.device(.suspend, 1)), at: 1)
      #expect(actions(capture(scenario)).contains(word))
    } else {
      let scenario = try Scenario(named: name)
      #expect(actions(capture(scenario)).contains(word))
    }
  }

  private func actions(_ capture: Capture) -> [String] {
    capture.scenario.steps.map { step in
      switch step.action {
      case .device(let event, _): event.rawValue
      case .release: "release"
      case .unrelease: "unrelease"
      case .place: "place"
      default: ""
      }
    }
  }

  @Test func memoryOfNoDeviceStaysThat() throws {
    let capture = capture(try Scenario(named: "udmabuf-client"))
    #expect(capture.scenario.buffers.contains { $0.exporter == nil })
    #expect(capture.notes.allSatisfy { !$0.contains("did not know") })
  }

  @Test func anUnknownExporterIsOneThatMayBe() throws {
    let capture = capture(try Scenario(named: "smithay-1330-unknowable"))
    #expect(capture.scenario.buffers.allSatisfy { $0.exporter != nil })
    #expect(capture.scenario.about?.contains("primed did not know who exported b0") == true)
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
    #expect(html.contains("<th>exporter</th>") && html.contains("<td>native</td>"))
    for word in ["matrix", "topology", "devices", "answers", "log", "scenario"] {
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
