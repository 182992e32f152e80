// Refused calls in the log: who sends nonsense or too much is named, and can't fill the log with
// it.

internal import CSystemd
internal import Linux

extension BusError {
  /// The caller's own fault. Who names a device that has just gone, or may not release one, is
  /// none.
  var isMisbehaviour: Bool {
    switch self {
    case .invalidArgument, .notDmaBuf, .noPlanes, .tooManyPlanes, .limitsExceeded: true
    case .unknownDevice, .released, .accessDenied, .authorizationRequired, .failed: false
    }
  }
}

extension BusConnection {
  /// Counts it, and says it in the log once the bus has told whose connection it is.
  func noteRefusal(_ failure: BusError, of call: Message) {
    guard failure.isMisbehaviour else { return }
    refusals += 1
    let caller = Caller(uniqueName: call.sender)
    guard let unsaid = refusalPace.note(caller, at: bootMilliseconds()) else { return }
    let name = call.senderName
    track(caller, call)
    whenIdentified(caller) { uid in
      let user = uid.map { " of uid \($0)" } ?? ""
      let others = unsaid == 0 ? "" : " (\(unsaid) more refusals before it went unsaid)"
      Log.write(
        .notice, "refused a call from \(name)\(user): \(failure.message)\(others)",
        [("SENDER", name)] + (uid.map { [("UID", "\($0)")] } ?? []))
    }
  }
}
