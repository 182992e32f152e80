// Asks primed-introspect for the program. systemd starts it at the connection; it sends one message
// when it is done, and exits. The loop does not block on it.

internal import CBPF
package import Linux

/// Where primed-introspect.socket listens.
package let introspectSocket = "/run/primed/introspect"

/// The loader's answer.
package enum LoaderAnswer {
  case program(Program)
  /// There is no program, for this reason.
  case refused(String)
}

package final class LoaderConnection {
  private let socket: OwnedFD
  private var source: EventSource?

  /// - Parameters:
  ///   - then: called once, on the loop's thread, unless the connection is released before.
  package init(
    to path: String, on loop: EventLoop, then: @escaping (LoaderAnswer) -> Void
  ) throws(Errno) {
    socket = OwnedFD(try Errno.check(primed_connect(path)))
    source = try loop.onReadable(socket.rawValue) { [unowned self] in
      source = nil
      // `self` may be released during the call.
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
  /// Parses "ready DRIVER..." with the program's descriptor, or "failed REASON".
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
