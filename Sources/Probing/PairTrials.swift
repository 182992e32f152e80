// What PairMeasurement needs of devices and introspection.

internal import DRM
internal import Glibc
internal import Introspection
internal import Linux
internal import Placement

/// Implemented by `DeviceTrials`, and by the tests without devices.
protocol PairTrials: AnyObject {
  /// Whether introspection is right about where buffers of this driver are.
  func believes(_ driver: String) -> Bool
  func isAwake(_ device: DeviceDescription) -> Bool
  func isThere(_ device: DeviceDescription) -> Bool
  /// In the device's dedicated memory; `done` with nil where it sleeps or has no room.
  func makeBuffer(on device: ProbeWorkers.Choice, done: @escaping (ScratchBuffer?) -> Void)
  /// Where introspection sees it.
  func memory(of buffer: ScratchBuffer) -> Memory
  func importBuffer(
    _ buffer: ScratchBuffer, into importer: ProbeWorkers.Choice,
    done: @escaping (Result<DeviceNode.Import?, NotImported>) -> Void)
}

/// The real devices.
final class DeviceTrials: PairTrials {
  private let workers: ProbeWorkers
  private let source: IntrospectionSource
  private let reader: DMABufReader

  init(workers: ProbeWorkers, source: IntrospectionSource, reader: DMABufReader) {
    self.workers = workers
    self.source = source
    self.reader = reader
  }

  func believes(_ driver: String) -> Bool { source.believes(driver) }

  func isAwake(_ device: DeviceDescription) -> Bool { !sleeps(device) }

  func isThere(_ device: DeviceDescription) -> Bool { access(device.sysfsPath, F_OK) == 0 }

  func makeBuffer(on device: ProbeWorkers.Choice, done: @escaping (ScratchBuffer?) -> Void) {
    workers.makeScratchBuffer(device, in: [.dedicated], done: done)
  }

  func memory(of buffer: ScratchBuffer) -> Memory {
    let fd = buffer.fd.rawValue
    guard let identity = reader.identity(of: fd), let seen = source.introspect(fd, identity) else {
      return .unknown
    }
    return seen.residency
  }

  func importBuffer(
    _ buffer: ScratchBuffer, into importer: ProbeWorkers.Choice,
    done: @escaping (Result<DeviceNode.Import?, NotImported>) -> Void
  ) {
    workers.importOwn(buffer, .none, into: importer, then: done)
  }
}
