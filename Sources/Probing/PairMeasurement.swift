// What imports do to buffers on this machine, measured with scratch buffers: no client's buffer is
// touched.
//
// Introspection looks where a scratch buffer in an exporter's dedicated memory lies; another device
// imports it without NO_MOVE and closes it again; introspection looks once more. This is done once
// for each pair of different drivers, with devices that are awake and while no query waits. Only
// the import is seen and not the importer's first use, so a buffer that stayed permits nothing: see
// `PairTable`.
//
// Results are kept while primed runs, by the drivers and their versions (the kernel does not change
// meanwhile). They are not stored: measuring again is cheap, and primed's sandbox has no place to
// write to.

internal import DRM
internal import Engine
internal import Linux
package import Placement

package final class PairMeasurement {
  /// The measured rows changed.
  package var onChange: (([PairRow]) -> Void)?

  /// Calls a function later, on the loop's thread.
  private let soon: (_ delay: Milliseconds, @escaping () -> Void) -> Void
  private let trials: any PairTrials
  private var found: [(pair: Pair, row: PairRow)] = []
  /// Attempts without a result: memory was full, or the buffer was moved at that moment.
  private var failures: [Pair: Int] = [:]
  private var isUnderWay = false

  private static let attempts = 3
  /// How long to wait before looking again whether a query waits.
  private static let pause: Milliseconds = 500

  private struct Pair: Hashable {
    var exporter: MeasuredDriver
    var importer: MeasuredDriver

    func isOfSameDrivers(as other: Pair) -> Bool {
      (exporter.name, importer.name) == (other.exporter.name, other.importer.name)
    }
  }

  private typealias Trial = (
    pair: Pair, exporter: ProbeWorkers.Choice, importer: ProbeWorkers.Choice
  )

  init(
    soon: @escaping (_ delay: Milliseconds, @escaping () -> Void) -> Void, trials: any PairTrials
  ) {
    self.soon = soon
    self.trials = trials
  }

  /// Introspection failed a known answer: drops what was measured by it.
  func forget() {
    failures = [:]
    guard !found.isEmpty else { return }
    found = []
    onChange?([])
  }

  /// Measures the pairs that can be measured now, one after the other.
  func goOn(_ engine: QueryEngine) {
    guard !isUnderWay, next(engine) != nil else { return }
    isUnderWay = true
    soon(engine.isIdle ? 0 : Self.pause) { [weak self, weak engine] in
      guard let self, let engine else { return }
      isUnderWay = false
      guard engine.isIdle, let trial = next(engine) else { return goOn(engine) }
      isUnderWay = true
      measure(trial) { [weak self, weak engine] row in
        guard let self else { return }
        isUnderWay = false
        take(row, of: trial.pair)
        if let engine { goOn(engine) }
      }
    }
  }

  // MARK: Which

  private func next(_ engine: QueryEngine) -> Trial? {
    let awake = engine.devices.filter {
      $0.state == .ready && !$0.description.ignored && $0.description.render != nil
        && trials.isAwake($0.description)
    }.map { (slot: $0.slot, device: $0.description) }
    for exporter in awake
    where trials.believes(exporter.device.driver) && exporter.device.row.info.ownIoctls {
      for importer in awake where importer.device.driver != exporter.device.driver {
        let pair = Pair(
          exporter: MeasuredDriver(exporter.device), importer: MeasuredDriver(importer.device))
        if isWanted(pair, engine) { return (pair, exporter, importer) }
      }
    }
    return nil
  }

  /// Pairs that are known to fail or to hang are not tried.
  private func isWanted(_ pair: Pair, _ engine: QueryEngine) -> Bool {
    !found.contains { $0.pair == pair } && failures[pair, default: 0] < Self.attempts
      && engine.knownPair(pair.exporter.name, pair.importer.name)?.neverWorks != true
  }

  private func take(_ row: PairRow?, of pair: Pair) {
    guard trials.believes(pair.exporter.name), let row else {
      failures[pair, default: 0] += 1
      return
    }
    // The old row may be of another build of these drivers.
    found.removeAll { $0.pair.isOfSameDrivers(as: pair) }
    found.append((pair, row))
    onChange?(found.map(\.row))
  }

  // MARK: Measuring

  private func measure(_ trial: Trial, done: @escaping (PairRow?) -> Void) {
    trials.makeBuffer(on: trial.exporter) { [self] scratch in
      // An import may resume the exporter.
      guard let scratch, trials.memory(of: scratch) == .dedicated,
        trials.isAwake(trial.exporter.device)
      else { return done(nil) }
      trials.importBuffer(scratch, into: trial.importer) { [self] end in
        guard case .success(let result?) = end,
          // A refusal by a device that has gone tells nothing.
          trials.isThere(trial.importer.device)
        else { return done(nil) }
        let refusal: String? = if case .failed(let errno) = result { "\(errno)" } else { nil }
        done(
          PairRow.measured(
            trial.pair.exporter, trial.pair.importer, refusal: refusal,
            memory: trials.memory(of: scratch), release: kernelRelease()))
      }
    }
  }
}
