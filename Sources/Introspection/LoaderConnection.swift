// Asks primed-introspect for the program. systemd starts it when we connect; it answers with one
// message when it is done and ends. The loop never waits for it.

internal import CBPF
package import Linux

/// What became of it.
package enum LoaderAnswer {
  case program(Program)
  /// There is none, and why.
  case refused(String)
}

package final class LoaderConnection {
  private let socket: OwnedFD
  private var source: EventSource?

  /// - Parameters:
  ///   - then: called once, on the loop's thread, unless the connection goes before.
  package init(
    to path: String, on loop: EventLoop, then: @escaping (LoaderAnswer) -> Void
  ) throws(Errno) {
    socket = OwnedFD(try Errno.check(primed_connect(path)))
    source = try loop.onReadable(socket.rawValue) { [unowned self] in
      source = nil
      // `self` may be gone when it returns.
      then(receive())
    }
  }

  private func receive() -> LoaderAnswer {
    var fd: Int32 = -1
    var message = [UInt8](repeating: 0, count: 1024)
    let length = primed_receive(socket.rawValue, &message, message.count, &fd)
    let program = fd >= 0 ? OwnedFD(fd) : nil
    guard length > 0 else { return .refused("primed-introspect ended without a word") }
    return LoaderAnswer(String(decoding: message.prefix(length), as: UTF8.self), program)
  }
}

extension LoaderAnswer {
  /// "ready DRIVER..." with the program's descriptor, or "failed REASON".
  init(_ message: String, _ fd: consuming OwnedFD?) {
    let words = message.split(separator: " ")
    if words.first == "ready", let fd {
      self = .program(Program(fd, drivers: Set(words.dropFirst().map(String.init))))
    } else if words.first == "failed" {
      self = .refused(String(message.dropFirst("failed ".count)))
    } else {
      self = .refused("primed-introspect answers \"\(message)\"")
    }
  }
}
