// Which devices may reach the dedicated memory of another one.

struct PeerSets: Sendable {
  /// By slot of the device that has the memory.
  private var kin: [DeviceSet] = []
  private var cutOff: [DeviceSet] = []

  init(
    _ those: DeviceSelection, _ effects: DriverEffects, systemOnly: DeviceSet,
    _ kernel: KernelVersion?
  ) {
    for (i, entry) in those.entries.enumerated() {
      let slot = DeviceSlot(UInt8(i))
      guard let device = entry?.description else {
        kin.append(DeviceSet())
        cutOff.append(DeviceSet())
        continue
      }
      let inPlace =
        systemOnly.contains(slot)
        ? DeviceSet() : effects.importers(of: slot, in: .dedicated).inPlace
      let always = those { other, _ in other.description.isPaired(with: device) }
        .union(DeviceSet(slot)).union(inPlace)
      let peers = Self.peers(of: device, those, kernel)
      let isOutOfReach = device.power == .suspended && device.row.info.peerToPeer == .ifAwake
      kin.append(isOutOfReach ? always : always.union(peers))
      cutOff.append(isOutOfReach ? peers.subtracting(always) : DeviceSet())
    }
  }

  /// Devices whose drivers map each other's dedicated memory over PCI.
  private static func peers(
    of device: DeviceDescription, _ those: DeviceSelection, _ kernel: KernelVersion?
  ) -> DeviceSet {
    guard device.row.info.peerToPeer != .never else { return DeviceSet() }
    let mayBeAnyDriver = kernel == nil || KernelRange.peerToPeer.contains(kernel)
    return those { other, info in
      info.peerToPeer != .never && (mayBeAnyDriver || other.description.row == device.row)
    }
  }

  func kin(of slot: DeviceSlot) -> DeviceSet { kin[Int(slot.index)] }
  func cutOff(from slot: DeviceSlot) -> DeviceSet { cutOff[Int(slot.index)] }
}

extension KernelRange {
  /// CONFIG_PCI_P2PDMA is on in Debian since 6.13.7. Other distributions had it before, so this may
  /// claim less than is possible.
  static let peerToPeer = KernelRange.since(6, 13)
}

extension DeviceDescription {
  fileprivate func isPaired(with other: DeviceDescription) -> Bool {
    pairedWith == other.stableID || other.pairedWith == stableID
  }
}
