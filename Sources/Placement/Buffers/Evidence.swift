// What one look at a buffer can find out, as plain values.

/// The name that the exporter put into fdinfo's `exp_name` (dma-buf.c, dma_buf_show_fdinfo).
package enum ExporterName: Hashable, Sendable {
  /// fdinfo could not be read.
  case unknown
  /// Shown by every driver that exports by DRM core.
  case drm
  /// A driver's own (`i915`, `virtio_gpu`, ...), `udmabuf`, or a heap's name.
  case named(String)
}

/// An exporting driver's own record of what it was asked to allocate, read on that device.
package enum DriverRecord: Sendable, Equatable {
  case none
  /// The allocation was meant for dedicated memory: proof of the exporter as well, since an
  /// imported buffer is always recorded as system memory (AMDGPU_GEM_OP, RADEON_GEM_OP,
  /// NOUVEAU_GEM_INFO).
  case preferred(Memory)
}

/// How a device is asked about a dma-buf.
package enum ProbeMethod: UInt8, Sendable {
  /// With the NO_MOVE flag; only on a device whose `NoMove` is `honoured`.
  case noMoveImport
  /// Without the flag; only where the plan proved that nothing can move.
  case safeImport
}

package enum ProbeOutcome: Sendable, Equatable {
  /// Imported, handle closed again.
  case reached(DriverRecord)
  /// Refused with EINVAL by a device that heeds NO_MOVE and imports other buffers.
  case wouldMove
  /// Refused in another way: it can't use this buffer at all.
  case refused(errno: Int32)
  /// Not asked, since that would have woken it.
  case asleep
  /// Not asked, since that would have woken the exporter, or attached to a released one's buffer.
  case exporterAway
  /// The device went away, or its nodes were closed for a release, in the middle.
  case gone
  /// Its node can't be opened, though the device is there.
  case unopened
  /// No answer before the deadline.
  case timedOut
}

/// What BPF introspection saw of a dma-buf (Sources/BPFLoader/Program).
package struct Introspection: Sendable, Equatable {
  /// Exporting device's nodes; both `.none` for a buffer of no device.
  package var card: DeviceNumber
  package var render: DeviceNumber
  /// False once the exporter was unplugged.
  package var registered: Bool
  package var residency: Memory
  package var preferred: Memory
  /// How many importers are attached; nil: unknown. A hint, read without their lock: it decides
  /// nothing.
  package var attached: UInt8?
  /// Of these, how many can use the exporter's own memory over the bus; likewise.
  package var peers: UInt8?
  package init(
    card: DeviceNumber, render: DeviceNumber, registered: Bool, residency: Memory,
    preferred: Memory, attached: UInt8? = nil, peers: UInt8? = nil
  ) {
    self.card = card
    self.render = render
    self.registered = registered
    self.residency = residency
    self.preferred = preferred
    self.attached = attached
    self.peers = peers
  }
}
