// A scenario's machine: its devices and DMA-BUFs, and what happens to them. It behaves like the
// kernels that the guest tests show, and uses none of primed's rules. What a process does with it
// is in SimulatedImports.swift.

internal import Glibc
package import Linux
package import Placement
package import Ports

/// Harm that primed must not do, counted since the start.
package struct HarmDone: Equatable, Sendable {
  /// Clients' buffers moved out of dedicated memory by an import.
  package var moves = 0
  /// Suspended devices woken.
  package var wakes = 0
  /// Files that were DRM master and on which the first call was not DROP_MASTER.
  package var masters = 0
}

package final class SimulatedKernel {
  package private(set) var scenario: Scenario
  package internal(set) var harm = HarmDone()
  /// Made so far, to buffers that another device exported or none did.
  package internal(set) var attachments = 0
  var devices: [SimulatedDevice] = []
  private(set) var buffersByID: [String: Int] = [:]
  private(set) var reaches: Set<Reach> = []
  let named = NamedBuffers()
  var openFiles = 0
  var openHandles = 0
  private let time: any TimeSource
  private var handler: ((DeviceEvent) -> Void)?
  /// By index of the scenario's buffer, then by plane; empty: not allocated yet.
  private var dmabufs: [[SimulatedDMABuf]] = []
  /// Where each buffer will lie when it is allocated.
  private var residencies: [Memory] = []
  private var byInode: [UInt64: SimulatedDMABuf] = [:]
  /// The next DMA-BUF's.
  private var inode: UInt64 = 4096
  private var watched: [Watched] = []

  package init(_ scenario: Scenario, time: any TimeSource = VirtualClock()) {
    self.scenario = scenario
    self.time = time
    reaches = Set(scenario.reaches)
    for device in scenario.devices.indices { makeDevice(device) }
    for buffer in scenario.buffers.indices { makeBuffer(buffer) }
  }

  // MARK: what it is made of

  private func makeDevice(_ index: Int) {
    devices.append(SimulatedDevice(scenario, index, at: time.now))
    if !devices[index].isUp { leaveInodes(to: index) }
  }

  private func makeBuffer(_ index: Int) {
    buffersByID[scenario.buffers[index].id] = index
    residencies.append(scenario.buffers[index].residency)
    dmabufs.append([])
  }

  /// Adds a device, without an event; returns its index.
  package func add(_ device: DeviceModel) -> Int {
    scenario.devices.append(device)
    makeDevice(devices.count)
    return devices.count - 1
  }

  /// Adds a buffer; returns its index.
  package func add(_ buffer: BufferModel) -> Int {
    scenario.buffers.append(buffer)
    makeBuffer(dmabufs.count)
    return dmabufs.count - 1
  }

  package func add(_ reach: Reach) {
    scenario.reaches.append(reach)
    reaches.insert(reach)
  }

  // MARK: what happens to the machine

  package func play(_ event: Step.DeviceEvent, on device: Int) {
    switch event {
    case .unplug: unplug(device)
    case .plug: plug(device)
    case .suspend: suspend(device)
    case .resume: devices[device].resume(at: time.now)
    case .hang: devices[device].hung = true
    case .reset: devices[device].hung = false
    }
  }

  package func unplug(_ device: Int) {
    guard devices[device].plugged else { return }
    if devices[device].isUp { leaveInodes(to: device) }
    devices[device].unplug(at: time.now)
    handler?(.absent(sysfsPath: devices[device].description.sysfsPath))
  }

  /// The device is a new instance: buffers that it allocated before stay with the old one.
  package func plug(_ device: Int) {
    guard !devices[device].plugged else { return }
    devices[device].plug(at: time.now)
    handler?(.present(devices[device].currentDescription))
  }

  /// Changes the device's description, as udev or the driver may.
  package func change(_ device: Int, _ edit: (inout DeviceDescription) -> Void) {
    edit(&devices[device].description)
    handler?(.present(devices[device].currentDescription))
  }

  /// Sends no uevent: real machines send none for runtime power.
  package func suspend(_ device: Int) {
    guard devices[device].isUp else { return }
    leaveInodes(to: device)
    devices[device].suspend(at: time.now)
  }

  /// The exporter's driver moves all planes, as under memory pressure. Not counted as harm.
  package func migrate(_ buffer: Int, to memory: Memory) {
    residencies[buffer] = memory
    for plane in dmabufs[buffer] where !plane.pinned { plane.residency = memory }
  }

  // MARK: dma-bufs

  /// Reserves inodes for buffers that the device exported before now and that are first asked about
  /// later.
  private func leaveInodes(to device: Int) {
    devices[device].earlierInode = inode
    inode += 1 << 20
  }

  /// nil: no such buffer or plane.
  package func dmabuf(_ buffer: Int, plane: Int) -> SimulatedDMABuf? {
    guard dmabufs.indices.contains(buffer) else { return nil }
    let planes = allocated(buffer)
    return planes.indices.contains(plane) ? planes[plane] : nil
  }

  func dmabuf(_ identity: BufferIdentity) -> SimulatedDMABuf? { byInode[identity.inode] }

  /// The scenario's buffer that has this DMA-BUF as a plane.
  func buffer(of identity: BufferIdentity) -> Int? {
    dmabufs.firstIndex { $0.contains { $0.identity == identity } }
  }

  /// A buffer is allocated when it is first asked about, or if the exporter can't allocate then,
  /// before the exporter suspended or was unplugged.
  private func allocated(_ buffer: Int) -> [SimulatedDMABuf] {
    if !dmabufs[buffer].isEmpty { return dmabufs[buffer] }
    let model = scenario.buffers[buffer]
    dmabufs[buffer] = (0..<model.planes).map { _ in
      let dmabuf = SimulatedDMABuf(
        identity: BufferIdentity(inode: takeInode(for: model.exporter)),
        exporter: model.exporter.map { .device($0) } ?? .nobody,
        instance: model.exporter.map { devices[$0].instance } ?? 0, home: model.home,
        residency: residencies[buffer], name: name(of: model))
      byInode[dmabuf.identity.inode] = dmabuf
      return dmabuf
    }
    return dmabufs[buffer]
  }

  func takeInode(for exporter: Int?) -> UInt64 {
    if let exporter, !devices[exporter].isUp {
      devices[exporter].earlierInode += 1
      return devices[exporter].earlierInode
    }
    inode += 1
    return inode
  }

  private func name(of model: BufferModel) -> ExporterName {
    if let name = model.name { return name == "drm" ? .drm : .named(name) }
    let version = scenario.kernel.version
    return model.exporter.map { devices[$0].facts.shownName(on: version) } ?? .named("udmabuf")
  }

  // MARK: what is held

  /// GEM handles, DMA-BUF fds and device files that are still open. An fd counts after `watch`.
  package var held: Int {
    watched.removeAll { $0.buffer == nil }
    return openFiles + openHandles + watched.count
  }

  /// Counts this buffer's fd as held until it is closed.
  package func watch(_ buffer: HeldBuffer) {
    watched.removeAll { $0.buffer == nil || $0.buffer === buffer }
    watched.append(Watched(buffer: buffer))
  }

  // MARK: inside

  func wake(_ device: Int) {
    guard devices[device].suspended else { return }
    devices[device].resume(at: time.now)
    harm.wakes += 1
  }

  func index(of description: DeviceDescription) -> Int? {
    devices.firstIndex { $0.description.sysfsPath == description.sysfsPath }
  }
}

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

  package func power(of device: DeviceDescription) -> PowerReading {
    guard let index = index(of: device), devices[index].plugged else {
      return PowerReading(.unknown)
    }
    return PowerReading(
      devices[index].suspended ? .suspended : .active,
      activeTime: devices[index].awakeTime(at: time.now))
  }
}
