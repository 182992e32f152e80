// Counts refused calls, and logs which connection and user sent them.

internal import CSystemd
internal import Linux

extension BusError {
  /// Whether the caller is at fault. It is not for naming a device that has just been unplugged,
  /// nor for asking for a release that it is not allowed.
  var isMisbehaviour: Bool {
    switch self {
    case .invalidArgument, .notDmaBuf, .noPlanes, .tooManyPlanes, .limitsExceeded: true
    case .unknownDevice, .released, .accessDenied, .authorizationRequired, .failed: false
    }
  }
}

extension BusConnection {
  /// Sends an error in answer to a call that was kept, and counts it.
  func refuse(_ call: Message, _ failure: BusError) {
    noteRefusal(failure, of: call.sender)
    call.replyError(failure)
  }

  /// Counts a refusal, and logs it once the bus has told the user of `sender`. A caller that has
  /// disconnected meanwhile was not refused.
  func noteRefusal(_ failure: BusError, of sender: UnsafePointer<CChar>?) {
    let caller = Caller(uniqueName: sender)
    guard failure.isMisbehaviour, let sender, find(caller)?.hasLeft != true else { return }
    refusals += 1
    guard let unsaid = refusalPace.note(caller, at: bootMilliseconds()) else { return }
    let name = String(cString: sender)
    track(caller, sender)
    whenIdentified(caller) { uid in
      let user = uid.map { " of uid \($0)" } ?? ""
      let others = unsaid == 0 ? "" : " (\(unsaid) earlier refusals were not logged)"
      Log.write(
        .notice, "refused a call from \(name)\(user): \(failure.message)\(others)",
        [("SENDER", name)] + (uid.map { [("UID", "\($0)")] } ?? []))
    }
  }
}
