// For compositors in Swift: asks primed on which DRM device a DMA-BUF should be used.
//
// The C library does the work, under a lock, and a queue of its own handles what comes; see primed-client.h
// for what a question means, what is cached and when the default comes.

import CPrimedClient
import Dispatch
import Glibc
import Synchronization

public struct Placement: Sendable, Equatable {
  /// How the device gets at the buffer.
  public enum Access: UInt32, Sendable {
    case unknown, native, inPlace, mayMove, moves, unreachable
  }
  /// How well that is known, weakest first.
  public enum Confidence: UInt32, Sendable { case guess, state, stable, intent }

  /// dev_t of the node to use; 0: none.
  public var device: UInt64
  public var access: Access
  public var confidence: Confidence
  /// Identity of plane 0's DMA-BUF; 0 if primed has not answered.
  public var buffer: UInt64
  /// Milliseconds until to ask again; nil: settled.
  public var recheck: UInt32?
  /// primed has not answered: this is the compositor's own default.
  public var isDefault: Bool

  init(_ c: primed_placement) {
    device = UInt64(c.device)
    access = Access(rawValue: c.access) ?? .unknown
    confidence = Confidence(rawValue: c.confidence) ?? .guess
    buffer = c.buffer
    recheck = c.recheck == 0 ? nil : c.recheck
    isDefault = c.is_default
  }
}

/// What the compositor knows; all of it may stay unsaid.
public struct Hints: Sendable {
  public struct Usage: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let sample = Usage(rawValue: 1)
    public static let scanout = Usage(rawValue: 2)
    public static let capture = Usage(rawValue: 4)
  }
  public var samplingDevice: UInt64 = 0
  public var targetDevice: UInt64 = 0
  public var primaryDevice: UInt64 = 0
  public var usage: Usage = []
  /// DRM fourcc and modifier.
  public var format: (fourcc: UInt32, modifier: UInt64)?
  public var client: Int32 = 0
  public var fresh = false
  public init() {}
}

/// An errno of the C library.
public struct PrimedClientError: Error, Equatable {
  public var errno: Int32
}

public final class PrimedClient: Sendable {
  /// One tick whenever earlier answers may no longer hold: ask again about buffers in use. For one reader.
  public let changes: AsyncStream<Void>

  /// The C library's client, which is not thread-safe, and what it calls at a change.
  private struct Core: @unchecked Sendable {
    let client: OpaquePointer
    let onChanged: Unmanaged<Ticks>
  }
  private final class Ticks {
    let stream: AsyncStream<Void>.Continuation
    init(_ stream: AsyncStream<Void>.Continuation) { self.stream = stream }
  }
  private let core: Mutex<Core>
  private let source: Source

  /// Ends the connection when it goes, after what is being handled.
  private struct Source: @unchecked Sendable { let source: any DispatchSourceRead }

  /// - Parameters:
  ///   - address: a D-Bus address; nil: the system bus.
  ///   - defaultDevice: the answer when primed gives none in time.
  ///   - timeout: milliseconds.
  /// - Throws: as primed_client_open fails.
  public init(address: String? = nil, defaultDevice: UInt64, timeout: UInt32 = 500) throws {
    let (stream, ticks) = AsyncStream.makeStream(
      of: Void.self, bufferingPolicy: .bufferingNewest(1))
    changes = stream
    let onChanged = Unmanaged.passRetained(Ticks(ticks))
    var options = primed_client_options()
    options.default_device = dev_t(defaultDevice)
    options.timeout = timeout
    options.on_changed = { Unmanaged<Ticks>.fromOpaque($0!).takeUnretainedValue().stream.yield() }
    options.data = onChanged.toOpaque()
    guard let opened = Self.open(address, &options) else {
      let code = errno
      onChanged.release()
      throw PrimedClientError(errno: code)
    }
    core = Mutex(Core(client: opened, onChanged: onChanged))
    source = Source(
      source: DispatchSource.makeReadSource(
        fileDescriptor: primed_client_get_fd(opened),
        queue: DispatchQueue(label: "org.primed.client")))
    listen(Core(client: opened, onChanged: onChanged))
  }

  deinit { source.source.cancel() }

  private static func open(
    _ address: String?, _ options: inout primed_client_options
  ) -> OpaquePointer? {
    guard let address else { return primed_client_open(&options) }
    return address.withCString {
      options.address = $0
      return primed_client_open(&options)
    }
  }

  private func listen(_ ended: Core) {
    // A lost bus has been told to those who asked; the library connects again.
    source.source.setEventHandler { [weak self] in
      self?.core.withLock { _ = primed_client_dispatch($0.client) }
    }
    // Nobody else has it any more.
    source.source.setCancelHandler {
      primed_client_close(ended.client)
      ended.onChanged.takeUnretainedValue().stream.finish()
      ended.onChanged.release()
    }
    source.source.activate()
  }

  /// One question under way; owned by the C library until it calls back.
  private final class Asker {
    let answer: CheckedContinuation<Placement, any Error>
    init(_ answer: CheckedContinuation<Placement, any Error>) { self.answer = answer }
  }

  /// Asks, unless the answer is known. Borrows `planes`, the buffer's DMA-BUF fds, until it returns.
  /// - Throws: as primed_client_place fails.
  public func place(_ planes: [Int32], _ hints: Hints = Hints()) async throws -> Placement {
    if let known = known(planes, hints) { return known }
    return try await withCheckedThrowingContinuation { ask(planes, hints, Asker($0)) }
  }

  /// The answer from the cache, at the cost of a statx a plane and a look-up; nil: `place` has to ask.
  public func known(_ planes: [Int32], _ hints: Hints = Hints()) -> Placement? {
    var now = primed_placement()
    let found = withQuery(planes, hints) { query in
      core.withLock { primed_client_peek($0.client, &query, &now) }
    }
    return found > 0 ? Placement(now) : nil
  }

  private func ask(_ planes: [Int32], _ hints: Hints, _ asker: Asker) {
    var now = primed_placement()
    let waiting = Unmanaged.passRetained(asker)
    let (result, code) = withQuery(planes, hints) { query in
      core.withLock {
        let result = primed_client_place(
          $0.client, &query, &now,
          { placement, data in
            let asker = Unmanaged<Asker>.fromOpaque(data!).takeRetainedValue()
            asker.answer.resume(returning: Placement(placement!.pointee))
          }, waiting.toOpaque())
        return (result, errno)
      }
    }
    guard result != 0 else { return }
    waiting.release()
    if result > 0 {
      asker.answer.resume(returning: Placement(now))
    } else {
      asker.answer.resume(throwing: PrimedClientError(errno: code))
    }
  }

  private func withQuery<R>(
    _ planes: [Int32], _ hints: Hints, _ body: (inout primed_query) -> R
  ) -> R {
    planes.withUnsafeBufferPointer { fds in
      var query = primed_query(hints)
      query.planes = fds.baseAddress
      query.n_planes = UInt32(fds.count)
      return body(&query)
    }
  }
}

extension primed_query {
  fileprivate init(_ hints: Hints) {
    self.init()
    sampling_device = dev_t(hints.samplingDevice)
    target_device = dev_t(hints.targetDevice)
    primary_device = dev_t(hints.primaryDevice)
    usage = hints.usage.rawValue
    if let format = hints.format { (self.format, modifier) = (format.fourcc, format.modifier) }
    client = hints.client
    fresh = hints.fresh
  }
}
