// Kernel introspection on a real machine: the source, and the buffers of our own that it is checked
// with.

internal import DRM
internal import Engine
internal import Introspection
internal import Kernel
internal import Linux
internal import Placement

final class Introspector {
  /// Where primed-introspect.socket listens.
  static let socket = "/run/primed/introspect"

  var isOn: Bool { source.isOn }
  private let source: IntrospectionSource
  let calibration: Calibration
  /// It went on or off.
  var onSwitch: (() -> Void)?
  private let reader: DMABufReader
  private let workers: ProbeWorkers
  private let loop: EventLoop
  private weak var engine: QueryEngine?
  /// Drivers with a check under way.
  private var checking: Set<String> = []
  private var wasOn = false
  private var tells = false

  init(loop: EventLoop, reader: DMABufReader, workers: ProbeWorkers) {
    self.loop = loop
    self.reader = reader
    self.workers = workers
    source = IntrospectionSource(loop: loop, socket: Self.socket) { [unowned reader] in
      guard let fd = try? DeviceNode.systemBuffer(), let identity = reader.identity(of: fd.rawValue)
      else {
        return nil
      }
      return HeldBuffer(identity: identity, fd: fd)
    }
    calibration = Calibration(loop: loop, workers: workers, source: source, reader: reader)
    reader.introspector = { [unowned source] in source.introspect($0, $1) }
    source.onChange = { [unowned self] in changed() }
  }

  func start(_ engine: QueryEngine) {
    self.engine = engine
    devicesChanged()
    source.ask()
  }

  func devicesChanged() {
    guard let engine else { return }
    source.devicesChanged(engine.devices.map(\.description))
    check(engine)
    calibration.goOn(engine)
  }

  /// Answers that were given before may be others now. Told on the loop's next turn: a change may
  /// come in the middle of a look.
  private func changed() {
    if let engine { check(engine) }
    guard !tells else { return }
    tells = true
    loop.soon { [weak self] in self?.tell() }
  }

  private func tell() {
    tells = false
    engine?.forgetBuffers()
    if source.isOn != wasOn {
      wasOn = source.isOn
      if !wasOn { calibration.forget() }
      onSwitch?()
    }
    if let engine { calibration.goOn(engine) }
  }

  /// Makes a buffer on an awake device of each driver that is not believed yet. Who sleeps is not
  /// woken for it: his time comes when he is seen awake.
  private func check(_ engine: QueryEngine) {
    let waiting = Set(source.devicesToCheck.map(\.driver)).subtracting(checking)
    for driver in waiting where canSacrifice(driver: driver) {
      let awake = workers.devices().first {
        $0.device.driver == driver && $0.device.render != nil
          && runtimePower(sysfsPath: $0.device.sysfsPath) != .suspended
      }
      if let awake { check(awake) }
    }
  }

  private func check(_ choice: ProbeWorkers.Choice) {
    let device = choice.device
    checking.insert(device.driver)
    workers.makeSacrifice(choice, in: [.dedicated, .system]) { [weak self] sacrifice in
      guard let self else { return }
      checking.remove(device.driver)
      guard let sacrifice, let fd = try? OwnedFD.duplicate(sacrifice.fd.rawValue),
        let identity = reader.identity(of: fd.rawValue)
      else { return }
      source.check(
        KnownBuffer(HeldBuffer(identity: identity, fd: fd), on: device, in: sacrifice.memory))
    }
  }
}
