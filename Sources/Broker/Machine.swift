// What stands behind the engine: this machine's kernel, or one in a file.

internal import DRM
internal import Engine
internal import Kernel
internal import Linux
internal import Placement
internal import Simulation
internal import Udev

/// The four ports of an engine, and what keeps them going.
final class Machine {
  let devices: any DeviceSource
  let reader: any BufferReader
  let prober: any Prober
  let time: any TimeSource
  /// What the pair table goes by; nil: it does not say.
  let kernel: KernelVersion?
  /// Tells the prober which devices there are, once the engine knows.
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
    let kernel = SimulatedKernel(scenario)
    self.kernel = simulatedKernelVersion
    let clock = BootClock()
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

  /// The sources of evidence that this machine has now, strongest first.
  func evidence(_ noMove: NoMove) -> [String] {
    let introspection = introspector?.isOn ?? simulatesIntrospection
    return ["declared", "driver-record"] + (introspection ? ["introspection"] : [])
      + (noMove == .honoured ? ["no-move-import"] : []) + ["safe-import", "passive"]
  }

  /// Introspection came, or went.
  var onEvidenceChange: (() -> Void)? {
    get { introspector?.onSwitch }
    set { introspector?.onSwitch = newValue }
  }

  /// Imports were measured, or what was measured is void.
  var onMeasuredPairs: (([PairRow]) -> Void)? {
    get { introspector?.calibration.onChange }
    set { introspector?.calibration.onChange = newValue }
  }

  /// The service is up: what it can do without is fetched now.
  func start(_ engine: QueryEngine) { introspector?.start(engine) }

  func devicesChanged() { introspector?.devicesChanged() }

  /// A simulated driver may hang: what is left is due at its deadline.
  private static func runPending(
    _ prober: SimulatedProber, _ clock: BootClock, _ loop: EventLoop
  ) {
    prober.runPending()
    guard let due = prober.nextDue else { return }
    loop.soon(after: due > clock.now ? due - clock.now : 0) { runPending(prober, clock, loop) }
  }
}

private final class BootClock: TimeSource {
  var now: Milliseconds { bootMilliseconds() }
}
