// Buffers of no device (udmabuf), for NO_MOVE detection and the check of introspection. Opening
// udmabuf may load its module and may hang like any driver, so a thread makes them, one after
// another. It ends when no request is left. A request ends after `probeDeadline` at the latest.

internal import Glibc
internal import Linux
internal import Ports

final class PlainBuffers {
  private let loop: EventLoop
  private let make: @Sendable () -> ScratchBuffer?
  private let mailbox: Mailbox<Made>
  private var inbox: EventSource?
  private var worker: Worker?
  private var waiting: [UInt64: (deadline: EventSource, done: (ScratchBuffer?) -> Void)] = [:]
  private var lastRequest: UInt64 = 0
  /// Requests past their deadline whose call has not returned. While there are any, no other call
  /// is made.
  private var late = 0

  private struct Made: Sendable {
    var request: UInt64
    var buffer: ScratchBuffer?
  }

  init(
    loop: EventLoop, make: @escaping @Sendable () -> ScratchBuffer? = ScratchBuffer.ofNoDevice
  ) throws(Errno) {
    self.loop = loop
    self.make = make
    mailbox = try Mailbox()
    inbox = try mailbox.deliver(on: loop) { [unowned self] made in
      if waiting[made.request] == nil { late -= 1 }
      end(made.request, made.buffer)
    }
  }

  /// Calls `done` with a new buffer; nil: this kernel can make none, or its driver does not return.
  func request(_ done: @escaping (ScratchBuffer?) -> Void) {
    lastRequest += 1
    let (request, mailbox, make) = (lastRequest, mailbox, make)
    do throws(Errno) {
      guard late == 0 else { throw Errno(ETIMEDOUT) }
      let deadline = try loop.after(probeDeadline) { [unowned self] in
        late += 1
        end(request, nil)
      }
      if worker == nil { worker = try Worker(name: "plain buffer") }
      waiting[request] = (deadline, done)
      worker?.submit { mailbox.post(Made(request: request, buffer: make())) }
    } catch {
      loop.soon { done(nil) }
    }
  }

  private func end(_ request: UInt64, _ buffer: ScratchBuffer?) {
    guard let asker = waiting.removeValue(forKey: request) else { return }
    if waiting.isEmpty {
      worker?.end()
      worker = nil
    }
    asker.done(buffer)
  }
}
