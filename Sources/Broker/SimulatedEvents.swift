// What happens to a simulated machine while primed runs on it: the scenario's steps that are the
// machine's own (plug, suspend, migrate, hang ...), in order, one at each SIGUSR1. So that whoever
// asks over the bus decides when.

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

  /// In words; nil: not the machine's doing.
  private func play(_ action: Step.Action) -> String? {
    let scenario = kernel.scenario
    switch action {
    case .unplug(let device):
      kernel.unplug(device)
      return "unplug \(scenario.devices[device].id)"
    case .plug(let device):
      kernel.plug(device)
      return "plug \(scenario.devices[device].id)"
    case .suspend(let device):
      kernel.suspend(device)
      return "suspend \(scenario.devices[device].id)"
    case .resume(let device):
      kernel.resume(device)
      return "resume \(scenario.devices[device].id)"
    case .hang(let device):
      kernel.hang(device)
      return "hang \(scenario.devices[device].id)"
    case .migrate(let buffer, let memory):
      kernel.migrate(buffer, to: memory)
      return "migrate \(scenario.buffers[buffer].id)"
    case .place, .advance, .release, .unrelease, .look: return nil
    }
  }
}
