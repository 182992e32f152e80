// What a process does with a simulated machine: opens nodes, imports, reads records. Where NO_MOVE
// is ignored, an import with it moves like any other, and is counted.

internal import Glibc
package import Linux
package import Placement

/// The bit that the RFC (dri-devel, 2024-10-13) gives to DRM_PRIME_FD_TO_HANDLE_NO_MOVE.
package let noMoveFlag: UInt32 = 1

extension SimulatedKernel {
  /// Opens the render node, else the card node, and wakes the device.
  package func open(_ device: Int) throws(Errno) -> SimulatedFile {
    guard devices[device].plugged else { throw Errno(ENODEV) }
    guard devices[device].description.node != nil else { throw Errno(ENOENT) }
    guard scenario.devices[device].openable else { throw Errno(EACCES) }
    if devices[device].facts.openWakes { wake(device) }
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

  /// PRIME_FD_TO_HANDLE. Importing the same DMA-BUF again returns the same handle, which is counted
  /// once.
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

  /// What the driver recorded as the domain of an imported buffer's allocation: for another
  /// device's buffer always system memory.
  package func record(of dmabuf: SimulatedDMABuf, in file: SimulatedFile) -> DriverRecord {
    guard devices[file.device].facts.keepsRecord else { return .none }
    return .preferred(fate(of: dmabuf, on: file.device) == .own ? dmabuf.home : .system)
  }

  /// Whether a client's use of this buffer on this device would hang it.
  package func useHangs(_ identity: BufferIdentity, on device: Int) -> Bool {
    dmabuf(identity).map { fate(of: $0, on: device) == .hangs } ?? false
  }

  func isRegistered(_ dmabuf: SimulatedDMABuf) -> Bool {
    guard case .device(let exporter) = dmabuf.exporter else { return false }
    return isAlive(exporter, dmabuf.instance)
  }

  // MARK: inside

  /// What an import of this buffer into this device, and its use there, do.
  enum Fate { case own, inPlace, moves, hangs, fails }

  /// - Parameter memory: where it lies; nil: where it lies now.
  func fate(of dmabuf: SimulatedDMABuf, on device: Int, in memory: Memory? = nil) -> Fate {
    let memory = memory ?? dmabuf.residency
    func reaches(_ how: Reach.How, _ exporter: Int?) -> Bool {
      self.reaches.contains(Reach(importer: device, exporter: exporter, how: how))
    }
    switch dmabuf.exporter {
    case .nobody:
      if reaches(.system, nil) { return .inPlace }
      if reaches(.hangs, nil) { return .hangs }
      return reachesOfNobodyAreListed ? .fails : .inPlace
    case .scratch: return memory == .dedicated ? .moves : .inPlace
    case .device(let exporter):
      let alive = isAlive(exporter, dmabuf.instance)
      if exporter == device { return alive ? .own : memory == .system ? .inPlace : .fails }
      if !alive && memory == .dedicated { return .fails }
      if reaches(memory == .dedicated ? .dedicated : .system, exporter) { return .inPlace }
      if reaches(.hangs, exporter) { return .hangs }
      if memory == .dedicated, isUnmappable(exporter, by: device) { return .fails }
      return memory == .dedicated && reaches(.system, exporter) ? .moves : .fails
    }
  }

  private func isUnmappable(_ exporter: Int, by device: Int) -> Bool {
    let facts = devices[exporter].facts
    return facts.isUnmappable && devices[device].facts.driver != facts.driver
  }

  private var reachesOfNobodyAreListed: Bool {
    scenario.reaches.contains { $0.exporter == nil && $0.how == .system }
  }

  private func attach(
    _ dmabuf: SimulatedDMABuf, to device: Int, heeds: Bool
  ) throws(Errno) {
    let fate = fate(of: dmabuf, on: device)
    if fate == .own { return }
    let (model, facts) = (scenario.devices[device], devices[device].facts)
    if !model.imports, !facts.refusesAfterAttach { throw Errno(EINVAL) }
    attachments += 1
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

  private func exporter(of dmabuf: SimulatedDMABuf) -> SimulatedDevice? {
    guard case .device(let exporter) = dmabuf.exporter else { return nil }
    return devices[exporter]
  }

  /// Whether the import alone maps, and so moves, nothing. Until 6.15 dma_buf_dynamic_attach mapped
  /// where one of the two was not dynamic.
  private func mapsAtUse(_ dmabuf: SimulatedDMABuf, on device: Int) -> Bool {
    devices[device].facts.isDynamic
      && (scenario.kernel.version > KernelVersion(6, 15)
        || exporter(of: dmabuf)?.facts.isDynamic == true)
  }

  func movesAtAttach(_ dmabuf: SimulatedDMABuf) -> Bool {
    guard let exporter = exporter(of: dmabuf), dmabuf.residency == .dedicated,
      isRegistered(dmabuf)
    else { return false }
    return exporter.facts.attach(on: scenario.kernel.version) == .moves
  }

  private func wakeExporterAtAttach(_ dmabuf: SimulatedDMABuf) {
    guard isRegistered(dmabuf), case .device(let index) = dmabuf.exporter else { return }
    if devices[index].facts.attach(on: scenario.kernel.version) == .wakes { wake(index) }
  }

  private func refusal(of dmabuf: SimulatedDMABuf, by driver: String) -> Int32 {
    let dedicated = dmabuf.residency == .dedicated
    let facts = exporter(of: dmabuf)?.facts ?? DriverFacts("")
    return facts.refusal(of: dedicated, by: driver)
  }

  /// Out of dedicated memory, for good. The exporter copies it, which wakes the exporter.
  private func move(_ dmabuf: SimulatedDMABuf) {
    dmabuf.residency = .system
    guard case .device(let exporter) = dmabuf.exporter else { return }
    wake(exporter)
    harm.moves += 1
  }

  private func keepsMaster(_ file: SimulatedFile) {
    guard file.isMaster, !file.counted else { return }
    file.counted = true
    harm.masters += 1
  }

  func isAlive(_ device: Int, _ instance: Int) -> Bool {
    devices[device].plugged && devices[device].instance == instance
  }
}
