// The machine of a scenario: devices, dma-bufs, and what a kernel does with them. It behaves like the
// kernels that the guest shows and knows nothing of primed's rules: where the NO_MOVE flag is ignored, a
// "harmless" import moves like any other, and the machine counts it.

internal import Glibc
package import Kernel
package import Linux
package import Placement

/// What must not happen, counted since the start.
package struct HarmDone: Equatable, Sendable {
  /// Clients' buffers moved out of dedicated memory by an import.
  package var moves = 0
  /// Suspended devices woken.
  package var wakes = 0
  /// Files that were DRM master and on which DROP_MASTER was not the first call.
  package var masters = 0
}

package final class SimulatedKernel {
  package let scenario: Scenario
  package private(set) var harm = HarmDone()
  private(set) var devices: [SimulatedDevice]
  private var handler: ((DeviceEvent) -> Void)?
  /// By index of the scenario's buffer, then plane.
  private let dmabufs: [[SimulatedDMABuf]]
  let buffersByID: [String: Int]
  /// By inode of the memfds that stand for them, which primed has seen.
  var named: [ino_t: (device: dev_t, dmabuf: SimulatedDMABuf)] = [:]
  private var openFiles = 0
  private var openHandles = 0
  private var watched: [Watched] = []

  package init(_ scenario: Scenario) {
    self.scenario = scenario
    devices = scenario.devices.indices.map { SimulatedDevice(scenario, $0) }
    buffersByID = Dictionary(
      uniqueKeysWithValues: scenario.buffers.enumerated().map { ($1.id, $0) })
    dmabufs = scenario.buffers.enumerated().map { index, model in
      (0..<model.planes).map { plane in
        SimulatedDMABuf(
          identity: BufferIdentity(inode: UInt64(firstInode + index * Planes.limit + plane)),
          exporter: model.exporter.map { .device($0) } ?? .nobody, home: model.home,
          residency: model.residency)
      }
    }
  }

  // MARK: what happens to the machine

  package func unplug(_ device: Int) {
    guard devices[device].plugged else { return }
    devices[device].unplug()
    handler?(.absent(sysfsPath: devices[device].description.sysfsPath))
  }

  /// As a new device: what was allocated on it before stays with the one that is gone.
  package func plug(_ device: Int) {
    guard !devices[device].plugged else { return }
    devices[device].plug()
    handler?(.present(devices[device].description))
  }

  /// No uevent tells of it, as on a real machine.
  package func suspend(_ device: Int) { devices[device].suspended = true }
  package func resume(_ device: Int) { devices[device].suspended = false }

  /// From now on no call into its driver comes back, until it is unplugged.
  package func hang(_ device: Int) { devices[device].hung = true }

  /// The exporter's driver moves all planes, as under memory pressure. Not counted.
  package func migrate(_ buffer: Int, to memory: Memory) {
    for plane in dmabufs[buffer] { plane.residency = memory }
  }

  // MARK: what a process does with it

  /// Opens the render node, else the card node, and wakes the device.
  package func open(_ device: Int) throws(Errno) -> SimulatedFile {
    guard devices[device].plugged else { throw Errno(ENODEV) }
    wake(device)
    openFiles += 1
    let takesMaster = scenario.devices[device].render == nil && !devices[device].hasMaster
    if takesMaster { devices[device].hasMaster = true }
    return SimulatedFile(
      device: device, instance: devices[device].instance, isMaster: takesMaster)
  }

  package func dropMaster(_ file: SimulatedFile) {
    if file.isMaster { devices[file.device].hasMaster = false }
    file.isMaster = false
  }

  package func close(_ file: SimulatedFile) {
    keepsMaster(file)
    dropMaster(file)
    openHandles -= file.handles.count
    file.handles.removeAll()
    openFiles -= 1
  }

  /// PRIME_FD_TO_HANDLE. The same dma-buf again is the same handle, not counted twice.
  package func primeImport(
    _ dmabuf: SimulatedDMABuf, into file: SimulatedFile, flags: UInt32
  ) throws(Errno) {
    keepsMaster(file)
    guard isAlive(file.device, file.instance) else { throw Errno(ENODEV) }
    if scenario.kernel.noMove == .validated, flags & ~noMoveFlag != 0 { throw Errno(EINVAL) }
    let heeds = scenario.kernel.noMove != .ignored && flags & noMoveFlag != 0
    try attach(dmabuf, to: file.device, heeds: heeds)
    if file.handles.insert(dmabuf.identity).inserted { openHandles += 1 }
  }

  package func gemClose(_ dmabuf: SimulatedDMABuf, in file: SimulatedFile) {
    if file.handles.remove(dmabuf.identity) != nil { openHandles -= 1 }
  }

  /// What the driver recorded that an imported buffer was meant for. A foreign buffer's record is
  /// always system memory.
  package func record(of dmabuf: SimulatedDMABuf, in file: SimulatedFile) -> DriverRecord {
    guard DriverFacts.keepsRecord(scenario.devices[file.device].driver) else { return .none }
    return .preferred(fate(of: dmabuf, on: file.device) == .own ? dmabuf.home : .system)
  }

  /// GEM handles, dma-buf fds and device files that are still open. An fd counts from `watch` on.
  package var held: Int {
    watched.removeAll { $0.buffer == nil }
    return openFiles + openHandles + watched.count
  }

  /// Counts this buffer's fd as held for as long as it is.
  package func watch(_ buffer: HeldBuffer) {
    if !watched.contains(where: { $0.buffer === buffer }) {
      watched.append(Watched(buffer: buffer))
    }
  }

  // MARK: inside

  /// What an import of this buffer into this device comes to.
  enum Fate { case own, inPlace, moves, hangs, fails }

  func fate(of dmabuf: SimulatedDMABuf, on device: Int) -> Fate {
    switch dmabuf.exporter {
    case .nobody: return .inPlace
    case .sacrifice: return dmabuf.residency == .dedicated ? .moves : .inPlace
    case .device(let exporter):
      let alive = isAlive(exporter, dmabuf.instance ?? devices[exporter].instance)
      if exporter == device {
        return alive ? .own : dmabuf.residency == .system ? .inPlace : .fails
      }
      if !alive && dmabuf.residency == .dedicated { return .fails }
      let reaches = { how in
        self.scenario.reaches.contains(Reach(importer: device, exporter: exporter, how: how))
      }
      if reaches(dmabuf.residency == .dedicated ? .dedicated : .system) { return .inPlace }
      if reaches(.hangs) { return .hangs }
      return dmabuf.residency == .dedicated && reaches(.system) ? .moves : .fails
    }
  }

  private func attach(
    _ dmabuf: SimulatedDMABuf, to device: Int, heeds: Bool
  ) throws(Errno) {
    let fate = fate(of: dmabuf, on: device)
    if fate == .own { return }
    let model = scenario.devices[device]
    if !model.imports, !DriverFacts.refusesAfterAttach(model.driver) { throw Errno(EINVAL) }
    wakeExporterAtAttach(dmabuf)
    switch model.imports ? fate : .fails {
    case .own, .inPlace, .hangs: return
    case .moves:
      if heeds { throw Errno(EINVAL) }
      if !mapsAtUse(dmabuf, on: device) { move(dmabuf) }
    case .fails:
      if movesAtAttach(dmabuf) {
        if heeds { throw Errno(EINVAL) }
        move(dmabuf)
      }
      throw Errno(refusal(of: dmabuf, by: model.driver))
    }
  }

  /// The import alone moves nothing yet.
  private func mapsAtUse(_ dmabuf: SimulatedDMABuf, on device: Int) -> Bool {
    guard case .device(let exporter) = dmabuf.exporter else { return false }
    return DriverFacts.mapsAtUse(
      exporter: scenario.devices[exporter].driver, importer: scenario.devices[device].driver)
  }

  private func movesAtAttach(_ dmabuf: SimulatedDMABuf) -> Bool {
    guard case .device(let exporter) = dmabuf.exporter, dmabuf.residency == .dedicated,
      isAlive(exporter, dmabuf.instance ?? devices[exporter].instance)
    else { return false }
    return DriverFacts.movesAtAttach(scenario.devices[exporter].driver)
  }

  private func wakeExporterAtAttach(_ dmabuf: SimulatedDMABuf) {
    guard case .device(let exporter) = dmabuf.exporter, scenario.devices[exporter].driver == "xe",
      devices[exporter].plugged
    else { return }
    wake(exporter)
  }

  private func refusal(of dmabuf: SimulatedDMABuf, by driver: String) -> Int32 {
    if case .device(let exporter) = dmabuf.exporter, dmabuf.residency == .dedicated,
      scenario.devices[exporter].driver == "nvidia-drm"
    {
      return ENOMEM
    }
    return driver == "qxl" ? ENOSYS : ENODEV
  }

  /// Out of dedicated memory, for good. Its exporter copies it, awake.
  private func move(_ dmabuf: SimulatedDMABuf) {
    dmabuf.residency = .system
    guard case .device(let exporter) = dmabuf.exporter else { return }
    wake(exporter)
    harm.moves += 1
  }

  private func wake(_ device: Int) {
    guard devices[device].suspended else { return }
    devices[device].suspended = false
    harm.wakes += 1
  }

  private func keepsMaster(_ file: SimulatedFile) {
    guard file.isMaster, !file.counted else { return }
    file.counted = true
    harm.masters += 1
  }

  private func isAlive(_ device: Int, _ instance: Int) -> Bool {
    devices[device].plugged && devices[device].instance == instance
  }

  func index(of description: DeviceDescription) -> Int? {
    devices.firstIndex { $0.description.sysfsPath == description.sysfsPath }
  }

  /// nil: no such buffer or plane. Its client allocates it when it is first seen, so on the device
  /// that is plugged then.
  package func dmabuf(_ buffer: Int, plane: Int) -> SimulatedDMABuf? {
    guard dmabufs.indices.contains(buffer), dmabufs[buffer].indices.contains(plane) else {
      return nil
    }
    let dmabuf = dmabufs[buffer][plane]
    if case .device(let exporter) = dmabuf.exporter, dmabuf.instance == nil {
      dmabuf.instance = devices[exporter].instance
    }
    return dmabuf
  }

  func dmabuf(_ identity: BufferIdentity) -> SimulatedDMABuf? {
    guard identity.inode >= firstInode else { return nil }
    let index = Int(identity.inode) - firstInode
    return dmabuf(index / Planes.limit, plane: index % Planes.limit)
  }

  /// Whether a client's use of this buffer on this device would hang it.
  package func useHangs(_ identity: BufferIdentity, on device: Int) -> Bool {
    dmabuf(identity).map { fate(of: $0, on: device) == .hangs } ?? false
  }

  func isRegistered(_ dmabuf: SimulatedDMABuf) -> Bool {
    guard case .device(let exporter) = dmabuf.exporter, let instance = dmabuf.instance else {
      return false
    }
    return isAlive(exporter, instance)
  }
}

/// The kernel that a simulated one is like, but for what a scenario says of it.
package let simulatedKernelVersion = KernelVersion(6, 12)
/// The bit that the RFC (dri-devel, 2024-10-13) gives to DRM_PRIME_FD_TO_HANDLE_NO_MOVE.
package let noMoveFlag: UInt32 = 1
private let firstInode = 4096

private struct Watched { weak var buffer: HeldBuffer? }

extension SimulatedKernel: DeviceSource {
  package func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno) {
    self.handler = handler
  }

  package func enumerate() -> [DeviceDescription] {
    devices.filter(\.plugged).map(\.currentDescription)
  }

  package func find(_ number: DeviceNumber) -> DeviceDescription? {
    devices.first { $0.plugged && $0.has(number) }?.currentDescription
  }

  package func power(of device: DeviceDescription) -> Power {
    guard let index = index(of: device), devices[index].plugged else { return .unknown }
    return devices[index].suspended ? .suspended : .active
  }
}
