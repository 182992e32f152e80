// What imports do to buffers on this machine, tried with buffers of our own: no client's is touched.
//
// A page in an exporter's dedicated memory is looked at by the introspecting program, imported by
// another device without the no-move flag, let go of, and looked at again. That is done once a pair of
// different drivers, with devices that are awake and while nobody waits for an answer. Only the import is seen
// and not the importer's first use, so a page that stayed permits nothing: see `PairTable`.
//
// What was found is kept while primed runs, by the drivers and their versions (a kernel does not
// change under it). It is not written down: measuring anew takes less than a file would take from the
// sandbox, which has none to write to.

internal import DRM
internal import Engine
internal import Glibc
internal import Introspection
internal import Kernel
internal import Linux
internal import Placement

final class Calibration {
  /// There are other rows now.
  var onChange: (([PairRow]) -> Void)?

  private let loop: EventLoop
  private let workers: ProbeWorkers
  private let source: IntrospectionSource
  private let reader: DMABufReader
  private var found: [(pair: Pair, row: PairRow)] = []
  /// Attempts that told nothing: memory was full, or the buffer was being moved just then.
  private var failures: [Pair: Int] = [:]
  private var isUnderWay = false

  private static let attempts = 3
  /// Until it is seen again whether anybody waits for an answer.
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
    loop: EventLoop, workers: ProbeWorkers, source: IntrospectionSource, reader: DMABufReader
  ) {
    self.loop = loop
    self.workers = workers
    self.source = source
    self.reader = reader
  }

  /// The witness lied.
  func forget() {
    failures = [:]
    guard !found.isEmpty else { return }
    found = []
    onChange?([])
  }

  /// Measures what can be measured now, one pair after the other.
  func goOn(_ engine: QueryEngine) {
    guard !isUnderWay, next(engine) != nil else { return }
    isUnderWay = true
    loop.soon(after: engine.isIdle ? 0 : Self.pause) { [weak self, weak engine] in
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
        && Self.isAwake($0.description)
    }.map { (slot: $0.slot, device: $0.description) }
    for exporter in awake
    where source.believes(exporter.device.driver) && canSacrifice(driver: exporter.device.driver) {
      for importer in awake where importer.device.driver != exporter.device.driver {
        let pair = Pair(
          exporter: MeasuredDriver(exporter.device), importer: MeasuredDriver(importer.device))
        if isWanted(pair, engine) { return (pair, exporter, importer) }
      }
    }
    return nil
  }

  /// What is said to fail or to hang is not tried.
  private func isWanted(_ pair: Pair, _ engine: QueryEngine) -> Bool {
    !found.contains { $0.pair == pair } && failures[pair, default: 0] < Self.attempts
      && engine.knownPair(pair.exporter.name, pair.importer.name)?.neverWorks != true
  }

  private static func isAwake(_ device: DeviceDescription) -> Bool {
    runtimePower(sysfsPath: device.sysfsPath) != .suspended
  }

  private func take(_ row: PairRow?, of pair: Pair) {
    guard source.believes(pair.exporter.name), let row else {
      failures[pair, default: 0] += 1
      return
    }
    // Of another build of these drivers, perhaps.
    found.removeAll { $0.pair.isOfSameDrivers(as: pair) }
    found.append((pair, row))
    onChange?(found.map(\.row))
  }

  // MARK: Measuring

  private func measure(_ trial: Trial, done: @escaping (PairRow?) -> Void) {
    workers.makeSacrifice(trial.exporter, in: [.dedicated]) { [self] sacrifice in
      // An import may resume the exporter.
      guard let sacrifice, memory(of: sacrifice) == .dedicated,
        Self.isAwake(trial.exporter.device)
      else { return done(nil) }
      workers.run(
        trial.importer.slot, trial.importer.device, work: (trial.importer.device, sacrifice),
        { node, work in
          let use = node.use(
            work.0, wake: false, { $0.importBuffer(work.1.fd.rawValue, noMove: false) })
          guard case .used(let result) = use else { return .imported(nil) }
          return .imported(result)
        }
      ) { [self] end in
        guard case .done(.imported(let result?)) = end,
          // Of one that has gone a refusal tells nothing.
          access(trial.importer.device.sysfsPath, F_OK) == 0
        else { return done(nil) }
        let refusal: String? = if case .failed(let errno) = result { "\(errno)" } else { nil }
        done(
          PairRow.measured(
            trial.pair.exporter, trial.pair.importer, refusal: refusal,
            memory: memory(of: sacrifice), release: kernelRelease()))
      }
    }
  }

  private func memory(of sacrifice: Sacrifice) -> Memory {
    let fd = sacrifice.fd.rawValue
    guard let identity = reader.identity(of: fd), let seen = source.introspect(fd, identity) else {
      return .unknown
    }
    return seen.residency
  }
}
