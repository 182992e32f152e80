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
  /// Called before each call is handled: charges the fds that came with it to the caller.
  /// - Parameter user: nil: the bus has not told yet whose connection it is.
  /// - Returns: whether any fds came.
  func received(from caller: Caller, of user: UInt32?) -> Bool
  /// nil: not a DMA-BUF. Borrows `fd`.
  func identity(of fd: Int32) -> BufferIdentity?
  /// The answer from the cache; nil: the buffer has to be observed first, by `place`.
  /// - Parameters:
  ///   - track: called if the answer may change: the caller is sent PlacementChanged then, which
  ///   takes a tracked connection.
  ///   - hold: called if the answer is old: gives the buffers' fds, for another observation in the
  ///   background.
  func placeNow(
    _ query: Query, for caller: Caller, track: () -> Void, hold: () -> [HeldBuffer]?
  ) -> Answer?
  /// Where to allocate; touches nothing.
  func advise(_ users: [AdviceUser], _ hints: Hints) -> Result<Advice, BusError>
  /// `then` is called once, on a later turn of the loop or at once. The caller must be tracked: its
  /// user has to be known before it is answered, and later changes are sent to it as
  /// PlacementChanged. Fails with `limitsExceeded` if its user can't be known or is at a limit.
  func place(
    _ query: Query, holding buffers: [HeldBuffer], for caller: Caller,
    then: @escaping (Result<Answer, BusError>) -> Void)
  /// Queues `work`, which takes long, behind other users' work; calls it at once if the caller has
  /// too much queued already.
  func onATurn(of caller: Caller, _ work: @escaping () -> Void)
  /// The current answer to `query`, of which `answer` is an earlier one.
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
  /// The counters that this user may read.
  func statistics(for user: UInt32) -> [(name: StaticString, value: UInt64)]
}

/// The caller's end of a release guard.
package final class OwnedGuard: Sendable {
  package let fd: OwnedFD
  package init(_ fd: consuming OwnedFD) { self.fd = fd }
}
