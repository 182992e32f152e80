// A day on which each of primed's answers is compared with the truth.

internal import Placement

struct WatchedDay {
  /// The parts of an answer that don't depend on minor numbers.
  struct Told: Equatable {
    var step: Int
    var device: String
    var access: Access
    var confidence: Confidence
    var rule: String
  }
  private(set) var told: [Told] = []
  private(set) var offences: [Offence] = []
  private let seed: UInt64
  private let kernel: RandomKernel

  init(_ day: RandomDay, _ seed: UInt64, _ kernel: RandomKernel, together: Bool = false) {
    (self.seed, self.kernel) = (seed, kernel)
    let player = ScenarioPlayer(day.scenario)
    player.asksTogether = together
    var (told, offences) = ([Told](), [Offence]())
    let judge = Judge(player)
    player.onAnswer = { answer in
      told.append(
        Told(
          step: answer.step,
          device: answer.device.map { day.scenario.devices[$0].id } ?? "no device",
          access: answer.answer.access, confidence: answer.answer.confidence,
          rule: answer.explanation.rule))
      for (kind, cause, expect) in judge.faults(of: answer) {
        offences.append(
          Offence(
            kind: kind, kernel: kernel, seed: seed, step: answer.step, cause: cause, expect: expect)
        )
      }
    }
    _ = player.play()
    self.told = told
    self.offences = offences
    let (harm, held) = (player.kernel.harm, player.kernel.held)
    for (kind, count) in [
      (Offence.Kind.moves, harm.moves), (.wakes, harm.wakes), (.masters, harm.masters),
      (.held, held),
    ] where count > 0 {
      var none = Expectations()
      (none.moves, none.wakes, none.masters, none.held) = (0, 0, 0, 0)
      let last = day.scenario.steps.count - 1
      self.offences.append(
        Offence(
          kind: kind, kernel: kernel, seed: seed, step: last, cause: "\(kind.rawValue) by primed",
          expect: none))
    }
  }

  /// Answers that differ on the other day, which differs only in what must not matter.
  func differences(from other: WatchedDay, _ kind: Offence.Kind, sure: Bool) -> [Offence] {
    let after = Dictionary(uniqueKeysWithValues: other.told.map { ($0.step, $0) })
    for one in told {
      guard let two = after[one.step] else { continue }
      let isSame =
        one.device == two.device && one.access == two.access
        && (!sure || one.confidence == two.confidence && one.rule == two.rule)
      if isSame { continue }
      var expect = Expectations()
      expect.access = two.access
      // Later differences on the same day may follow from this one.
      return [
        Offence(
          kind: kind, kernel: kernel, seed: seed, step: one.step,
          cause: "\(one.rule), \(one.access.word) \(one.confidence.word); else "
            + "\(two.rule), \(two.access.word) \(two.confidence.word)", expect: expect)
      ]
    }
    return []
  }
}

/// Knows the simulated machine, and so what is true.
private struct Judge {
  typealias Fault = (kind: Offence.Kind, cause: String, expect: Expectations)
  private unowned let player: ScenarioPlayer
  private var machine: SimulatedKernel { player.kernel }

  init(_ player: ScenarioPlayer) { self.player = player }

  func faults(of told: ScenarioAnswer) -> [Fault] {
    var faults: [Fault] = []
    let (buffer, answer) = (told.question.buffers[0], told.answer)
    if let device = told.device {
      faults += faultsOfChoice(of: device, told)
      if answer.confidence >= .stable, [.native, .inPlace].contains(answer.access),
        !machine.isReached(buffer, on: device, atHome: true)
      {
        faults.append(fault(.sure, told, on: device))
      }
    }
    // A cached answer describes what was seen earlier.
    if !answer.cached || answer.recheck == 0 {
      if let device = told.device { faults += faultsOfAccess(answer.access, of: device, told) }
      answer.verdicts?.forEach { number, access, abilities in
        guard let device = machine.scenario.devices.firstIndex(where: { $0.number == number })
        else { return }
        if device != told.device { faults += faultsOfAccess(access, of: device, told) }
        if abilities.contains(.scanout), !machine.canScanOut(buffer, on: device) {
          faults.append(fault(.scanout, told, on: device, "verdict"))
        }
      }
    }
    return faults
  }

  private func faultsOfChoice(of device: Int, _ told: ScenarioAnswer) -> [Fault] {
    var faults: [Fault] = []
    let buffer = told.question.buffers[0]
    let sound = machine.devices.indices.contains {
      machine.isUsable($0) && !player.released.contains($0) && !machine.hangs(buffer, on: $0)
    }
    let isLastResort = told.explanation.rule == "last-resort" && !sound
    if machine.hangs(buffer, on: device), !isLastResort {
      faults.append(fault(.hang, told, on: device))
    }
    if !machine.devices[device].plugged || player.released.contains(device) {
      faults.append(fault(.gone, told, on: device))
    }
    if told.explanation.rule == "scanout-target", !machine.canScanOut(buffer, on: device) {
      faults.append(fault(.scanout, told, on: device))
    }
    return faults
  }

  private func faultsOfAccess(_ access: Access, of device: Int, _ told: ScenarioAnswer) -> [Fault] {
    let buffer = told.question.buffers[0]
    switch access {
    case .native:
      return machine.exported(buffer, by: device) ? [] : [fault(.native, told, on: device)]
    case .inPlace:
      let isTrue = machine.isReached(buffer, on: device, atHome: false)
      return isTrue ? [] : [fault(.inPlace, told, on: device)]
    default: return []
    }
  }

  private func fault(
    _ kind: Offence.Kind, _ told: ScenarioAnswer, on device: Int, _ what: String = ""
  ) -> Fault {
    let devices = machine.scenario.devices
    let exporter = machine.scenario.buffers[told.question.buffers[0]].exporter
    var expect = Expectations()
    expect.device = exporter.map { .some($0) }
    let about = what.isEmpty ? "" : what + ", "
    return (
      kind,
      about
        + "\(told.explanation.rule), \(told.answer.access.word), \(told.answer.confidence.word): "
        + "of \(exporter.map { devices[$0].driver } ?? "no device"), on \(devices[device].driver)",
      expect
    )
  }
}
