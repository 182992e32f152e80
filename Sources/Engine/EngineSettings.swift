// What the engine is given at the start, and what it refuses.

package import Placement

package enum EngineError: Error, Sendable, Equatable {
  /// No device has this number.
  case unknownDevice
  /// It is released already.
  case released
  /// The bound on questions under way is reached.
  case limitsExceeded
}

package struct EngineSettings: Sendable {
  package var cachedBuffers = Limits.cachedBuffers
  package var pendingQueries = Limits.questionsInAll
  package var siblingGroups = Limits.siblingGroups
  package var largestImport = Limits.largestImport
  /// A user's rows of the pair table, at the start.
  package var ownPairs: [PairRow] = []
  /// The running kernel; nil: unknown, and rows bound to versions don't hold.
  package var kernel: KernelVersion?
  package init() {}
}
