// The daemon's options, and the reasons why it can't start.

package import Bus
internal import Glibc
internal import Linux
internal import Placement

package struct DaemonOptions: Sendable {
  package var bus = BusChoice.system
  /// A scenario file, or the name of a built-in scenario; nil: this machine.
  package var simulate: String?
  package var cachedBuffers = Limits.cachedBuffers
  /// A file of pair rows; nil: /etc/primed/pairs, or none with a simulated machine.
  package var pairs: String?
  package init() {}

  var pairsPath: String? { pairs ?? (simulate == nil ? ownPairsPath : nil) }

  /// A file that was named must exist; the default one need not.
  func checkPairs() throws(StartError) {
    guard let pairs else { return }
    do throws(Errno) { _ = try readFile(pairs) } catch {
      throw StartError(description: "--pairs \(pairs) can't be read: \(error)")
    }
  }
}

package struct StartError: Error, CustomStringConvertible {
  package var description: String

  static func noBus(_ bus: BusChoice, _ error: Errno) -> Self {
    let mend =
      switch bus {
      case .system: "is dbus running?"
      case .session: "is this a session? dbus-run-session starts one"
      case .address: "is this its address?"
      }
    return Self(description: "no connection to the bus: \(error); \(mend)")
  }

  static func noName(_ error: Errno) -> Self {
    let mend =
      switch error.code {
      case EEXIST: "another primed has it; see: busctl status \(Names.bus)"
      case EOPNOTSUPP: "the bus passes on no file descriptors, which primed's callers send"
      case EACCES: "the bus lets the user primed own it; see: systemctl start primed"
      default: "\(error)"
      }
    return Self(description: "can't own the bus name \(Names.bus): \(mend)")
  }
}
