// A device that may hang is named by no rule if there is another one, and is never in-place: on
// every machine of the driver table on which use may hang, whatever is known of the buffer.

import Testing

@testable import Placement

@Suite struct HangTests {
  private enum Day: CaseIterable {
    /// A kernel without NO_MOVE; only the exporter name is known.
    case plain
    case unnamed
    /// NO_MOVE is heeded, and every device was asked.
    case asked
    /// The devices that hang others sleep.
    case asleep
    /// These devices were unplugged and plugged again.
    case replugged
    case introspected
  }

  private static let kernel = KernelVersion(6, 12)
  private static let table = PairTable()

  private static func hangs(_ exporter: Driver, _ importer: Driver, in memory: Memory) -> Bool {
    exporter != importer
      && table.row(
        exporter: DriverID(exporter), importer: DriverID(importer), in: memory, kernel: kernel)?
        .use == .hangs
  }

  /// Drivers whose buffers hang other devices, by the table.
  private static let hanging = Driver.allCases.filter { exporter in
    Driver.allCases.contains {
      hangs(exporter, $0, in: .dedicated) || hangs(exporter, $0, in: .system)
    }
  }

  /// One driver of each group with equal rows.
  private static let kinds: [Driver] = {
    var seen: Set<String> = []
    return Driver.allCases.filter { driver in
      var info = driver.info
      (info.names, info.busNames, info.source, info.ownIoctls) = ([], [], "", false)
      (info.imports, info.scanOut, info.scanOutDiscrete) = ([], .unknown, .unknown)
      (info.layouts, info.scratchSize, info.powerIsParents) = ([], 0, false)
      return seen.insert("\(info)").inserted
    }
  }()

  private func machine(_ drivers: [Driver], _ day: Day) -> Machine {
    var machine = Machine()
    machine.kernel = Self.kernel
    for (i, driver) in drivers.enumerated() {
      let info = driver.info
      machine.add(
        "d\(i)", info.names[0], dedicated: info.memory == .dedicated ? 1 << 30 : 0,
        noMove: day == .asked ? .honoured : .ignored
      ) {
        switch info.kind {
        case .gpu, .renderer: break
        case .display: $0.description.role = .display
        case .sink: $0.description.role = .sink
        case .software: $0.description.role = .software
        case .accelerator: $0.description.ignored = true
        }
        if day == .asleep && Self.hanging.contains(driver) { $0.description.power = .suspended }
      }
    }
    if day == .replugged {
      for (i, driver) in drivers.enumerated() where Self.hanging.contains(driver) {
        machine.remove("d\(i)")
        machine.add("again\(i)", driver.info.names[0], dedicated: 1 << 30, noMove: .ignored)
      }
    }
    return machine
  }

  /// Observations of a buffer of the first device on such a day.
  private func looks(_ machine: Machine, _ drivers: [Driver], _ day: Day) -> [Observation] {
    let ids = machine.entries.compactMap { $0?.description.stableID }
    let names = drivers[0].info.exporterNames(on: Self.kernel)
    return names.flatMap { name -> [Observation] in
      let name = name == "drm" ? ExporterName.drm : .named(name)
      switch day {
      case .unnamed: return [machine.look(name: .unknown)]
      case .asked: return [machine.look(name: name, reached: ids)]
      case .introspected:
        return Memory.allCases.flatMap { home in
          [Memory.dedicated, .system].map { residency in
            machine.look(
              name: name,
              introspection: machine.introspection(ids[0], residency: residency, preferred: home))
          }
        }
      case .plain, .asleep, .replugged: return [machine.look(name: name)]
      }
    }
  }

  /// Devices on which use may hang, by the table's rows and the possible exporters.
  private func mayHang(_ facts: BufferFacts, _ machine: Machine) -> DeviceSet {
    let devices = machine.table
    let exporters = facts.exporters.candidates
    let memories = facts.home == .unknown ? [.dedicated, .system] : [facts.home]
    let possible = exporters.isAnyones ? devices.exporting : exporters.devices
    return devices.present.filter { importer in
      let driver = devices.driver(of: importer)
      let fromHere = possible.contains { exporter in
        exporter != importer
          && memories.contains { Self.hangs(devices.driver(of: exporter), driver, in: $0) }
      }
      let fromGone =
        exporters.beyond.contains(.gone)
        && devices.goneDrivers.contains { gone in
          [.dedicated, .system].contains { Self.hangs(gone, driver, in: $0) }
        }
      return exporters.certain != importer && (fromHere || fromGone)
    }
  }

  private func check(_ drivers: [Driver], _ day: Day) -> (risky: Int, wrong: [String]) {
    let machine = machine(drivers, day)
    var (risky, wrong): (Int, [String]) = (0, [])
    for look in looks(machine, drivers, day) {
      let facts = machine.facts(look)
      let hanging = mayHang(facts, machine)
      guard !hanging.isEmpty else { continue }
      risky += 1
      let story = "\(drivers.map { $0.info.names[0] }) \(day)"
      for slot in hanging where machine.access(machine.name(slot)!, facts) == .inPlace {
        wrong.append("\(story): \(machine.name(slot)!) is in-place")
      }
      let others = machine.table.ready.subtracting(hanging)
      for number in [.none] + machine.table.named.map({ machine.table.number(of: $0) }) {
        for (what, edit) in Self.questions(number) {
          let decision = machine.decide(facts) {
            $0.modifier = linear
            edit(&$0)
          }
          guard let slot = decision.device, hanging.contains(slot) else { continue }
          if what == "candidate" || !others.isEmpty {
            wrong.append("\(story): \(machine.name(slot)!) by \(decision.rule), \(what)")
          }
        }
      }
    }
    return (risky, wrong)
  }

  /// Hints that may name a device, except that the client declares it: that clears a hang that is
  /// only possible.
  private static func questions(
    _ number: DeviceNumber
  ) -> [(String, (inout Hints) -> Void)] {
    [
      ("primary", { $0.primaryDevice = number }),
      (
        "target",
        {
          $0.targetDevice = number
          $0.usage = [.sample, .scanout]
        }
      ),
      ("capture", { ($0.primaryDevice, $0.usage) = (number, .capture) }),
      ("candidate", { $0.candidates = DeviceList([number]) }),
    ]
  }

  @Test func theTableHasSuchDrivers() {
    #expect(Set(Self.hanging.map { $0.info.names[0] }) == ["nvidia-drm", "vmwgfx"])
    #expect(Self.kinds.count >= 15)
  }

  @Test(arguments: Day.allCases.indices)
  func onAnyTwo(day: Int) {
    let day = Day.allCases[day]
    var risky = 0
    for hanging in Self.hanging {
      for other in Driver.allCases {
        for drivers in [[hanging, other], [other, hanging]] {
          let found = check(drivers, day)
          risky += found.risky
          #expect(found.wrong == [])
        }
      }
    }
    #expect(risky >= 50, "a property of nothing")
  }

  @Test(arguments: Day.allCases.indices)
  func onAnyThree(day: Int) {
    let day = Day.allCases[day]
    var risky = 0
    for hanging in Self.hanging {
      for (i, second) in Self.kinds.enumerated() {
        for third in Self.kinds[i...] {
          let found = check(
            [[hanging, second, third], [second, hanging, third]][(i + 1) % 2], day)
          risky += found.risky
          #expect(found.wrong == [])
        }
      }
    }
    #expect(risky >= 100, "a property of nothing")
  }
}
