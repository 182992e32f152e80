// For compositors in Swift: asks primed on which DRM device a DMA-BUF should be used.
//
// The C library does the work, on a queue of its own; see primed-client.h for what a question means,
// what is cached and when the default comes.

import CPrimedClient
import Dispatch
import Glibc

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

public final class PrimedClient: @unchecked Sendable {
  // Touched on `queue` only, but for its birth and its end.
  private let client: OpaquePointer
  private let queue = DispatchQueue(label: "org.primed.client")
  private let source: any DispatchSourceRead

  /// - Parameters:
  ///   - address: a D-Bus address; nil: the system bus.
  ///   - defaultDevice: the answer when primed gives none in time.
  ///   - timeout: milliseconds.
  public init(address: String? = nil, defaultDevice: UInt64, timeout: UInt32 = 500) throws {
    var options = primed_client_options()
    options.default_device = dev_t(defaultDevice)
    options.timeout = timeout
    let opened: OpaquePointer? =
      if let address {
        address.withCString {
          options.address = $0
          return primed_client_open(&options)
        }
      } else {
        primed_client_open(&options)
      }
    guard let opened else { throw PrimedClientError(errno: errno) }
    client = opened
    source = DispatchSource.makeReadSource(
      fileDescriptor: primed_client_get_fd(opened), queue: queue)
    let handle = Handle(client: opened)
    // A lost bus has been told to those who asked; the next question connects again.
    source.setEventHandler { _ = primed_client_dispatch(handle.client) }
    source.setCancelHandler { primed_client_close(handle.client) }
    source.activate()
  }

  deinit { source.cancel() }

  /// For closures that run on the queue.
  private struct Handle: @unchecked Sendable { let client: OpaquePointer }

  /// One question under way; owned by the C library until it calls back.
  private final class Asker {
    let answer: CheckedContinuation<Placement, any Error>
    init(_ answer: CheckedContinuation<Placement, any Error>) { self.answer = answer }
  }

  /// Borrows `planes`, the buffer's DMA-BUF fds, until it returns.
  public func place(_ planes: [Int32], _ hints: Hints = Hints()) async throws -> Placement {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { [self] in ask(planes, hints, Asker(continuation)) }
    }
  }

  private func ask(_ planes: [Int32], _ hints: Hints, _ asker: Asker) {
    var now = primed_placement()
    let waiting = Unmanaged.passRetained(asker)
    let result = planes.withUnsafeBufferPointer { fds in
      var query = primed_query(hints)
      query.planes = fds.baseAddress
      query.n_planes = UInt32(fds.count)
      return primed_client_place(
        client, &query, &now,
        { placement, data in
          let asker = Unmanaged<Asker>.fromOpaque(data!).takeRetainedValue()
          asker.answer.resume(returning: Placement(placement!.pointee))
        }, waiting.toOpaque())
    }
    guard result != 0 else { return }
    let code = errno
    waiting.release()
    if result > 0 {
      asker.answer.resume(returning: Placement(now))
    } else {
      asker.answer.resume(throwing: PrimedClientError(errno: code))
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
