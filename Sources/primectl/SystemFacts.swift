// What doctor and report read besides the bus: files that every user may read; wakes no device.

import BPFLoader
import Bus
import Glibc
import Inspection
import Introspection
import Linux
import Placement

extension SystemFacts {
  /// - Parameter client: nil: the bus can't be reached.
  init(_ client: BrokerClient?, bus: String, silence: String?) {
    self.init()
    (self.bus, self.silence) = (bus, silence)
    ownVersion = Names.version
    release = kernelRelease()
    udevRuns = access("/run/udev/control", F_OK) == 0
    lockdown = Self.lockdownWord
    readTypeData()
    readOwnPairs()
    if bus == "system" { readInstallation() }
    guard let client, silence == nil, let properties = try? client.brokerProperties() else {
      return
    }
    if case .string(let word)? = properties["Version"] { daemonVersion = word }
    if case .string(let word)? = properties["NoMove"] {
      noMove = NoMove.allCases.first { $0.word == word } ?? .unknown
    }
    if case .strings(let list)? = properties["Evidence"] { evidence = list }
    if case .counters(let counters)? = properties["Statistics"] {
      refusedCalls = counters.first { $0.name == "refused-calls" }?.value ?? 0
    }
  }

  /// "none [integrity] confidentiality"
  private static var lockdownWord: String {
    let text = readAttribute("/sys/kernel/security/lockdown")
    return String(text.split(separator: "[").last?.split(separator: "]").first ?? "")
  }

  private mutating func readTypeData() {
    do throws(FormatError) {
      layoutsMissing = try Layouts(from: TypeFolder("/sys/kernel/btf")).missing
    } catch {
      typeDataFault = "\(error)"
    }
  }

  private mutating func readOwnPairs() {
    guard let file = try? readFile(ownPairsPath) else { return }
    pairErrors = PairRow.parse(file.text).errors.map { "\(ownPairsPath):\($0.line): \($0.reason)" }
  }

  // MARK: Of a primed that was installed

  private mutating func readInstallation() {
    nodes = namesIn("/dev/dri").filter { $0.hasPrefix("card") || $0.hasPrefix("renderD") }.sorted()
      .map { "/dev/dri/\($0)" }
    let policies = ["/usr/share", "/usr/local/share", "/etc"]
    hasBusPolicy = policies.contains {
      access("\($0)/dbus-1/system.d/\(Names.bus).conf", F_OK) == 0
    }
    hasPolkitAction = access("/usr/share/polkit-1/actions/org.primed.policy", F_OK) == 0
    hasLoaderSocket = access(introspectSocket, F_OK) == 0
    let user = getpwnam("primed")
    userExists = user != nil
    if let user { forbidden = Self.nodes(nodes, closedTo: user.pointee) }
  }

  private static func nodes(
    _ nodes: [String], closedTo user: passwd
  ) -> [(node: String, group: String)] {
    var groups = [gid_t](repeating: 0, count: 64)
    var count = Int32(groups.count)
    // The unit adds the groups of the nodes.
    guard getgrouplist(user.pw_name, user.pw_gid, &groups, &count) >= 0 else { return [] }
    let unit = ["render", "video"].compactMap { (name: String) in getgrnam(name)?.pointee.gr_gid }
    let own = Set(groups.prefix(Int(count)) + unit)
    return nodes.compactMap { (node) -> (node: String, group: String)? in
      var status = stat()
      guard stat(node, &status) == 0 else { return nil }
      let isOpen =
        own.contains(status.st_gid) && status.st_mode & 0o060 == 0o060
        || status.st_mode & 0o006 == 0o006
      let group = getgrgid(status.st_gid).map { String(cString: $0.pointee.gr_name) }
      return isOpen ? nil : (node, group ?? "\(status.st_gid)")
    }
  }
}

/// primed and what is known of its machine; `silence` says why it did not answer.
struct Inspected {
  var facts: SystemFacts
  var machine: Machine?
  var client: BrokerClient?

  init(_ options: BusOptions) {
    var silence: String?
    do {
      let client = try options.connect()
      self.client = client
      machine = try Machine(asking: client)
    } catch {
      silence = "\(error)"
    }
    facts = SystemFacts(client, bus: options.bus, silence: silence)
    facts.isSimulated = machine?.isSimulated == true
  }

  var findings: [Finding] { Diagnosis.findings(facts, machine) }
}

extension Machine {
  var isSimulated: Bool {
    table.present.contains { table[$0]?.description.bus == "simulated" }
  }
}
