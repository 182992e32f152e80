// Fds that came in messages. They are closed by separate threads, since the sender can make close()
// block (see CClose), and are charged to the sender's user until they are closed.

internal import Bus
internal import CClose
internal import Glibc
internal import Linux
internal import Placement
internal import Ports

final class ReceivedFDs {
  private var supervision: EventSource?

  init(loop: EventLoop) throws(Errno) {
    let timer = try Errno.check(primed_closers_timer())
    supervision = try loop.onReadable(timer) { primed_supervise_closers() }
  }

  /// Assigns the fds received since the last call to this caller; returns whether there were any.
  func charge(to caller: Caller, of user: uid_t?) -> Bool {
    primed_claim_received(Self.owner(caller, user))
  }

  /// Notes copies that primed made of a caller's fds: closing them can block as well, since they
  /// may be the last ones.
  func note(_ buffers: [HeldBuffer], of caller: Caller, _ user: uid_t?) {
    for buffer in buffers { primed_note_received(buffer.fd.rawValue, Self.owner(caller, user)) }
  }

  func identified(_ caller: Caller, as user: uid_t) {
    primed_rename_owner(Self.owner(caller, nil), user)
  }

  /// The owner's number in CClose: the uid, or while that is not known a number for the connection,
  /// with the highest bit set, which no uid has.
  private static func owner(_ caller: Caller, _ user: uid_t?) -> UInt32 {
    user ?? UInt32(truncatingIfNeeded: caller.id) | 1 << 31
  }

  /// Fds that wait to be closed.
  static var waiting: Int { Int(primed_waiting_fds()) }

  /// Whether more of this user's fds can't be closed than Limits allows.
  func hasTooManyStuck(_ user: uid_t) -> Bool {
    primed_stuck_fds(user) > Limits.stuckFDsPerUser
  }
}
