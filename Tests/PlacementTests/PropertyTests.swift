// Properties that hold for every machine, every history of a buffer and every hint.

import Simulation
import Testing

@testable import Placement

@Suite struct PropertyTests {
  private let seeds: Range<UInt64> = 0..<800

  /// A property that no story tests would always hold.
  @Test func theStoriesReachWhatMatters() {
    var rules: [Rule: Int] = [:]
    var (accesses, plans): ([Access: Int], [String: Int]) = ([:], [:])
    for seed in seeds {
      let story = Story(seed: seed)
      let decision = story.decide()
      rules[decision.rule, default: 0] += 1
      accesses[decision.access, default: 0] += 1
      for plane in story.facts + story.untouched {
        let plan = plan(for: plane, on: story.machine.table)
        if !plan.noMove.isEmpty { plans["no-move", default: 0] += 1 }
        if !plan.safe.isEmpty { plans["safe", default: 0] += 1 }
        if !plan.records.isEmpty { plans["records", default: 0] += 1 }
        guard let exporter = plane.exporters.candidates.certain else { continue }
        if !story.machine.table.unable(toUse: exporter, in: plane.home).isEmpty {
          plans["unable", default: 0] += 1
        }
      }
    }
    for rule in Rule.allCases { #expect(rules[rule] ?? 0 >= 5, "\(rule)") }
    for access in Access.allCases where access != .unknown {
      #expect(accesses[access] ?? 0 >= 5, "\(access)")
    }
    for kind in ["no-move", "safe", "records", "unable"] {
      #expect(plans[kind] ?? 0 >= 5, "\(kind) of \(plans)")
    }
  }

  private func plan(for facts: BufferFacts, on devices: DeviceTable) -> ProbePlan {
    ProbePlan(
      exporters: facts.exporters.candidates, among: devices, inSystemMemory: DeviceSet(),
      asked: DeviceSet(), intentionKnown: false, ProbeScope())
  }

  /// A device that is chosen because it can use the buffer where it lies can do so with every
  /// plane.
  @Test func theHomesRulesNameWhoReachesEveryPlane() {
    for seed in seeds {
      let story = Story(seed: seed)
      let decision = story.decide()
      guard [.scanoutTarget, .homeDedicated, .homeSystem].contains(decision.rule) else { continue }
      #expect(decision.access == .native || decision.access == .inPlace, "seed \(seed)")
      for plane in story.facts {
        var alone = story
        alone.hints.sampling = story.machine.name(decision.device)
        let access = alone.decide([plane]).access
        #expect(access == .native || access == .inPlace, "seed \(seed)")
      }
    }
  }

  @Test func neverADeviceThatIsGoneReleasedOrUnfitWhileAnotherIsFit() throws {
    for seed in seeds {
      let story = Story(seed: seed)
      let devices = story.machine.table
      let decision = story.decide()
      guard let slot = decision.device else {
        // Rule 8: none of those that the asker can use.
        guard story.hints.candidates == nil else {
          #expect(decision.rule == .noCandidate, "seed \(seed)")
          continue
        }
        #expect(devices.ready.isEmpty, "seed \(seed): none chosen though one is ready")
        #expect(devices.silent.isEmpty, "seed \(seed): none chosen though one is there")
        continue
      }
      let entry = try #require(devices[slot], "seed \(seed): a device that is gone")
      let isLeft = entry.state == .unresponsive && devices.ready.isEmpty
      #expect(entry.state == .ready || isLeft, "seed \(seed)")
      #expect(!entry.description.ignored && entry.description.node != nil, "seed \(seed)")
      if decision.rule != .lastResort {
        let fits = entry.imports || entry.importsOwnOnly && decision.access == .native
        // Rule 1: software is left for scan-out, and if it is a candidate.
        let mayBeSoftware =
          decision.rule == .scanoutTarget
          || story.hints.candidates?.contains(entry.description.stableID) == true
        #expect(entry.description.role != .software || mayBeSoftware, "seed \(seed)")
        #expect(fits, "seed \(seed)")
        #expect(decision.access != .unreachable, "seed \(seed)")
      }
    }
  }

  /// "Placed for scan-out if the answer is target-device and its verdict has the 2."
  @Test func whatIsPlacedForScanoutHasTheBit() {
    var placed = 0
    for seed in seeds {
      let story = Story(seed: seed)
      let decision = story.decide()
      guard decision.rule == .scanoutTarget, let slot = decision.device else { continue }
      placed += 1
      #expect(story.verdicts.abilities(of: slot).contains(.scanout), "seed \(seed)")
    }
    #expect(placed >= 5)
  }

  @Test func whatIsAbleReachesAndAVerdictIsTheAnswersAccess() {
    for seed in seeds {
      let story = Story(seed: seed)
      let verdicts = story.verdicts
      let decision = story.decide()
      if let slot = decision.device {
        #expect(verdicts.access(of: slot) == decision.access, "seed \(seed)")
      }
      var told = DeviceSet()
      verdicts.forEach { number, access, usage in
        let slot = story.machine.table.slot(of: number)!
        #expect(!told.contains(slot), "seed \(seed)")
        told.insert(slot)
        #expect(usage.isEmpty || access == .native || access == .inPlace, "seed \(seed)")
      }
      #expect(told == story.machine.table.named, "seed \(seed)")
    }
  }

  @Test func neverADeviceThatIsKnownToHang() {
    for seed in seeds {
      let story = Story(seed: seed)
      let devices = story.machine.table
      let facts = story.facts
      let decision = story.decide(facts)
      guard let slot = decision.device else { continue }
      for plane in facts {
        guard let exporter = plane.exporters.candidates.certain,
          devices.unable(toUse: exporter, in: plane.home).contains(slot)
        else { continue }
        #expect(decision.access == .unreachable, "seed \(seed)")
        #expect(decision.rule == .lastResort, "seed \(seed)")
      }
    }
  }

  @Test func theLastResortIsOnlyForMachinesWithNothingFit() {
    for seed in seeds {
      let story = Story(seed: seed)
      let devices = story.machine.table
      guard story.decide().rule == .lastResort else { continue }
      var fit = devices.ready.intersection(devices.importing).subtracting(devices.software)
      for plane in story.facts {
        fit = fit.subtracting(plane.failing)
        if let exporter = plane.exporters.candidates.certain {
          fit = fit.subtracting(devices.unable(toUse: exporter, in: plane.home))
        }
        // Rule 1 drops a device that hangs with any exporter that is still possible.
        for exporter in plane.exporters.candidates.devices {
          fit = fit.subtracting(devices.importers(of: exporter, in: plane.home).hanging)
        }
      }
      // A modifier may have told the exporter, and so which devices hang.
      #expect(fit.isEmpty || story.hints.modifier != nil, "seed \(seed)")
    }
  }

  @Test func aDeviceThatReachesNothingChangesNoAnswer() {
    for seed in seeds {
      var story = Story(seed: seed)
      // A compositor that names no primary device leaves the choice to primed, and so to the
      // machine.
      guard !story.machine.table.ready.isEmpty else { continue }
      story.hints.primary = story.machine.name(story.machine.table.primary)
      let before = story.decide()
      // If no device reaches it, a sleeping one comes after all that are awake.
      let isGuess =
        before.rule == .fallback || before.rule == .homeUnknown && before.access == .mayMove
      guard before.rule != .lastResort, !isGuess || chosenIsPrimary(story, before) else { continue }
      let facts = story.facts
      let ending = story.ending(before)
      // Not one that is known to reach others' system memory, nor one whose buffers hang others.
      for driver in ["loongson", "fl2000_drm", "other"] {
        var more = story
        more.machine.add("z", driver, dedicated: 1 << 34) { $0.description.bootVGA = true }
        #expect(more.ending(more.decide(facts)) == ending, "seed \(seed) \(driver)")
      }
    }
  }

  /// Rule 7 puts one that renders, is awake and does what is asked before a primary device that
  /// does not.
  private func chosenIsPrimary(_ story: Story, _ decision: Decision) -> Bool {
    let devices = story.machine.table
    guard let slot = decision.device else { return false }
    let mayNotWrite =
      story.hints.usage?.contains(.capture) == true && devices.readsImportsOnly.contains(slot)
    return story.machine.name(slot) == story.hints.primary && !mayNotWrite
      && devices.rendering.intersection(devices.awake).contains(slot)
  }

  @Test func renumberingChangesNothing() {
    for seed in seeds {
      let story = Story(seed: seed)
      var random = Seeded(seed + 1)
      var other = story
      other.machine = Machine()
      for entry in story.machine.entries.compactMap({ $0 }).shuffled(using: &random) {
        let device = entry.description
        other.machine.add(device.stableID, device.driver) { renumbered in
          let nodes = (renumbered.description.render, renumbered.description.primary)
          renumbered = entry
          renumbered.description.render = device.render.flatMap { _ in nodes.0 }
          renumbered.description.primary = device.primary.flatMap { _ in nodes.1 }
        }
      }
      #expect(other.ending == story.ending, "seed \(seed)")
    }
  }

  @Test func theSameFactsInAnyOrderGiveTheSameAnswer() {
    for seed in seeds {
      let story = Story(seed: seed)
      var random = Seeded(seed + 1)
      var shuffled = story
      for look in shuffled.looks.indices {
        for plane in shuffled.looks[look].indices {
          shuffled.looks[look][plane].outcomes.shuffle(using: &random)
        }
      }
      #expect(shuffled.ending == story.ending, "seed \(seed)")
    }
  }

  @Test func oneLookMoreNeverAddsToTheHomeSet() {
    for seed in seeds {
      let story = Story(seed: seed)
      guard story.looks.count > 1 else { continue }
      var shorter = story
      shorter.looks.removeLast()
      for (before, after) in zip(shorter.facts, story.facts) {
        let new = after.reachedAlways.subtracting(before.reachedAlways)
        #expect(new.intersection(before.refused).isEmpty, "seed \(seed)")
      }
    }
  }

  @Test func anUncertainExporterIsNeverImportedElsewhereWithoutTheFlag() {
    for seed in seeds {
      let story = Story(seed: seed)
      let devices = story.machine.table
      for facts in story.facts + story.untouched {
        let exporters = facts.exporters.candidates
        let plan = plan(for: facts, on: devices)
        for slot in plan.all.subtracting(devices.awake) {
          #expect(devices.driver(of: slot).info.wakes == [], "seed \(seed)")
        }
        #expect(plan.noMove.subtracting(devices.honoured).isEmpty, "seed \(seed)")
        for slot in plan.safe {
          let others = exporters.devices.subtracting(DeviceSet(slot))
          #expect(others.subtracting(devices.systemOnly).isEmpty, "seed \(seed)")
          #expect(!exporters.beyond.contains(.gone), "seed \(seed)")
        }
        for slot in plan.records {
          let others = exporters.devices.subtracting(DeviceSet(slot))
          #expect(
            devices.driver(of: slot) == Driver(name: "amdgpu") && !others.isEmpty, "seed \(seed)")
          let late = others.filter { ["amdgpu", "xe"].contains(devices[$0]?.description.driver) }
          let known = late.reduce(into: devices.systemOnly) { $0.insert($1) }
          #expect(others.subtracting(known).isEmpty, "seed \(seed)")
          #expect(!exporters.beyond.contains(.gone), "seed \(seed)")
        }
      }
    }
  }
}
