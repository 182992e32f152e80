// Who may have exported a dma-buf, as a set that each source of evidence narrows. It never becomes
// empty: where two sources contradict each other, the stronger one holds.

/// From the weakest source to the strongest.
package enum ExporterSource: UInt8, Sendable, Comparable {
  case none, siblings, name, refusals, introspection, record
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Devices that may have exported a buffer, and whether it may be of no device or of one that is
/// gone.
package struct ExporterSet: Sendable, Equatable {
  package struct Beyond: OptionSet, Sendable, Hashable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Of no DRM device: udmabuf, a heap, a camera.
    package static let noDevice = Beyond(rawValue: 1)
    /// Of a device that has gone; a buffer may outlive its exporter.
    package static let gone = Beyond(rawValue: 2)
    /// Any exporter at all: the sources contradict each other.
    package static let anything = Beyond(rawValue: 4)
    /// Of a module that is no DRM driver (vfio-pci, a camera's); in which memory is not known.
    package static let otherModule = Beyond(rawValue: 8)
  }

  package var devices: DeviceSet
  package var beyond: Beyond
  package init(_ devices: DeviceSet, beyond: Beyond = []) {
    self.devices = devices
    self.beyond = beyond
  }

  package var isEmpty: Bool { devices.isEmpty && beyond.isEmpty }
  /// Every device that is there, or none of them, may have exported it.
  package var isAnyones: Bool { beyond.contains(.anything) }
  /// It may lie in memory that is neither known to be system memory nor a known device's.
  package var isInUnknownMemory: Bool {
    beyond.contains(.anything) || beyond.contains(.otherModule)
  }
  /// The only possible exporter.
  package var certain: DeviceSlot? { beyond.isEmpty ? devices.only : nil }
  /// The one device left, though the buffer may be of none or of one that has gone.
  package var likely: DeviceSlot? { devices.only }

  package func without(_ slot: DeviceSlot) -> Self {
    var others = self
    others.devices.remove(slot)
    return others
  }

  package func intersection(_ other: Self) -> Self {
    Self(devices.intersection(other.devices), beyond: beyond.intersection(other.beyond))
  }

  /// The device in this slot has gone.
  package mutating func scrub(_ slot: DeviceSlot) {
    guard devices.contains(slot) else { return }
    devices.remove(slot)
    beyond.insert(.gone)
  }
}

/// The exporters that all sources leave, and which source narrowed them. It is kept with each
/// buffer and takes 10 bytes.
package struct ExporterEvidence: Sendable, Equatable {
  package private(set) var candidates: ExporterSet
  /// `source` in the low bits, `contradicted` in the highest.
  private var state: UInt8 = 0

  /// The strongest source that has narrowed it.
  package private(set) var source: ExporterSource {
    get { ExporterSource(rawValue: state & 0x7f)! }
    set { state = state & 0x80 | newValue.rawValue }
  }
  /// Some source contradicted another.
  package private(set) var contradicted: Bool {
    get { state & 0x80 != 0 }
    set { state = state & 0x7f | (newValue ? 0x80 : 0) }
  }

  package init(of buffer: BufferIdentity, among devices: DeviceTable) {
    candidates = devices.possibleExporters(of: buffer)
  }

  package mutating func narrow(to set: ExporterSet, by other: ExporterSource) {
    let both = candidates.intersection(set)
    if !both.isEmpty {
      if both != candidates || other < source { source = max(source, other) }
      candidates = both
    } else {
      contradicted = true
      if other >= source && !set.isEmpty { (candidates, source) = (set, other) }
    }
  }

  package mutating func scrub(_ slot: DeviceSlot) { candidates.scrub(slot) }
}

extension DeviceTable {
  /// By a buffer's age alone (inodes of DMA-BUFs count up). One that is younger than the latest
  /// unplug is not of a device that was unplugged; one that is younger than a sleep that still
  /// lasts is not of the sleeping device, since allocating wakes it.
  package func possibleExporters(of buffer: BufferIdentity) -> ExporterSet {
    var set = ExporterSet(exporting, beyond: .noDevice)
    if buffer.inode < goneBefore { set.beyond.insert(.gone) }
    for slot in sleeping where asleepSince(slot) <= buffer.inode { set.devices.remove(slot) }
    return set
  }

  /// By a buffer's age and by the name in its fdinfo: what can be read without an import.
  package func exporters(of buffer: BufferIdentity, named name: ExporterName) -> ExporterSet {
    var evidence = ExporterEvidence(of: buffer, among: self)
    if let named = exporters(named: name) { evidence.narrow(to: named, by: .name) }
    return evidence.candidates
  }

  /// The exporters to assume before an import. If sources contradict each other, an answer may go
  /// by the stronger one, but an import that could move the buffer may not.
  package func exporters(forImportsBy evidence: ExporterEvidence) -> ExporterSet {
    guard evidence.contradicted else { return evidence.candidates }
    return ExporterSet(exporting, beyond: [.noDevice, .gone, .anything])
  }

  /// Exporters that show this name; nil: the name is unknown, and excludes none.
  package func exporters(named name: ExporterName) -> ExporterSet? {
    switch name {
    case .unknown:
      return nil
    // Accelerators (/dev/accel) are among them: devices without a node that export.
    case .drm:
      return exporterNames.exporters(named: "drm")
    case .named(let name):
      return exporterNames.exporters(named: name)
    }
  }
}

extension ExporterName {
  /// The exporter, by a name that is not known to be of system memory. Every module shows its own
  /// name, so a name that is no DRM driver's is of another module. nvidia.ko shows a driver's name:
  /// its buffers lie in the memory of the same GPU as nvidia-drm's.
  var unknownModule: ExporterSet.Beyond {
    guard case .named(let name) = self, Driver(name: name) == .other else { return .anything }
    return .otherModule
  }

  /// Exporters that hand out pages of system memory and are no device's: udmabuf, the heaps of
  /// drivers/dma-buf/heaps (system_heap.c, cma_heap.c; a CMA heap has its area's name), and V4L2's
  /// (videobuf2-dma-contig.c, -dma-sg.c, -vmalloc.c, which use KBUILD_MODNAME).
  var isSystemMemory: Bool {
    guard case .named(let name) = self else { return false }
    let names: Set = [
      "udmabuf", "system", "system-uncached", "reserved", "default_cma_region", "linux,cma",
      "videobuf2_dma_contig", "videobuf2_dma_sg", "videobuf2_vmalloc", "videobuf2_common",
    ]
    return names.contains(name)
  }
}
