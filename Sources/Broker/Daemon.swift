// The daemon: construction, start, run, end.

internal import Bus
internal import CShims
internal import DRM
internal import Engine
internal import Glibc
internal import Linux
internal import Placement
internal import Ports
internal import Simulation
internal import Udev

package final class Daemon {
  private let loop: EventLoop
  private let engine: QueryEngine
  private let service: Service
  private let connection: BusConnection
  private var objects: [DeviceSlot: DeviceObject] = [:]
  private var sources: [EventSource] = []
  /// How often the recent answers were written to the log.
  private var answerLists = 0
  /// A call of its own has come back over the bus since the watchdog was fed.
  private var hasHeardItself = false
  private let pairsPath: String?
  /// The machine behind the engine; kept alive here.
  private let backend: Backend

  package init(_ options: DaemonOptions) throws(StartError) {
    primed_return_large_memory()
    do throws(Errno) { loop = try EventLoop() } catch {
      throw StartError(description: "no event loop: \(error)")
    }
    try options.checkPairs()
    backend = try Backend(options, loop)
    var settings = EngineSettings()
    settings.cachedBuffers = options.cachedBuffers
    settings.kernel = backend.kernel
    pairsPath = options.pairsPath
    settings.ownPairs = pairsPath.map(readOwnPairs) ?? []
    engine = QueryEngine(
      devices: backend.devices, reader: backend.reader, prober: backend.prober,
      time: backend.time, settings: settings)
    do throws(Errno) {
      service = try Service(
        engine: engine, reader: backend.reader, loop: loop, sources: backend.evidence)
    } catch {
      throw StartError(description: "callers can't be kept apart: \(error)")
    }
    do throws(Errno) {
      connection = try BusConnection(options.bus, on: loop, serving: service)
      try connection.addBroker()
    } catch {
      throw StartError.noBus(options.bus, error)
    }
    service.connection = connection
    connection.onLeft = { [service] in service.left($0) }
    connection.onIdentified = { [service] in service.identified($0, as: $1) }
    connection.onLost = { [loop] in loop.fail("the bus is lost: \(whyTheBusMayBeLost())") }
    backend.lend(engine)
  }

  /// Runs until SIGTERM or SIGINT, or until an error that is logged. Returns the exit code.
  package func run() throws(StartError) -> Int32 {
    do throws(Errno) {
      try handleSignals()
      show()
      try engine.start()
    } catch {
      throw StartError(description: "can't watch the devices: \(error)")
    }
    do throws(Errno) { try connection.takeName() } catch { throw StartError.noName(error) }
    keepWatchdogFed()
    announce()
    backend.start(engine)
    // A blocked close() of a caller's fd keeps the process, with all its open fds, until it
    // returns. The bus name must be free for the next primed before that.
    defer { connection.close() }
    do throws(Errno) { return try loop.run() } catch {
      throw StartError(description: "the event loop failed: \(error)")
    }
  }

  /// Feeds the watchdog after primed has answered a call of its own over the bus: that shows that
  /// the bus delivers calls to its name and that primed answers them. A turn of the loop shows
  /// neither.
  private func keepWatchdogFed() {
    guard let interval = Notify.watchdogInterval else { return }
    hasHeardItself = false
    loop.soon(after: interval / 3) { [weak self] in self?.askItself(interval, tries: 3) }
  }

  /// dbus-daemon refuses a call while its queue to primed is full of anybody's fds: one that does
  /// not come back shows nothing, three do.
  private func askItself(_ interval: Milliseconds, tries: Int) {
    connection.askOurselves(within: interval / 3) { [weak self] in self?.hasHeardItself = true }
    loop.soon(after: interval / 9) { [weak self] in
      guard let self else { return }
      if hasHeardItself {
        Notify.state("WATCHDOG=1")
        keepWatchdogFed()
      } else if tries > 1 {
        askItself(interval, tries: tries - 1)
      } else {
        loop.fail("calls to \(Names.bus) don't come back to us by way of the bus")
      }
    }
  }

  private func handleSignals() throws(Errno) {
    for signal in [SIGTERM, SIGINT] {
      sources.append(
        try loop.onSignal(signal) { [unowned self] in
          Notify.state("STOPPING=1")
          loop.exit(0)
        })
    }
    sources.append(try loop.onSignal(SIGUSR2) { [unowned self] in logAnswers() })
    sources.append(
      try loop.onSignal(SIGHUP) { [unowned self] in
        Notify.state("RELOADING=1\nMONOTONIC_USEC=\(Notify.monotonicMicroseconds)")
        if let pairsPath {
          engine.use(ownPairs: readOwnPairs(pairsPath))
          connection.propertiesChanged([.pairs])
        }
        engine.rescan()
        announce()
      })
  }

  /// Writes the recent answers to the log at SIGUSR2, as systemd-resolved does with its caches at
  /// SIGUSR1: for root, and for users who may read the log.
  private func logAnswers() {
    let told = engine.told
    answerLists += 1
    Log.write(.notice, Told.head(answerLists, count: told.count))
    for one in told { Log.write(.notice, one.line) }
  }

  /// Keeps the objects on the bus in step with the registry.
  private func show() {
    engine.onDeviceChange = { [unowned self] change in apply(change) }
    backend.onEvidenceChange = { [unowned self] in connection.propertiesChanged([.evidence]) }
    backend.onMeasuredPairs = { [unowned self] rows in
      engine.use(measuredPairs: rows)
      connection.propertiesChanged([.pairs])
    }
    let invalidations = Invalidations(loop: loop) { [unowned self] devices in
      connection.propertiesChanged([.generation, .primaryDevice])
      connection.placementsInvalidated(engine.generation, devices)
    }
    engine.onInvalidated = { invalidations.add($0, byPowerAlone: $1) }
  }

  private func apply(_ change: DeviceChange) {
    let toldNoMove = NoMove(of: objects.values.map(\.noMove))
    // Accelerators have no object: no buffer is sent to them.
    if change.device.description.node != nil { showDevice(change) }
    // Any change of devices may change which one is the primary device.
    for view in engine.devices { objects[view.slot]?.update(DeviceProperties(view)) }
    backend.devicesChanged()
    if engine.noMove != toldNoMove { connection.propertiesChanged([.noMove, .evidence]) }
  }

  private func showDevice(_ change: DeviceChange) {
    let view = change.device
    let name = view.description.node?.path ?? view.description.stableID
    let field: [(name: StaticString, value: String)] = [("DEVICE", view.description.stableID)]
    switch change.kind {
    case .added:
      Log.write(.info, "\(name) is there: \(view.description.driver)", field)
      do throws(Errno) {
        objects[view.slot] = try connection.addDevice(DeviceProperties(view))
      } catch {
        Log.write(.err, "can't show \(name) on the bus: \(error)", field)
      }
    case .changed: logState(of: view, name, field)
    case .removed:
      Log.write(.info, "\(name) is gone", field)
      objects[view.slot] = nil
    }
    if change.kind != .changed { Notify.state(status) }
  }

  /// Releases are logged by Service, which knows the caller.
  private func logState(
    of view: DeviceView, _ name: String, _ field: [(name: StaticString, value: String)]
  ) {
    switch (objects[view.slot]?.state, view.state) {
    case (.ready, .unresponsive):
      Log.write(.warning, "\(name) does not answer: primed leaves it alone until it does", field)
    case (.unresponsive, .ready): Log.write(.notice, "\(name) answers again", field)
    default: Log.write(.debug, "\(name) changed", field)
    }
  }

  /// READY=1 only after the bus name is owned.
  private func announce() { Notify.state("READY=1\n" + status) }

  private var status: String {
    let n = objects.count
    return "STATUS=\(n) DRM device\(n == 1 ? "" : "s")"
  }
}

/// sd-bus leaves the bus, without an error, when a message has more fds than there is room for.
private func whyTheBusMayBeLost() -> String {
  let limit = Int32(clamping: primed_fd_limit())
  let free = (0..<limit).count { fcntl($0, F_GETFD) < 0 }
  return free < Limits.fdsOfAMessage
    ? "its message had no room: \(Int(limit) - free) of \(limit) fds are in use,"
      + " \(ReceivedFDs.waiting) of them by files whose close is stuck"
    : "it ended, or closed the connection"
}

extension DeviceProperties {
  fileprivate init(_ view: DeviceView) {
    self.init(
      description: view.description, state: view.state, noMove: view.noMove,
      imports: view.imports, isPrimary: view.isPrimary)
  }
}
