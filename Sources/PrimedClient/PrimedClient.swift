// For compositors in Swift: asks primed on which DRM device a DMA-BUF should be used.
//
// The C library does the work, under a lock; a dispatch queue of its own handles incoming messages.
// See primed-client.h for the meaning of a question, the cache, and when the default is returned.

import CPrimedClient
import Dispatch
import Glibc
import Synchronization

public struct Placement: Sendable, Equatable {
  /// How the device reaches the buffer.
  public enum Access: UInt32, Sendable {
    case unknown, native, inPlace, mayMove, moves, unreachable
  }
  /// How certain the answer is, weakest first.
  public enum Confidence: UInt32, Sendable { case guess, state, stable, intent }
  public enum Memory: UInt32, Sendable { case unknown, dedicated, system }

  /// dev_t of the node to use; 0: none.
  public var device: UInt64
  public var access: Access
  public var confidence: Confidence
  /// Identity of plane 0's DMA-BUF; 0: primed has not answered.
  public var buffer: UInt64
  /// Milliseconds after which to ask again; nil: the answer is settled.
  public var recheck: UInt32?
  /// primed has not answered: this is the compositor's own default.
  public var isDefault: Bool
  /// Why it is the default: an errno as documented in primed-client.h; else 0.
  public var error: Int32
  /// dev_t of the exporter if `Hints.verdicts` was set and it is known; else 0.
  public var home: UInt64
  public var homeMemory: Memory

  init(_ c: primed_placement) {
    device = UInt64(c.device)
    access = Access(rawValue: c.access) ?? .unknown
    confidence = Confidence(rawValue: c.confidence) ?? .guess
    buffer = c.buffer
    recheck = c.recheck == 0 ? nil : c.recheck
    isDefault = c.is_default
    error = c.error
    home = UInt64(c.home)
    homeMemory = Memory(rawValue: c.home_memory) ?? .unknown
  }
}

/// What the compositor knows; every field is optional.
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
  /// DRM fourcc.
  public var format: UInt32 = 0
  public var modifier: UInt64?
  /// The devices that can use the buffer, with format and modifier checked; nil: any.
  public var candidates: [UInt64]?
  public var client: Int32 = 0
  /// Ask what every device can do with the buffer, for `access` and `Placement.home`.
  public var verdicts = false
  public var wake = false
  public var fresh = false
  public init() {}
}

/// What an import on one device does, and what the device can then do with the buffer.
public struct DeviceAccess: Sendable, Equatable {
  public var access: Placement.Access
  public var can: Hints.Usage
}

/// Where a buffer may be allocated, and each user's access to it there, in the users' order.
public struct Place: Sendable, Equatable {
  public var device: UInt64
  public var memory: Placement.Memory
  public var accesses: [Placement.Access]
}

public struct PrimedClientError: Error, Equatable {
  public var errno: Int32
}

public final class PrimedClient: Sendable {
  /// Yields whenever earlier answers may have changed: ask again about buffers in use. For one
  /// reader.
  public let changes: AsyncStream<Void>

  /// The C library's client, which is not thread-safe, and its change callback.
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

  /// Closes the connection when it is released, after the message that is being handled.
  private struct Source: @unchecked Sendable { let source: any DispatchSourceRead }

  /// - Parameters:
  ///   - address: a D-Bus address; nil: the system bus.
  ///   - defaultDevice: the answer when primed gives none in time.
  ///   - timeout: milliseconds.
  /// - Throws: as primed_client_open fails, but not because the bus or primed is missing.
  public init(address: String? = nil, defaultDevice: UInt64, timeout: UInt32 = 500) throws {
    let (stream, ticks) = AsyncStream.makeStream(
      of: Void.self, bufferingPolicy: .bufferingNewest(1))
    changes = stream
    let onChanged = Unmanaged.passRetained(Ticks(ticks))
    var options = primed_client_options()
    options.size = MemoryLayout<primed_client_options>.size
    options.default_device = dev_t(defaultDevice)
    options.timeout = timeout
    options.on_changed = { _, ticks in
      Unmanaged<Ticks>.fromOpaque(ticks!).takeUnretainedValue().stream.yield()
    }
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
    // Callers were told that the bus was lost; the library connects again.
    source.source.setEventHandler { [weak self] in
      self?.core.withLock { _ = primed_client_dispatch($0.client) }
    }
    // The source has no other user any more.
    source.source.setCancelHandler {
      primed_client_close(ended.client)
      ended.onChanged.takeUnretainedValue().stream.finish()
      ended.onChanged.release()
    }
    source.source.activate()
  }

  /// One question in progress; owned by the C library until its callback. Its continuation is set
  /// before the library gets it, and read only after it was taken back from there.
  private final class Asker: @unchecked Sendable {
    var answer: CheckedContinuation<Placement, any Error>?
  }

  /// The same, for calls that can't be cancelled.
  private final class Waiter<Answer: Sendable> {
    let answer: CheckedContinuation<Answer, any Error>
    init(_ answer: CheckedContinuation<Answer, any Error>) { self.answer = answer }

    func end(_ value: Answer, _ code: Int32) {
      if code == 0 {
        answer.resume(returning: value)
      } else {
        answer.resume(throwing: PrimedClientError(errno: code))
      }
    }
  }

  /// Cancels the question if it is still in progress.
  private func cancel(_ asker: Asker) {
    let waiting = Unmanaged.passUnretained(asker)
    core.withLock {
      guard primed_client_cancel($0.client, waiting.toOpaque()) > 0 else { return }
      asker.answer?.resume(throwing: CancellationError())
      waiting.release()
    }
  }

  /// Asks, unless the answer is known. Borrows `planes`, the buffer's DMA-BUF fds, until it
  /// returns. Cancelling the task, as when the buffer is destroyed, cancels the question.
  /// - Throws: as primed_client_place fails; CancellationError.
  public func place(_ planes: [Int32], _ hints: Hints = Hints()) async throws -> Placement {
    if let known = known(planes, hints) { return known }
    let asker = Asker()
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation {
        asker.answer = $0
        ask(planes, hints, asker)
        if Task.isCancelled { cancel(asker) }
      }
    } onCancel: {
      cancel(asker)
    }
  }

  /// What an import of the buffer on `device` does, from the cache; nil: `place` has not answered
  /// this question with `verdicts`, or primed says nothing of the device.
  public func access(
    _ planes: [Int32], _ hints: Hints = Hints(), on device: UInt64
  ) -> DeviceAccess? {
    var access: UInt32 = 0
    var can: UInt32 = 0
    let found = withQuery(planes, hints) { query in
      core.withLock { primed_client_access($0.client, &query, dev_t(device), &access, &can) }
    }
    guard found > 0 else { return nil }
    return DeviceAccess(
      access: Placement.Access(rawValue: access) ?? .unknown, can: Hints.Usage(rawValue: can))
  }

  /// Where a buffer that these devices will use should be allocated, best first. `users`: the most
  /// important first. Empty: no place suits all, so the buffer must be copied.
  /// - Throws: as primed_client_advise fails, or for what `primed_advice.error` says.
  public func advise(
    users: [(device: UInt64, use: Hints.Usage)], _ hints: Hints = Hints()
  ) async throws -> [Place] {
    let users = users.map { primed_user(device: dev_t($0.device), use: $0.use.rawValue) }
    return try await wait([]) { client, waiting in
      withQuery([], hints) { query in
        primed_client_advise(
          client, users, UInt32(users.count), &query,
          { advice, data in
            Unmanaged<Waiter<[Place]>>.fromOpaque(data!).takeRetainedValue()
              .end(Place.all(of: advice!.pointee), advice!.pointee.error)
          }, waiting)
      }
    }
  }

  /// Everything that primed knows of the buffer and of its answer, for logs and bug reports.
  /// - Throws: as primed_client_explain fails.
  public func explain(_ planes: [Int32], _ hints: Hints = Hints()) async throws -> String {
    try await wait("") { client, waiting in
      withQuery(planes, hints) { query in
        primed_client_explain(
          client, &query,
          { text, error, data in
            Unmanaged<Waiter<String>>.fromOpaque(data!).takeRetainedValue()
              .end(text.map { String(cString: $0) } ?? "", error)
          }, waiting)
      }
    }
  }

  /// `begin` gets what its callback resumes; it returns a negative number with errno set if there
  /// will be no callback.
  private func wait<Answer: Sendable>(
    _ none: Answer, _ begin: (OpaquePointer, UnsafeMutableRawPointer) -> Int32
  ) async throws -> Answer {
    try await withCheckedThrowingContinuation { continuation in
      let waiting = Unmanaged.passRetained(Waiter<Answer>(continuation))
      let code = core.withLock { begin($0.client, waiting.toOpaque()) < 0 ? errno : 0 }
      if code != 0 { waiting.takeRetainedValue().end(none, code) }
    }
  }

  /// The answer from the cache, for one statx a plane and a look-up; nil: `place` has to ask.
  public func known(_ planes: [Int32], _ hints: Hints = Hints()) -> Placement? {
    var now = primed_placement.empty
    let found = withQuery(planes, hints) { query in
      core.withLock { primed_client_peek($0.client, &query, &now) }
    }
    return found > 0 ? Placement(now) : nil
  }

  private func ask(_ planes: [Int32], _ hints: Hints, _ asker: Asker) {
    var now = primed_placement.empty
    let waiting = Unmanaged.passRetained(asker)
    let (result, code) = withQuery(planes, hints) { query in
      core.withLock {
        let result = primed_client_place(
          $0.client, &query, &now,
          { placement, data in
            let asker = Unmanaged<Asker>.fromOpaque(data!).takeRetainedValue()
            asker.answer?.resume(returning: Placement(placement!.pointee))
          }, waiting.toOpaque())
        return (result, errno)
      }
    }
    guard result != 0 else { return }
    waiting.release()
    if result > 0 {
      asker.answer?.resume(returning: Placement(now))
    } else {
      asker.answer?.resume(throwing: PrimedClientError(errno: code))
    }
  }

  private func withQuery<R>(
    _ planes: [Int32], _ hints: Hints, _ body: (inout primed_query) -> R
  ) -> R {
    planes.withUnsafeBufferPointer { fds in
      var query = primed_query(hints)
      query.planes = fds.baseAddress
      query.n_planes = UInt32(fds.count)
      guard let candidates = hints.candidates else { return body(&query) }
      // An empty list differs from nil, so it needs an address.
      return (candidates.map { dev_t($0) } + [0]).withUnsafeBufferPointer {
        query.candidates = $0.baseAddress
        query.n_candidates = UInt32(candidates.count)
        return body(&query)
      }
    }
  }
}

extension Place {
  fileprivate static func all(of advice: primed_advice) -> [Place] {
    (0..<Int(advice.n_places)).compactMap { advice.places[$0]?.pointee }.map { place in
      Place(
        device: UInt64(place.device), memory: Placement.Memory(rawValue: place.memory) ?? .unknown,
        accesses: (0..<Int(place.n_accesses)).map {
          Placement.Access(rawValue: place.accesses[$0]) ?? .unknown
        })
    }
  }
}

extension primed_placement {
  fileprivate static var empty: primed_placement {
    var empty = primed_placement()
    empty.size = MemoryLayout<primed_placement>.size
    return empty
  }
}

extension primed_query {
  fileprivate init(_ hints: Hints) {
    self.init()
    size = MemoryLayout<primed_query>.size
    sampling_device = dev_t(hints.samplingDevice)
    target_device = dev_t(hints.targetDevice)
    primary_device = dev_t(hints.primaryDevice)
    usage = hints.usage.rawValue
    format = hints.format
    has_modifier = hints.modifier != nil
    modifier = hints.modifier ?? 0
    client = hints.client
    verdicts = hints.verdicts
    wake = hints.wake
    fresh = hints.fresh
  }
}
