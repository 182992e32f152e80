// What is wrong with this machine or its installation, and how to repair it, from facts that others
// gathered. Pure.

package import Placement

package struct Finding: Sendable, Equatable {
  package enum Level: Int, Sendable, Comparable {
    case ok, note
    /// primed works, but less well than it could.
    case warning
    /// primed does not work, or not for all devices.
    case problem
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    package var word: String {
      switch self {
      case .ok: "ok"
      case .note: "note"
      case .warning: "warning"
      case .problem: "problem"
      }
    }
  }
  package var level: Level
  package var what: String
  /// What to do; "": nothing.
  package var mend: String

  package init(_ level: Level, _ what: String, mend: String = "") {
    (self.level, self.what, self.mend) = (level, what, mend)
  }
}

/// What can be read of a machine and of primed on it. nil: it could not be read, or does not apply.
package struct SystemFacts: Sendable {
  package var bus = "system"
  /// The machine is simulated: this machine's kernel and installation say nothing about it.
  package var isSimulated = false
  /// Why primed did not answer, and what to do; nil: it answered.
  package var silence: String?
  package var daemonVersion = ""
  package var ownVersion = ""
  package var release = ""
  package var noMove = NoMove.unknown
  package var evidence: [String] = []
  package var udevRuns = true
  /// DRM nodes in /dev/dri.
  package var nodes: [String] = []
  /// Those of `nodes` that the user primed may not open, each with its group.
  package var forbidden: [(node: String, group: String)]?
  package var userExists: Bool?
  package var hasBusPolicy: Bool?
  package var hasPolkitAction: Bool?
  package var hasLoaderSocket: Bool?
  /// The word in brackets in /sys/kernel/security/lockdown.
  package var lockdown = ""
  /// Why the kernel's type data can't be used.
  package var typeDataFault: String?
  /// "driver: why" for each loaded driver whose layout can't be computed, or lacks a value.
  package var layoutsMissing: [String] = []
  /// "file:line: why" of /etc/primed/pairs.
  package var pairErrors: [String] = []
  package var refusedCalls: UInt64 = 0
  package init() {}

  /// Where primed's log is.
  package var log: String { bus == "system" ? "journalctl -u primed" : "its log" }
}

package enum Diagnosis {
  /// The oldest kernel that primed is tested on.
  private static let oldest = KernelVersion(6, 1)

  /// Worst first. Also says which things were checked and are in order.
  package static func findings(_ facts: SystemFacts, _ machine: Machine?) -> [Finding] {
    var found = daemon(facts)
    if !facts.isSimulated { found += installation(facts) + kernel(facts) }
    if let machine { found += devices(facts, machine) }
    found += facts.pairErrors.map {
      Finding(
        .warning, "\($0)", mend: "mend the line in \(ownPairsPath), then systemctl reload primed")
    }
    return found.enumerated().sorted {
      ($1.element.level, $0.offset) < ($0.element.level, $1.offset)
    }.map(\.element)
  }

  private static func daemon(_ facts: SystemFacts) -> [Finding] {
    if let silence = facts.silence {
      return [Finding(.problem, "primed does not answer on the bus \(facts.bus)", mend: silence)]
    }
    var found: [Finding] = []
    if facts.daemonVersion == facts.ownVersion {
      found.append(Finding(.ok, "primed \(facts.daemonVersion) answers on the bus \(facts.bus)"))
    } else {
      found.append(
        Finding(
          .warning, "primed is version \(facts.daemonVersion), primectl is \(facts.ownVersion)",
          mend: facts.bus == "system" ? "systemctl restart primed" : "restart primed"))
    }
    if facts.refusedCalls > 0 {
      found.append(
        Finding(
          .note,
          counted(facts.refusedCalls, "call") + (facts.refusedCalls == 1 ? " was" : " were")
            + " refused for the caller's fault",
          mend: "\(facts.log) names \(facts.refusedCalls == 1 ? "the caller" : "the callers")"))
    }
    return found
  }

  // MARK: Installation

  private static func installation(_ facts: SystemFacts) -> [Finding] {
    var found: [Finding] = []
    func check(_ isWell: Bool?, _ well: String, _ ill: Finding) {
      guard let isWell else { return }
      found.append(isWell ? Finding(.ok, well) : ill)
    }
    check(
      facts.udevRuns, "udevd runs",
      Finding(
        .problem, "udevd does not run: primed hears of no device that comes or goes",
        mend: "systemctl start systemd-udevd"))
    check(
      facts.hasBusPolicy, "the bus has primed's policy",
      Finding(
        .problem, "the system bus has no policy for primed, so it can't own its name",
        mend: "install it again: systemd/install, then systemctl reload dbus"))
    check(
      facts.userExists, "the user primed exists",
      Finding(.problem, "there is no user primed", mend: "systemd-sysusers"))
    check(
      facts.hasPolkitAction, "polkit knows primed's action",
      Finding(
        .note, "polkit does not know org.primed.release-device: only root may release a device",
        mend: "install polkit, and primed again"))
    for (node, group) in facts.forbidden ?? [] {
      found.append(
        Finding(
          .problem, "the user primed may not open \(node), which belongs to the group \(group)",
          mend: "give the node to the group render or video by a udev rule, as systemd does"))
    }
    return found
  }

  // MARK: Kernel

  private static func kernel(_ facts: SystemFacts) -> [Finding] {
    var found: [Finding] = []
    if let version = KernelVersion(facts.release), version < oldest {
      found.append(
        Finding(
          .warning, "Linux \(facts.release) is older than what primed is tested on",
          mend: "Linux \(oldest.major).\(oldest.minor) or later"))
    }
    guard facts.silence == nil else { return found }
    if facts.evidence.contains("introspection") {
      found.append(Finding(.ok, "kernel introspection is in use"))
    } else {
      let (why, mend) = whyNoIntrospection(facts)
      found.append(Finding(.warning, "no kernel introspection: \(why)", mend: mend))
    }
    found += facts.layoutsMissing.map {
      Finding(
        .warning, "introspection can't read all that it should of a buffer: \($0)",
        mend: "report it with `primectl report`, and with your distribution's kernel version")
    }
    return found
  }

  /// The sources of evidence that are missing, and why.
  package static func missing(_ facts: SystemFacts) -> [(source: String, why: String)] {
    var missing: [(source: String, why: String)] = []
    if !facts.evidence.contains("introspection") {
      let why = facts.isSimulated ? "the scenario has none" : whyNoIntrospection(facts).why
      missing.append(("introspection", why))
    }
    if !facts.evidence.contains("no-move-import") {
      let isKnown = facts.noMove == .ignored
      missing.append(
        (
          "no-move-import",
          isKnown
            ? "the kernel ignores the flag" : "not known yet whether the kernel heeds the flag"
        ))
    }
    return missing
  }

  /// Why the source `introspection` is missing, and what to do.
  package static func whyNoIntrospection(_ facts: SystemFacts) -> (why: String, mend: String) {
    if facts.lockdown == "confidentiality" {
      return (
        "lockdown is at confidentiality, which lets no BPF program read kernel memory",
        "lockdown=integrity on the kernel's command line, if you want it"
      )
    }
    if let fault = facts.typeDataFault {
      return (
        fault, "load the GPU's driver; a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's are"
      )
    }
    if facts.hasLoaderSocket == false {
      return ("its loader does not listen", "systemctl enable --now primed-introspect.socket")
    }
    let loader = facts.bus == "system" ? " -u 'primed-introspect*'" : ""
    return ("primed says why in its log", facts.log + loader)
  }

  // MARK: Devices

  private static func devices(_ facts: SystemFacts, _ machine: Machine) -> [Finding] {
    let table = machine.table
    var found = (facts.isSimulated ? [] : facts.nodes).filter { node in
      !table.present.contains { slot in
        [table[slot]?.description.render?.path, table[slot]?.description.primary?.path].contains(
          node)
      }
    }.map {
      Finding(
        .problem, "\($0) is there, and primed does not see it",
        mend: "udevadm info \($0); then systemctl reload primed")
    }
    if table.named.isEmpty {
      found.append(
        Finding(
          .note, "there is no DRM device", mend: "is its driver loaded? lspci -k, or dmesg"))
    }
    for slot in machine.shown { found += device(slot, table) }
    return found + sameNames(facts, machine)
  }

  private static func device(_ slot: DeviceSlot, _ table: DeviceTable) -> [Finding] {
    let (entry, title) = (table[slot]!, table.title(of: slot))
    var found: [Finding] = []
    switch entry.state {
    case .unresponsive:
      found.append(
        Finding(
          .problem, "\(title) does not answer: its driver has not come back from a call",
          mend: "dmesg; primed uses it again when it answers"))
    case .released:
      found.append(
        Finding(.note, "\(title) is released", mend: "it is back when who released it ends"))
    case .ready, .gone: break
    }
    if table.driver(of: slot) == .other {
      found.append(
        Finding(
          .warning, "nothing is known of the driver \(entry.description.driver) (\(title))",
          mend:
            "please report it, with `primectl report FILE.html`; until then, rows of your own in "
            + ownPairsPath))
    }
    return found
  }

  /// Devices whose buffers show the same name, so that only introspection can tell them apart.
  private static func sameNames(_ facts: SystemFacts, _ machine: Machine) -> [Finding] {
    let table = machine.table
    guard !facts.evidence.contains("introspection") else { return [] }
    var byName: [String: [DeviceSlot]] = [:]
    for slot in table.stableOrder(table.exporting.intersection(table.named)) {
      for name in table.driver(of: slot).info.exporterNames(on: machine.kernel) {
        byName[name, default: []].append(slot)
      }
    }
    return byName.sorted { $0.key < $1.key }
      // For a buffer in system memory the exporter does not matter.
      .filter { $0.value.count > 1 && $0.value.contains { !table.systemOnly.contains($0) } }
      .map { name, slots in
        let titles = slots.map { table.title(of: $0) }.joined(separator: ", ")
        return Finding(
          .warning, "buffers of these sign with one name (\(name)): \(titles)",
          mend:
            "introspection tells them apart; without it, a compositor's hints (modifier, sampling-device)"
        )
      }
  }
}

extension Terminal {
  package func findings(_ findings: [Finding]) -> [String] {
    let arrow = unicode ? "\u{2192} " : "-> "
    return table(
      findings.flatMap { one in
        [[Cell(word: one.level.word), Cell(one.what)]]
          + (one.mend.isEmpty ? [] : [[Cell(""), Cell(arrow + one.mend, .faint)]])
      })
  }
}
