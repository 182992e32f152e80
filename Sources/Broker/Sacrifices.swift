// Asking with a buffer of our own in dedicated memory whether bit 0 alone is heeded: for kernels that
// know NO_MOVE and don't check undefined bits.

internal import DRM
internal import Kernel
internal import Linux
internal import Placement

extension ProbeWorkers {
  /// `unknown` where no awake device can give a buffer, or nobody can try it.
  func askWithSacrifice(
    _ device: DeviceDescription, _ slot: DeviceSlot, done: @escaping (NoMove) -> Void
  ) {
    let core = importsThroughCore(driver: device.driver)
    if core, coreNoMove != .unknown { return done(coreNoMove) }
    guard let (giver, trier) = choosePair(for: device, slot) else { return done(.unknown) }
    makeSacrifice(giver, in: [.dedicated]) { [self] sacrifice in
      guard let sacrifice else { return done(.unknown) }
      run(
        trier.slot, trier.device, work: trier.device,
        { node, device in
          guard
            case .used(let noMove) = node.use(
              device, wake: false, { $0.heedsNoMove(sacrifice: sacrifice.fd) })
          else { return .heeds(.unknown) }
          return .heeds(noMove)
        }
      ) { [self] end in
        guard case .done(.heeds(let noMove)) = end else { return done(.unknown) }
        if core { coreNoMove = noMove }
        done(noMove)
      }
    }
  }

  typealias Choice = (slot: DeviceSlot, device: DeviceDescription)

  /// A giver with memory of its own and another device to try its buffer: the one that is asked about,
  /// or, where that is the only giver, one that imports through the same code.
  private func choosePair(
    for device: DeviceDescription, _ slot: DeviceSlot
  ) -> (giver: Choice, trier: Choice)? {
    let awake = devices().filter { runtimePower(sysfsPath: $0.device.sysfsPath) != .suspended }
    let givers = awake.filter {
      $0.device.dedicatedMemory > 0 && canSacrifice(driver: $0.device.driver)
    }
    if let giver = givers.first(where: { $0.slot != slot }) { return (giver, (slot, device)) }
    guard let giver = givers.first, importsThroughCore(driver: device.driver) else { return nil }
    let triers = awake.filter {
      $0.slot != slot && $0.device.render != nil && importsThroughCore(driver: $0.device.driver)
    }
    // A device of no hardware is disturbed least.
    return (triers.first { $0.device.role == .software } ?? triers.first).map { (giver, $0) }
  }

  /// In the first of these memories that the device has; nil where it sleeps, or can give none.
  func makeSacrifice(
    _ giver: Choice, in memories: [Memory], done: @escaping (Sacrifice?) -> Void
  ) {
    run(
      giver.slot, giver.device, work: giver.device,
      { node, device in
        let use = node.use(device, wake: false) { node -> Sacrifice? in
          for memory in memories {
            if let fd = try? node.allocate(size: 4096, in: memory) {
              return Sacrifice(fd, in: memory)
            }
          }
          return nil
        }
        guard case .used(let made) = use else { return .sacrifice(nil) }
        return .sacrifice(made)
      }
    ) { end in
      guard case .done(.sacrifice(let sacrifice)) = end else { return done(nil) }
      done(sacrifice)
    }
  }
}
