// What one connection, and one user over all connections, may have in progress. A caller at its
// limit is refused before anything is held for it, so that a flood from one user changes no answer
// to others.
//
// Until the bus has said which user a connection belongs to, its questions are charged to the
// connection itself, with a limit that suffices for a compositor's start and is small enough that
// all connections which a bus gives to one user (256) leave room for others.

internal import Bus
internal import Glibc
internal import Placement

final class Quotas {
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

  /// - Parameter fdLimit: RLIMIT_NOFILE. If it is low, one user gets at most half of what is left.
  init(fdLimit: Int) {
    let fds = max(0, fdLimit - Limits.reservedFDs)
    inAll = Load(
      questions: Limits.questionsInAll, fds: fds, subscriptions: Limits.watchesInAll)
    var mine = Limits.perUser
    mine.fds = min(mine.fds, fds / 2)
    ofUser = mine
  }

  /// Charges `load` and returns true, or changes nothing and returns false.
  func take(_ load: Load, for caller: Caller) -> Bool {
    let account = accounts[caller] ?? Account()
    let limit = account.user == nil ? Limits.perUnknown : Limits.perConnection
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

  /// Records the connection's user. false: the user has too many tracked connections already.
  @discardableResult
  func identify(_ caller: Caller, as uid: uid_t) -> Bool {
    let account = accounts[caller] ?? Account()
    guard account.user == nil else { return true }
    let user = users[uid] ?? User()
    guard user.connections < Limits.connectionsPerUser || uid == 0 else { return false }
    users[uid] = user
    user.connections += 1
    user.load = user.load + account.load
    account.user = user
    accounts[caller] = account
    return true
  }

  /// What is held for a user at the moment.
  func load(of uid: uid_t) -> Load { users[uid]?.load ?? Load() }

  /// The connection has gone. What is in progress for it stays charged until it ends.
  func left(_ caller: Caller) {
    guard let account = accounts[caller] else { return }
    account.hasLeft = true
    account.user?.connections -= 1
    closeIfDone(account, caller)
  }

  /// An account is kept while its connection exists or something is in progress for it.
  private func closeIfDone(_ account: Account, _ caller: Caller) {
    guard account.load == Load(), account.hasLeft || account.user == nil else { return }
    accounts[caller] = nil
    guard let user = account.user, user.connections == 0, user.load == Load() else { return }
    users = users.filter { $0.value !== user }
  }
}
