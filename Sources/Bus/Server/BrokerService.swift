// What the D-Bus interface asks of the daemon behind it.

package import Linux
package import Placement
package import Ports

/// A connection on the bus, by a hash of its unique name, which the bus never gives twice.
package struct Caller: Hashable, Sendable {
  package var id: UInt64
  package init(id: UInt64) { self.id = id }

  /// Reads the name without a String: this is on the way of every query.
  init(uniqueName: UnsafePointer<CChar>?) {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    var at = uniqueName
    while let c = at, c.pointee != 0 {
      hash = (hash ^ UInt64(UInt8(bitPattern: c.pointee))) &* 0x100_0000_01b3
      at = c + 1
    }
    id = hash
  }
}

/// What a device object shows. One line a property, in the contract's order.
package struct DeviceProperties: Sendable, Equatable {
  package var description: DeviceDescription
  package var state: DeviceState
  package var noMove: NoMove
  package var imports: Bool
  package var isPrimary: Bool
  package init(
    description: DeviceDescription, state: DeviceState, noMove: NoMove, imports: Bool,
    isPrimary: Bool
  ) {
    self.description = description
    self.state = state
    self.noMove = noMove
    self.imports = imports
    self.isPrimary = isPrimary
  }
}

/// All calls come on the loop's thread, and so does every `then`.
package protocol BrokerService: AnyObject {
  /// A call of the caller's is about to be handled: the fds that came are the caller's. Whether any
  /// did.
  /// - Parameter user: nil: it is not known yet whose connection it is.
  func received(from caller: Caller, of user: UInt32?) -> Bool
  /// nil: not a DMA-BUF. Borrows `fd`.
  func identity(of fd: Int32) -> BufferIdentity?
  /// From the cache; nil: `place` has to look. An answer that may change is told again by
  /// PlacementChanged, which needs to know the caller: `track` is called then; `hold` before what
  /// is old is looked at again.
  func placeNow(
    _ query: Query, for caller: Caller, track: () -> Void, hold: () -> [HeldBuffer]?
  ) -> Answer?
  /// Where to allocate; touches nothing.
  func advise(_ users: [AdviceUser], _ hints: Hints) -> Result<Advice, BusError>
  /// `then` is called once, on a later turn or at once. The caller must be tracked: it is answered
  /// once it is known whose it is, and told by PlacementChanged what changes afterwards.
  /// `limitsExceeded` where that can't be known, or is too much.
  func place(
    _ query: Query, holding buffers: [HeldBuffer], for caller: Caller,
    then: @escaping (Result<Answer, BusError>) -> Void)
  /// Calls `work`, which takes long, on a turn of the caller's user; at once, if too much waits
  /// already.
  func onATurn(of caller: Caller, _ work: @escaping () -> Void)
  /// An answer that was given to `query` before, as it is now.
  func renewed(_ query: Query, _ answer: Answer, for caller: Caller) -> Answer
  func explain(_ query: Query, _ answer: Answer) -> Explanation
  /// `then` gets the guard: the device stays released until its last copy is closed. `sender` is
  /// for the log.
  func release(
    _ device: DeviceNumber, why: String, for sender: String,
    then: @escaping (Result<OwnedGuard, BusError>) -> Void)

  /// For the log; empty where there is none.
  func stableID(of device: DeviceNumber) -> String
  var version: String { get }
  var generation: UInt64 { get }
  var primaryDevice: DeviceNumber { get }
  var noMove: NoMove { get }
  var evidence: [String] { get }
  var pairs: PairTable { get }
  /// What this user may know of it.
  func statistics(for user: UInt32) -> [(name: StaticString, value: UInt64)]
}

/// The caller's end of a release guard.
package final class OwnedGuard: Sendable {
  package let fd: OwnedFD
  package init(_ fd: consuming OwnedFD) { self.fd = fd }
}
