// What happens to a simulated machine while primed runs on it: the scenario's steps that concern
// the machine (plug, suspend, migrate, hang ...), in order, one at each SIGUSR1, so that a test
// decides when.

internal import Glibc
internal import Linux
internal import Simulation

final class SimulatedEvents {
  private let kernel: SimulatedKernel
  private var steps: ArraySlice<Step>
  private var source: EventSource?

  init(_ kernel: SimulatedKernel, on loop: EventLoop) throws(Errno) {
    self.kernel = kernel
    steps = kernel.scenario.steps[...]
    source = try loop.onSignal(SIGUSR1) { [unowned self] in next() }
  }

  private func next() {
    while let step = steps.popFirst() {
      guard let what = play(step.action) else { continue }
      return Log.write(.info, "simulated: \(what)")
    }
    Log.write(.info, "simulated: nothing more happens")
  }

  /// Describes what happened; nil: the step does not concern the machine.
  private func play(_ action: Step.Action) -> String? {
    let scenario = kernel.scenario
    switch action {
    case .device(let event, let device):
      kernel.play(event, on: device)
      return "\(event.rawValue) \(scenario.devices[device].id)"
    case .migrate(let buffer, let memory):
      kernel.migrate(buffer, to: memory)
      return "migrate \(scenario.buffers[buffer].id)"
    case .place, .advise, .defaults, .advance, .release, .unrelease, .restart, .look: return nil
    }
  }
}
