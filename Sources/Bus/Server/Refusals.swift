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
  /// Answers a call that was kept with an error.
  func refuse(_ call: Message, _ failure: BusError) {
    noteRefusal(failure, of: call.sender)
    call.replyError(failure)
  }

  /// Counts a refusal, and logs it once the bus has told whose connection `sender` is. What a
  /// caller left unanswered when it disconnected is no refusal.
  func noteRefusal(_ failure: BusError, of sender: UnsafePointer<CChar>?) {
    let caller = Caller(uniqueName: sender)
    guard failure.isMisbehaviour, let sender, find(caller)?.hasLeft != true else { return }
    refusals += 1
    guard let unsaid = refusalPace.note(caller, at: bootMilliseconds()) else { return }
    let name = String(cString: sender)
    track(caller, sender)
    whenIdentified(caller) { uid in
      let user = uid.map { " of uid \($0)" } ?? ""
      let others = unsaid == 0 ? "" : " (\(unsaid) more refusals before it went unsaid)"
      Log.write(
        .notice, "refused a call from \(name)\(user): \(failure.message)\(others)",
        [("SENDER", name)] + (uid.map { [("UID", "\($0)")] } ?? []))
    }
  }
}
