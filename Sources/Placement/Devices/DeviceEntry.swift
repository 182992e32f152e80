// A device in the registry.

/// A device and its current state.
package struct DeviceEntry: Sendable, Equatable {
  package var description: DeviceDescription
  package var state = DeviceState.ready
  /// Opening its node failed at the last try. Others may be able to: it can still be chosen.
  package var unopenable = false
  package var noMove = NoMove.unknown
  /// Whether it imported a scratch buffer; nil: not asked yet.
  package var importsSeen: Bool?
  /// Set while it sleeps: the DMA-BUF inode counter when this sleep was first seen; `.max`: not
  /// known.
  package var asleepSince: UInt64?
  /// Its total awake time when this sleep was first seen.
  package var activeTime: Milliseconds?
  package init(_ description: DeviceDescription) { self.description = description }

  package var imports: Bool { description.imports && importsSeen != false }
  /// It refused a buffer of no device, but imports what it exported itself (virtio_gpu's
  /// gem_prime_import: ENODEV for all but its own).
  package var importsOwnOnly: Bool {
    description.imports && importsSeen == false && description.exports
  }
  package var assessed: Bool { importsSeen != nil }
}
