// The daemon's life: put together, announce, run, end.

package import Bus
internal import DRM
internal import Engine
internal import Glibc
internal import Kernel
internal import Linux
internal import Placement
internal import Simulation
internal import Udev

package struct DaemonOptions: Sendable {
  package var bus = BusChoice.system
  /// A scenario file, or the name of a built-in one; nil: this machine.
  package var simulate: String?
  package var cachedBuffers = 16_384
  /// A file of own rows of the pair table; nil: the usual one, or none for a simulated machine.
  package var pairs: String?
  package init() {}

  fileprivate var pairsPath: String? { pairs ?? (simulate == nil ? ownPairsPath : nil) }

  /// The usual file need not be there; one that is named must.
  fileprivate func checkPairs() throws(StartError) {
    guard let pairs else { return }
    do throws(Errno) { _ = try readFile(pairs) } catch {
      throw StartError(description: "--pairs \(pairs) can't be read: \(error)")
    }
  }
}

package struct StartError: Error, CustomStringConvertible {
  package var description: String

  fileprivate static func noBus(_ bus: BusChoice, _ error: Errno) -> Self {
    let mend =
      switch bus {
      case .system: "is dbus running?"
      case .session: "is this a session? dbus-run-session starts one"
      case .address: "is this its address?"
      }
    return Self(description: "no connection to the bus: \(error); \(mend)")
  }

  fileprivate static func noName(_ error: Errno) -> Self {
    let mend =
      switch error.code {
      case EEXIST: "another primed has it; see: busctl status \(Names.bus)"
      case EACCES: "the bus lets the user primed own it; see: systemctl start primed"
      default: "\(error)"
      }
    return Self(description: "can't own the bus name \(Names.bus): \(mend)")
  }
}

package final class Daemon {
  private let loop: EventLoop
  private let engine: QueryEngine
  private let service: Service
  private let connection: BusConnection
  private var objects: [DeviceSlot: DeviceObject] = [:]
  /// The NoMove property as it was last told.
  private var toldNoMove = NoMove.unknown
  private var sources: [EventSource] = []
  private let pairsPath: String?
  /// Keeps what stands behind the engine.
  private let machine: Machine

  package init(_ options: DaemonOptions) throws(StartError) {
    do throws(Errno) { loop = try EventLoop() } catch {
      throw StartError(description: "no event loop: \(error)")
    }
    try options.checkPairs()
    machine = try Machine(options, loop)
    var settings = EngineSettings()
    settings.cachedBuffers = options.cachedBuffers
    // Users are bounded one by one, by Quotas.
    settings.pendingQueries = 65_536
    settings.kernel = machine.kernel
    pairsPath = options.pairsPath
    settings.ownPairs = pairsPath.map(readOwnPairs) ?? []
    engine = QueryEngine(
      devices: machine.devices, reader: machine.reader, prober: machine.prober,
      time: machine.time, settings: settings)
    service = Service(
      engine: engine, reader: machine.reader, loop: loop, sources: machine.evidence)
    do throws(Errno) {
      connection = try BusConnection(options.bus, on: loop, serving: service)
    } catch {
      throw StartError.noBus(options.bus, error)
    }
    service.connection = connection
    connection.onLeft = { [service] in service.left($0) }
    connection.onIdentified = { [service] in service.identified($0, as: $1) }
    machine.lend(engine)
  }

  /// Runs until SIGTERM or SIGINT, or until the bus is lost. Returns the exit code.
  package func run() throws(StartError) -> Int32 {
    do throws(Errno) {
      try handleSignals()
      show()
      try engine.start()
    } catch {
      throw StartError(description: "can't watch the devices: \(error)")
    }
    do throws(Errno) { try connection.takeName() } catch { throw StartError.noName(error) }
    loop.keepWatchdogFed()
    announce()
    machine.start(engine)
    do throws(Errno) { return try loop.run() } catch {
      throw StartError(description: "the event loop failed: \(error)")
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
    sources.append(
      try loop.onSignal(SIGHUP) { [unowned self] in
        Notify.state("RELOADING=1\nMONOTONIC_USEC=\(Notify.monotonicMicroseconds)")
        if let pairsPath {
          engine.use(ownPairs: readOwnPairs(pairsPath))
          connection.propertiesChanged(["Pairs"])
        }
        engine.rescan()
        announce()
      })
  }

  /// Keeps the objects on the bus in step with the registry.
  private func show() {
    engine.onDeviceChange = { [unowned self] change in apply(change) }
    machine.onEvidenceChange = { [unowned self] in connection.propertiesChanged(["Evidence"]) }
    machine.onMeasuredPairs = { [unowned self] rows in
      engine.use(measuredPairs: rows)
      connection.propertiesChanged(["Pairs"])
    }
    engine.onInvalidated = { [unowned self] generation, devices in
      connection.propertiesChanged(["Generation", "PrimaryDevice"])
      connection.placementsInvalidated(generation, devices)
    }
  }

  private func apply(_ change: DeviceChange) {
    // An accelerator is no device to send a buffer to.
    if change.device.description.node != nil { showDevice(change) }
    // Which one is the primary device is a matter of all of them.
    for view in engine.devices { objects[view.slot]?.update(DeviceProperties(view)) }
    machine.devicesChanged()
    if engine.noMove != toldNoMove {
      toldNoMove = engine.noMove
      connection.propertiesChanged(["NoMove", "Evidence"])
    }
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

  /// A release is told of by who knows for whom it is.
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

  /// Ready means that the name is ours: not before.
  private func announce() { Notify.state("READY=1\n" + status) }

  private var status: String {
    let n = objects.count
    return "STATUS=\(n) DRM device\(n == 1 ? "" : "s")"
  }
}

extension DeviceProperties {
  fileprivate init(_ view: DeviceView) {
    self.init(
      description: view.description, state: view.state, noMove: view.noMove,
      imports: view.imports, isPrimary: view.isPrimary)
  }
}
