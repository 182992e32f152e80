// Kernel introspection on a real machine: the source, and the scratch buffers by which it is
// checked.

package import DRM
package import Engine
internal import Introspection
package import Linux
internal import Placement
internal import Ports

package final class Introspector {
  package var isOn: Bool { source.isOn }
  private let source: IntrospectionSource
  package let measurement: PairMeasurement
  /// Introspection was switched on or off.
  package var onSwitch: (() -> Void)?
  private let reader: DMABufReader
  private let workers: ProbeWorkers
  private let loop: EventLoop
  private weak var engine: QueryEngine?
  /// Drivers whose check is in progress.
  private var checking: Set<String> = []
  private var wasOn = false
  private var tells = false

  package init(loop: EventLoop, reader: DMABufReader, workers: ProbeWorkers) {
    self.loop = loop
    self.reader = reader
    self.workers = workers
    source = IntrospectionSource(loop: loop, socket: introspectSocket) {
      [unowned workers, unowned reader] done in
      workers.plainBuffers.request { done($0.flatMap { Self.held($0, reader) }) }
    }
    measurement = PairMeasurement(
      soon: { [loop] in loop.soon(after: $0, $1) },
      trials: DeviceTrials(workers: workers, source: source, reader: reader))
    reader.introspector = { [unowned source] in source.introspect($0, $1) }
    source.onChange = { [unowned self] in changed() }
  }

  package func start(_ engine: QueryEngine) {
    self.engine = engine
    devicesChanged()
    source.ask()
  }

  package func devicesChanged() {
    guard let engine else { return }
    source.devicesChanged(engine.devices.map(\.description))
    check(engine)
    measurement.goOn(engine)
  }

  /// Earlier answers may change now. Told on the loop's next turn, since the change may come in the
  /// middle of an observation.
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
      if !wasOn { measurement.forget() }
      onSwitch?()
    }
    if let engine { measurement.goOn(engine) }
  }

  /// Makes a buffer on an awake device of each driver that is not yet believed. Sleeping devices
  /// are not woken for this; they are checked when they are next seen awake.
  private func check(_ engine: QueryEngine) {
    let waiting = Set(source.devicesToCheck.map(\.driver)).subtracting(checking)
    for driver in waiting where Driver(name: driver).info.ownIoctls {
      let awake = workers.devices().first {
        $0.device.driver == driver && $0.device.render != nil
          && !sleeps($0.device)
      }
      if let awake { check(awake) }
    }
  }

  private func check(_ choice: ProbeWorkers.Choice) {
    let device = choice.device
    checking.insert(device.driver)
    workers.makeScratchBuffer(choice, in: [.dedicated, .system]) { [weak self] scratch in
      guard let self else { return }
      checking.remove(device.driver)
      guard let scratch, let held = Self.held(scratch, reader) else { return }
      source.check(KnownBuffer(held, on: device, in: scratch.memory))
    }
  }

  private static func held(_ scratch: ScratchBuffer, _ reader: DMABufReader) -> HeldBuffer? {
    guard let fd = try? OwnedFD.duplicate(scratch.fd.rawValue),
      let identity = reader.identity(of: fd.rawValue)
    else { return nil }
    return HeldBuffer(identity: identity, fd: fd)
  }
}
