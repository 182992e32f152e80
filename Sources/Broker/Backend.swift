// The machine behind the engine: this one, or a simulated one.

internal import DRM
internal import Engine
internal import Linux
internal import Placement
internal import Ports
internal import Probing
internal import Simulation
internal import Udev

/// The engine's four ports, and the objects that they need.
final class Backend {
  let devices: any DeviceSource
  let reader: any BufferReader
  let prober: any Prober
  let time: any TimeSource
  /// The kernel version for the pair table; nil: unknown.
  let kernel: KernelVersion?
  /// Gives the prober the engine's list of devices.
  let lend: (QueryEngine) -> Void
  private var events: SimulatedEvents?
  private let introspector: Introspector?
  private let simulatesIntrospection: Bool

  convenience init(_ options: DaemonOptions, _ loop: EventLoop) throws(StartError) {
    if let name = options.simulate {
      try self.init(simulating: name, loop)
    } else {
      try self.init(real: loop)
    }
  }

  private init(real loop: EventLoop) throws(StartError) {
    let buffers = DMABufReader()
    reader = buffers
    do throws(Errno) {
      let workers = try ProbeWorkers(loop: loop)
      introspector = Introspector(loop: loop, reader: buffers, workers: workers)
      devices = try UdevSource(loop: loop)
      prober = workers
      lend = { engine in
        workers.devices = { [unowned engine] in
          engine.devices.filter {
            ($0.state == .ready || $0.state == .unresponsive) && !$0.description.ignored
          }.map { ($0.slot, $0.description) }
        }
        workers.onAnswer = { [unowned engine] slot in engine.answered(slot) }
      }
    } catch {
      throw StartError(description: "can't reach udev: \(error)")
    }
    time = BootClock()
    kernel = KernelVersion(kernelRelease())
    simulatesIntrospection = false
  }

  private init(simulating name: String, _ loop: EventLoop) throws(StartError) {
    let scenario: Scenario
    do throws(ScenarioError) { scenario = try Scenario(named: name) } catch {
      throw StartError(description: "--simulate: \(error)")
    }
    let clock = BootClock()
    let kernel = SimulatedKernel(scenario, time: clock)
    self.kernel = scenario.kernel.version
    let simulated = SimulatedProber(kernel, time: clock)
    simulated.onWork = { [unowned simulated] in
      loop.soon { Self.runPending(simulated, clock, loop) }
    }
    devices = kernel
    reader = kernel
    prober = simulated
    time = clock
    lend = { _ in }
    introspector = nil
    simulatesIntrospection = scenario.kernel.introspection
    do throws(Errno) { events = try SimulatedEvents(kernel, on: loop) } catch {
      throw StartError(description: "can't simulate events: \(error)")
    }
  }

  /// The sources of evidence in use now, strongest first.
  func evidence(_ noMove: NoMove) -> [String] {
    let introspection = introspector?.isOn ?? simulatesIntrospection
    return ["declared", "driver-record"] + (introspection ? ["introspection"] : [])
      + (noMove == .honoured ? ["no-move-import"] : []) + ["safe-import", "passive"]
  }

  /// Introspection was switched on or off.
  var onEvidenceChange: (() -> Void)? {
    get { introspector?.onSwitch }
    set { introspector?.onSwitch = newValue }
  }

  /// Rows were measured, or the measured ones were dropped.
  var onMeasuredPairs: (([PairRow]) -> Void)? {
    get { introspector?.measurement.onChange }
    set { introspector?.measurement.onChange = newValue }
  }

  /// Called when the service is up: starts introspection, which it can do without at first.
  func start(_ engine: QueryEngine) { introspector?.start(engine) }

  func devicesChanged() { introspector?.devicesChanged() }

  /// A simulated driver may hang: calls `runPending` again at the deadline.
  private static func runPending(
    _ prober: SimulatedProber, _ clock: BootClock, _ loop: EventLoop
  ) {
    prober.runPending()
    guard let due = prober.nextDue else { return }
    let now = clock.now
    loop.soon(after: due > now ? due - now : 0) { runPending(prober, clock, loop) }
  }
}

private final class BootClock: TimeSource {
  var now: Milliseconds { bootMilliseconds() }
}
