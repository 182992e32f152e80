// Limits how often PlacementsInvalidated is sent. Changes of runtime power, which any user can
// cause by asking, are collected and sent at most once a second.

internal import Linux
internal import Placement

final class Invalidations {
  private let loop: EventLoop
  private let tell: ([DeviceNumber]) -> Void
  /// Devices that are not sent yet, each once.
  private var untold: [DeviceNumber] = []
  /// Until it fires, changes of power alone are collected.
  private var pause: EventSource?

  init(loop: EventLoop, tell: @escaping ([DeviceNumber]) -> Void) {
    self.loop = loop
    self.tell = tell
  }

  func add(_ devices: [DeviceNumber], byPowerAlone: Bool) {
    for device in devices where !untold.contains(device) { untold.append(device) }
    if !byPowerAlone || pause == nil { flush() }
  }

  private func flush() {
    let devices = untold
    untold = []
    tell(devices)
    pause = try? loop.after(Limits.timeBetweenPowerNews) { [unowned self] in
      pause = nil
      if !untold.isEmpty { flush() }
    }
  }
}
