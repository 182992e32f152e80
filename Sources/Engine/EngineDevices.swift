// The engine's devices: what a change of them does to answers, how they are shown, and their
// release.

package import Placement
internal import Ports

extension QueryEngine {
  func devicesChanged(_ changes: [RegistryChange], before: DeviceTable) {
    for change in changes {
      let event = RecentEvent(change, before: before[change.slot], at: time.now)
      if let event { recent.note(event) }
    }
    for change in changes where change.kind == .removed { scrub(change.slot) }
    let matters = changes.contains { $0.matters }
    if matters {
      edition += 1
      unknownNumbers.removeAll(keepingCapacity: true)
    }
    for change in changes {
      let kind: DeviceChange.Kind =
        switch change.kind {
        case .added: .added
        case .changed: .changed
        case .removed: .removed
        }
      onDeviceChange?(DeviceChange(kind: kind, device: view(change.slot, change.entry)))
    }
    if matters {
      let those = changes.filter(\.matters)
      onInvalidated?(
        those.compactMap { $0.entry.description.node?.number }, those.allSatisfy(\.isOfPowerAlone))
    }
  }

  /// The sources of evidence are others than before: every buffer is to be looked at anew.
  package func forgetBuffers() {
    for look in looks.values { look.introspectAgain(reader.introspect) }
    forgetWhatWasLearnt()
  }

  func forgetWhatWasLearnt() {
    cache = BufferCache(limit: settings.cachedBuffers)
    siblings = Siblings(limit: settings.siblingGroups)
    edition += 1
    onInvalidated?(devices.compactMap { $0.description.node?.number }, false)
  }

  /// What was learnt of the device in this slot is not true of the next one.
  private func scrub(_ slot: DeviceSlot) {
    cache.updateAll { $0.scrub(slot) }
    siblings.scrub(slot)
    for look in looks.values { look.scrub(slot) }
  }

  private func view(_ slot: DeviceSlot, _ entry: DeviceEntry) -> DeviceView {
    DeviceView(
      slot: slot, description: entry.description, state: entry.state, noMove: entry.noMove,
      imports: entry.imports, isPrimary: table.primary == slot)
  }

  private func view(_ slot: DeviceSlot) -> DeviceView? {
    keeper.registry[slot].map { view(slot, $0) }
  }

  /// In stable order.
  package var devices: [DeviceView] {
    table.stableOrder(table.present).compactMap(view)
  }
  package var primary: DeviceView? { table.primary.flatMap(view) }
  /// Either node's number names the device. Applies an event that has not come yet.
  package func device(_ number: DeviceNumber) -> DeviceView? {
    keeper.resolve(number).flatMap(view)
  }
  package var noMove: NoMove { NoMove(of: devices.map(\.noMove)) }

  /// Closes every node of it and stops probing; `then` with true once they are closed, or with
  /// false if its driver did not let go of them in time: nothing is changed then.
  package func release(
    _ number: DeviceNumber, then: @escaping (Bool) -> Void
  ) throws(EngineError) {
    guard let slot = keeper.resolve(number) else { throw .unknownDevice }
    guard keeper.registry[slot]?.state != .released else { throw .released }
    keeper.release(slot, then: then)
  }
  package func unrelease(_ stableID: String) { keeper.unrelease(stableID) }

  /// A device that let a deadline pass has answered after all.
  package func answered(_ slot: DeviceSlot) { keeper.noteAnswer(slot) }
}
