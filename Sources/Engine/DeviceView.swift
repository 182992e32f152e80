// The devices as the engine shows them.

package import Placement

/// What changed in the registry, for those who show it.
package struct DeviceChange: Sendable {
  package enum Kind: Sendable { case added, changed, removed }
  package var kind: Kind
  package var device: DeviceView
}

/// A device as it is shown: what it is and how it is doing.
package struct DeviceView: Sendable, Equatable {
  package var slot: DeviceSlot
  package var description: DeviceDescription
  package var state: DeviceState
  package var noMove: NoMove
  package var imports: Bool
  package var isPrimary: Bool
}
