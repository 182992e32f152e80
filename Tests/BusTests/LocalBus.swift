// A connection without a peer, for making messages: what is written is sealed and read again in
// place.

import CSystemd
import Glibc
import Linux

@testable import Bus

final class LocalBus {
  let raw: OpaquePointer
  private let other: Int32

  init() throws {
    var (ends, bus) = ([Int32](repeating: -1, count: 2), OpaquePointer?.none)
    try Errno.check(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends))
    other = ends[1]
    try Errno.checkNegative(sd_bus_new(&bus))
    raw = bus!
    try Errno.checkNegative(sd_bus_set_fd(raw, ends[0], ends[0]))
    try Errno.checkNegative(sd_bus_start(raw))
  }

  deinit {
    sd_bus_close_unref(raw)
    close(other)
  }

  /// A call with this body, as a handler gets it.
  func call(_ write: (Message) throws(Errno) -> Void) throws -> OwnedMessage {
    var message: OpaquePointer?
    try Errno.checkNegative(
      sd_bus_message_new_method_call(
        raw, &message, Names.bus, Names.path, Names.broker, Names.Method.place.rawValue))
    let call = OwnedMessage(taking: message!)
    try write(call.message)
    try Errno.checkNegative(sd_bus_message_seal(message, 1, 0))
    try Errno.checkNegative(sd_bus_message_rewind(message, 1))
    return call
  }
}
