// What a device can do, found out with scratch buffers: a client's buffer is never used for this,
// since where NO_MOVE is ignored the test is a full import.

internal import DRM
internal import Glibc
internal import Linux
package import Placement
package import Ports

/// Why an import gave no result.
enum NotImported: Error {
  case asleep, gone, unopened, timedOut

  fileprivate var outcome: AbilityOutcome {
    switch self {
    case .asleep: .asleep
    case .gone: .gone
    case .unopened: .unopened
    case .timedOut: .timedOut
    }
  }
}

extension ProbeWorkers {
  package func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    // If this kernel can make no buffer of no device, the node is only opened.
    plainBuffers.request { [self] plain in
      assess((slot, device), with: plain, wake: wake, done: done)
    }
  }

  private func assess(
    _ choice: Choice, with plain: ScratchBuffer?, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void
  ) {
    importOwn(plain, .none, into: choice, wake: wake) { [self] end in
      switch end {
      case .failure(let reason): return done(reason.outcome)
      case .success(.failed):
        return done(.known(DeviceAbilities(noMove: .unknown, imports: false)))
      case .success(nil) where choice.device.row.info.refusesImports?.contains(kernel) == true:
        // There was nothing to try it with, so its row's word stands.
        return done(.known(DeviceAbilities(noMove: .unknown, imports: false)))
      case .success(.reached), .success(nil): break
      }
      let found = { done(.known(DeviceAbilities(noMove: $0, imports: true))) }
      tryFlags(plain, in: choice, wake: wake) { [self] end in
        switch end {
        case .failure(let reason): done(reason.outcome)
        case .success(true): found(.honoured)
        case .success(false): detectNoMove(choice.device, choice.slot, done: found)
        }
      }
    }
  }

  /// Whether undefined flag bits are refused and bit 0 is not: then flags are checked, and NO_MOVE
  /// is known. Otherwise flags may be ignored, bit 0 alone may be heeded, or any flag may be
  /// refused.
  private func tryFlags(
    _ plain: ScratchBuffer?, in choice: Choice, wake: Bool,
    done: @escaping (Result<Bool, NotImported>) -> Void
  ) {
    guard let plain else { return done(.success(false)) }
    importOwn(plain, .undefined, into: choice, wake: wake) { [self] end in
      guard case .success(.failed(let errno)) = end, errno.code == EINVAL else {
        return done(end.map { _ in false })
      }
      // The buffer lies in system memory, so nothing has to move.
      importOwn(plain, .noMove, into: choice, wake: wake) { end in
        done(end.map { if case .reached = $0 { true } else { false } })
      }
    }
  }

  /// Finds out with a scratch buffer in dedicated memory whether bit 0 alone is heeded, for kernels
  /// that know NO_MOVE and don't check undefined bits. `unknown` if no awake device can allocate
  /// such a buffer, or no other device can import it.
  private func detectNoMove(
    _ device: DeviceDescription, _ slot: DeviceSlot, done: @escaping (NoMove) -> Void
  ) {
    let function = importFunction(of: device)
    if let known = function.flatMap({ noMoveVerdicts[$0] }) { return done(known) }
    guard let (giver, trier) = choosePair(for: device, slot) else { return done(.unknown) }
    makeScratchBuffer(giver, in: [.dedicated]) { [self] scratch in
      guard let scratch else { return done(.unknown) }
      heedsNoMove(trier, scratch) { [self] noMove in
        if let function, noMove != .unknown { noMoveVerdicts[function] = noMove }
        done(noMove)
      }
    }
  }

  /// An import that is refused with the flag and succeeds without it shows that the flag is heeded,
  /// if the flag is accepted once the scratch buffer has been moved; a kernel that refuses every
  /// flag does not heed it. The buffer is in another device's dedicated memory and may be moved by
  /// this.
  private func heedsNoMove(
    _ trier: Choice, _ scratch: ScratchBuffer, done: @escaping (NoMove) -> Void
  ) {
    importOwn(scratch, .noMove, into: trier) { [self] end in
      switch end {
      case .success(.reached): done(.ignored)
      case .success(.failed(let errno)) where errno.code == EINVAL:
        importOwn(scratch, .none, into: trier) { [self] end in
          guard case .success(.reached) = end else { return done(.unknown) }
          importOwn(scratch, .noMove, into: trier) { end in
            if case .success(.reached) = end { done(.honoured) } else { done(.unknown) }
          }
        }
      default: done(.unknown)
      }
    }
  }

  /// Imports a scratch buffer, or only opens the node if `buffer` is nil; `.asleep`: the importer
  /// sleeps, or the exporter does. Each call is one job with its own deadline.
  func importOwn(
    _ buffer: ScratchBuffer?, _ flag: DeviceNode.ImportFlag, into importer: Choice,
    wake: Bool = false, then: @escaping (Result<DeviceNode.Import?, NotImported>) -> Void
  ) {
    let device = importer.device
    run(
      importer.slot, device, work: buffer,
      { node, buffer in
        var exporterSleeps = false
        let use = node.use(device, wake: wake) { node -> DeviceNode.Import? in
          exporterSleeps = buffer?.exporter.map(sleeps) ?? false
          return exporterSleeps ? nil : buffer.map { node.importBuffer($0.fd.rawValue, flag) }
        }
        return .imported(exporterSleeps ? .asleep : use)
      }
    ) { end in
      switch end {
      case .done(.imported(.used(let result))): then(.success(result))
      case .done(.imported(.asleep)): then(.failure(.asleep))
      case .done(.imported(.unopened)): then(.failure(.unopened))
      case .timedOut: then(.failure(.timedOut))
      case .gone, .exporterReleased, .done: then(.failure(.gone))
      }
    }
  }

  typealias Choice = (slot: DeviceSlot, device: DeviceDescription)

  /// A device that allocates in dedicated memory and another one that imports: `device` itself, or
  /// if `device` is the only one that can allocate, one with the same import function. If no device
  /// is known to have dedicated memory, one that may have some: only trying tells.
  private func choosePair(
    for device: DeviceDescription, _ slot: DeviceSlot
  ) -> (giver: Choice, trier: Choice)? {
    let awake = devices().filter { !sleeps($0.device) }
    let allocating = awake.filter { $0.device.row.info.ownIoctls }
    let givers = allocating.filter { $0.device.dedicatedMemory > 0 }
    if let giver = givers.first(where: { $0.slot != slot }) { return (giver, (slot, device)) }
    if let giver = givers.first, let function = importFunction(of: device) {
      let triers = awake.filter {
        $0.slot != slot && $0.device.render != nil && importFunction(of: $0.device) == function
      }
      // A device without hardware is the least disturbed.
      let trier = triers.first { $0.device.role == .software } ?? triers.first
      if let trier { return (giver, trier) }
    }
    return allocating.first { $0.slot != slot && $0.device.isIntegrated != true }
      .map { ($0, (slot, device)) }
  }

  /// In the first of these memories that the device has; nil if it sleeps or can't allocate.
  func makeScratchBuffer(
    _ giver: Choice, in memories: [Memory], done: @escaping (ScratchBuffer?) -> Void
  ) {
    run(
      giver.slot, giver.device, work: giver.device,
      { node, device in
        let use = node.use(device, wake: false) { node -> ScratchBuffer? in
          for memory in memories {
            if let fd = try? node.allocate(size: device.row.info.scratchSize, in: memory) {
              return ScratchBuffer(fd, in: memory, of: device)
            }
          }
          return nil
        }
        guard case .used(let made) = use else { return .scratch(nil) }
        return .scratch(made)
      }
    ) { end in
      guard case .done(.scratch(let scratch)) = end else { return done(nil) }
      done(scratch)
    }
  }
}
