import Placement
import Simulation
import Testing

@testable import Inspection

struct DiagnosisTests {
  private func well() -> SystemFacts {
    var facts = SystemFacts()
    (facts.daemonVersion, facts.ownVersion, facts.release) = ("1", "1", "6.12.57")
    (facts.userExists, facts.hasBusPolicy, facts.hasPolkitAction) = (true, true, true)
    facts.evidence = ["declared", "introspection"]
    return facts
  }

  private func worst(_ machine: Machine? = nil, _ change: (inout SystemFacts) -> Void) -> Finding {
    var facts = well()
    change(&facts)
    return Diagnosis.findings(facts, machine)[0]
  }

  @Test func nothingIsWrongWhereAllIsWell() {
    #expect(Diagnosis.findings(well(), nil).allSatisfy { $0.level == .ok })
  }

  @Test func eachFaultHasItsMend() {
    let faults: [(Finding.Level, String, (inout SystemFacts) -> Void)] = [
      (.problem, "systemctl start primed", { $0.silence = "start it: systemctl start primed" }),
      (.warning, "restart primed", { $0.daemonVersion = "0" }),
      (.problem, "systemd-udevd", { $0.udevRuns = false }),
      (.problem, "dbus", { $0.hasBusPolicy = false }),
      (.problem, "sysusers", { $0.userExists = false }),
      (.note, "polkit", { $0.hasPolkitAction = false }),
      (.problem, "udev rule", { $0.forbidden = [("/dev/dri/card0", "root")] }),
      (.warning, "6.1", { $0.release = "5.10.0" }),
      (.warning, "lockdown", { ($0.evidence, $0.lockdown) = ([], "confidentiality") }),
      (.warning, "BTF", { ($0.evidence, $0.typeDataFault) = ([], "no type data") }),
      (.warning, "primed-introspect.socket", { ($0.evidence, $0.hasLoaderSocket) = ([], false) }),
      (.warning, "journalctl", { $0.evidence = [] }),
      (.warning, "report", { $0.layoutsMissing = ["amdgpu: no field"] }),
      (.warning, "reload primed", { $0.pairErrors = ["/etc/primed/pairs:1: what"] }),
      (.note, "journalctl", { $0.refusedCalls = 3 }),
    ]
    for (level, mend, change) in faults {
      let found = worst(nil, change)
      #expect(found.level == level, "\(found)")
      #expect(found.mend.contains(mend), "\(found)")
    }
  }

  @Test func theJournalIsOfTheSystemBusAlone() {
    for (bus, calls, what, mend) in [
      ("system", 1, "1 call was refused", "journalctl"),
      ("session", 2, "2 calls were refused", "its log"),
    ] {
      let found = worst { ($0.bus, $0.refusedCalls) = (bus, UInt64(calls)) }
      #expect(found.what.hasPrefix(what) && found.mend.hasPrefix(mend), "\(found)")
    }
  }

  @Test func missingSourcesAreSaidWithTheReason() {
    var facts = well()
    #expect(Diagnosis.missing(facts).map(\.source) == ["no-move-import"])
    (facts.evidence, facts.noMove, facts.isSimulated) = ([], .ignored, true)
    #expect(
      Diagnosis.missing(facts).map(\.why) == [
        "the scenario has none", "the kernel ignores the flag",
      ])
  }

  @Test func devices() throws {
    let machine = Machine(simulating: try Scenario(named: "hybrid-laptop"))
    #expect(worst(machine) { $0.nodes = ["/dev/dri/card7"] }.what.contains("/dev/dri/card7"))
    #expect(worst(machine) { $0.nodes = ["/dev/dri/card0", "/dev/dri/renderD129"] }.level == .ok)

    var entry = DeviceEntry(DeviceDescription(stableID: "x", sysfsPath: "/x", driver: "new-driver"))
    entry.description.render = Node(path: "/dev/dri/renderD128", number: DeviceNumber(1))
    entry.state = .unresponsive
    let other = Machine(title: "", [entry], kernel: KernelVersion(6, 12))
    let found = Diagnosis.findings(well(), other)
    #expect(found[0].level == .problem && found[0].what.contains("does not answer"))
    #expect(found.contains { $0.level == .warning && $0.what.contains("new-driver") })
  }

  @Test func twoThatSignWithOneName() throws {
    let two = Machine(simulating: try Scenario(named: "smithay-1330-two-amd"))
    #expect(worst(two) { ($0.evidence, $0.hasLoaderSocket) = (["passive"], nil) }.level == .warning)
    var without = well()
    without.evidence = []
    #expect(
      Diagnosis.findings(without, two).contains { $0.what.contains("sign with one name (drm)") })
    #expect(Diagnosis.findings(well(), two).allSatisfy { !$0.what.contains("one name") })
  }
}
