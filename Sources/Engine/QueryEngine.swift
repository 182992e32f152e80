// The way of a query: look up, plan, probe, merge, decide. Owns the devices and the cache; lives on
// the loop's thread; knows no D-Bus and no driver.

package import Kernel
package import Linux
package import Placement

/// What changed in the registry, for those who show it.
package struct DeviceChange: Sendable {
  package enum Kind: Sendable { case added, changed, removed }
  package var kind: Kind
  package var device: DeviceView
}

/// A device as it is shown: what it is and how it is doing.
package struct DeviceView: Sendable, Equatable {
  package var slot: DeviceSlot
  package var description: DeviceDescription
  package var state: DeviceState
  package var noMove: NoMove
  package var imports: Bool
  package var isPrimary: Bool
}

package enum EngineError: Error, Sendable, Equatable {
  /// No device has this number.
  case unknownDevice
  /// It is released already.
  case released
  /// The bound on questions under way is reached.
  case limitsExceeded
}

package struct EngineSettings: Sendable {
  package var cachedBuffers = 16_384
  package var pendingQueries = 4_096
  package init() {}
}

package final class QueryEngine {
  package private(set) var generation: UInt64 = 1
  /// Something in the registry changed; `generation` was bumped before.
  package var onDeviceChange: ((DeviceChange) -> Void)?
  /// Once per change that can alter answers: the generation and the nodes concerned.
  package var onInvalidated: ((UInt64, [DeviceNumber]) -> Void)?
  /// What is known of this buffer changed, so that `decide` may now answer otherwise.
  package var onRefreshed: ((BufferIdentity) -> Void)?

  package init(
    devices: any DeviceSource, reader: any BufferReader, prober: any Prober, time: any TimeSource,
    settings: EngineSettings = EngineSettings()
  ) {}

  /// Listens, then enumerates.
  package func start() throws(Errno) {}

  /// The answer from what is cached; nil when the buffer has to be looked at first (never seen,
  /// `fresh`, or an unsettled answer whose recheck time has come). Allocates nothing on a hit.
  package func answerNow(_ query: Query) -> Answer? { nil }

  /// Looks at the buffer first. `buffers` are the distinct dma-bufs of the planes, held until the
  /// probes are over and no longer. Questions about a buffer that is being probed join that probe.
  package func answer(
    _ query: Query, holding buffers: [HeldBuffer],
    then: @escaping (Result<Answer, EngineError>) -> Void
  ) {}

  /// Reasons and details of an answer just given to the same query.
  package func explain(_ query: Query, _ answer: Answer) -> Explanation { Explanation() }

  /// In stable order.
  package var devices: [DeviceView] { [] }
  package var primary: DeviceView? { nil }
  /// Either node's number names the device. Applies an event that has not come yet.
  package func device(_ number: DeviceNumber) -> DeviceView? { nil }
  /// For the whole machine: `honoured` if any device heeds it, `ignored` if all that were asked don't.
  package var noMove: NoMove { .unknown }

  /// Closes every node of it and stops probing; `then` once they are closed.
  package func release(_ number: DeviceNumber, then: @escaping () -> Void) throws(EngineError) {}
  package func unrelease(_ number: DeviceNumber) {}

  /// Counters by name, e.g. "queries", "hits", "probes", "imports", "timeouts", "cached-buffers".
  package var statistics: [(name: StaticString, value: UInt64)] { [] }
}
