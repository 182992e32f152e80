// What one connection, and one user over all its connections, may have under way. Nobody's flood
// changes anybody else's answers: who is at a limit is refused, before anything is held for it.
//
// A connection's first question waits until the bus has said whose it is; until then it is charged to
// a share of the connection's own: large enough for a compositor's start, and small enough that all
// the connections that a bus gives to one user (256) leave room for others.

internal import Bus
internal import Glibc

/// What is held for somebody.
struct Load: Equatable {
  var questions = 0
  var fds = 0
  var watches = 0

  static func + (a: Load, b: Load) -> Load {
    Load(
      questions: a.questions + b.questions, fds: a.fds + b.fds, watches: a.watches + b.watches)
  }
  static func - (a: Load, b: Load) -> Load {
    Load(
      questions: a.questions - b.questions, fds: a.fds - b.fds, watches: a.watches - b.watches)
  }
  func fits(in limit: Load) -> Bool {
    questions <= limit.questions && fds <= limit.fds && watches <= limit.watches
  }
}

final class Quotas {
  static let perUnknown = Load(questions: 64, fds: 128, watches: 64)
  static let perConnection = Load(questions: 256, fds: 512, watches: 1024)
  static let perUser = Load(questions: 512, fds: 1024, watches: 4096)
  static let watchesInAll = 16_384
  /// Tracked connections of one user: each takes one of our matches on the bus.
  static let connectionsPerUser = 128
  /// Fds kept free for the bus's next message (253 at most), probes, nodes and guards: at
  /// RLIMIT_NOFILE sd-bus would leave the bus.
  static let reserve = 384

  private final class Account {
    var load = Load()
    var user: User?
    var hasLeft = false
  }
  private final class User {
    var load = Load()
    var connections = 0
  }

  private var accounts: [Caller: Account] = [:]
  private var users: [uid_t: User] = [:]
  private let inAll: Load
  private let ofUser: Load
  private var total = Load()

  /// - Parameter fdLimit: RLIMIT_NOFILE. Where it is low, half of what it leaves is still others'.
  init(fdLimit: Int) {
    let fds = max(0, fdLimit - Self.reserve)
    inAll = Load(questions: .max, fds: fds, watches: Self.watchesInAll)
    var mine = Self.perUser
    mine.fds = min(mine.fds, fds / 2)
    ofUser = mine
  }

  /// Charges `load`, or changes nothing and says false.
  func take(_ load: Load, for caller: Caller) -> Bool {
    let account = accounts[caller] ?? Account()
    let limit = account.user == nil ? Self.perUnknown : Self.perConnection
    guard (account.load + load).fits(in: limit),
      account.user.map({ ($0.load + load).fits(in: ofUser) }) ?? true,
      (total + load).fits(in: inAll)
    else { return false }
    accounts[caller] = account
    add(load, to: account)
    return true
  }

  func giveBack(_ load: Load, of caller: Caller) {
    guard let account = accounts[caller] else { return }
    add(Load() - load, to: account)
    closeIfDone(account, caller)
  }

  private func add(_ load: Load, to account: Account) {
    account.load = account.load + load
    if let user = account.user { user.load = user.load + load }
    total = total + load
  }

  /// false: its user has too many connections here already.
  @discardableResult
  func identify(_ caller: Caller, as uid: uid_t) -> Bool {
    let account = accounts[caller] ?? Account()
    guard account.user == nil else { return true }
    let user = users[uid] ?? User()
    guard user.connections < Self.connectionsPerUser || uid == 0 else { return false }
    users[uid] = user
    user.connections += 1
    user.load = user.load + account.load
    account.user = user
    accounts[caller] = account
    return true
  }

  /// What is held for a user now.
  func load(of uid: uid_t) -> Load { users[uid]?.load ?? Load() }

  /// The connection has gone; what is under way for it is charged until it ends.
  func left(_ caller: Caller) {
    guard let account = accounts[caller] else { return }
    account.hasLeft = true
    account.user?.connections -= 1
    closeIfDone(account, caller)
  }

  /// An account is kept for as long as it has a user to remember, or something under way.
  private func closeIfDone(_ account: Account, _ caller: Caller) {
    guard account.load == Load(), account.hasLeft || account.user == nil else { return }
    accounts[caller] = nil
    guard let user = account.user, user.connections == 0, user.load == Load() else { return }
    users = users.filter { $0.value !== user }
  }
}
