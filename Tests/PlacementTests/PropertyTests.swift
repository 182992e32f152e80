// What holds for every machine, every history of a buffer and every hint.

import Testing

@testable import Placement

@Suite struct PropertyTests {
  private let seeds: Range<UInt64> = 0..<600

  /// A property that no story puts to the test would hold of anything.
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
        if !story.machine.table.unfit(for: exporter).isEmpty { plans["unfit", default: 0] += 1 }
      }
    }
    for rule in Rule.allCases { #expect(rules[rule] ?? 0 >= 5, "\(rule)") }
    for access in Access.allCases where access != .unknown {
      #expect(accesses[access] ?? 0 >= 5, "\(access)")
    }
    for kind in ["no-move", "safe", "records", "unfit"] {
      #expect(plans[kind] ?? 0 >= 5, "\(kind) of \(plans)")
    }
  }

  private func plan(for facts: BufferFacts, on devices: DeviceTable) -> ProbePlan {
    ProbePlan(
      exporters: facts.exporters.candidates, among: devices, asked: DeviceSet(),
      intentionKnown: false, ProbeScope())
  }

  /// What is chosen for being able to use the buffer where it lies can do so with every plane.
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
        #expect(entry.description.role != .software && fits, "seed \(seed)")
        #expect(decision.access != .unreachable, "seed \(seed)")
      }
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
          devices.unfit(for: exporter).contains(slot)
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
          fit = fit.subtracting(devices.unfit(for: exporter))
        }
      }
      // A modifier may have told the exporter, and so who hangs.
      #expect(fit.isEmpty || story.hints.modifier != nil, "seed \(seed)")
    }
  }

  @Test func aDeviceThatReachesNothingChangesNoAnswer() {
    for seed in seeds {
      var story = Story(seed: seed)
      // A compositor that names no primary device leaves the choice to primed, and so to the machine.
      guard !story.machine.table.ready.isEmpty else { continue }
      story.hints.primary = story.machine.name(story.machine.table.primary)
      let before = story.decide()
      guard before.rule != .lastResort, before.rule != .fallback || chosenIsPrimary(story, before)
      else { continue }
      let facts = story.facts
      let ending = story.ending(before)
      // Not one that is known to reach others' system memory.
      for driver in ["nvidia-drm", "evdi", "other"] {
        var more = story
        more.machine.add("z", driver, dedicated: 1 << 34) { $0.description.bootVGA = true }
        #expect(more.ending(more.decide(facts)) == ending, "seed \(seed) \(driver)")
      }
    }
  }

  private func chosenIsPrimary(_ story: Story, _ decision: Decision) -> Bool {
    story.machine.name(decision.device) == story.hints.primary
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
        #expect(plan.all.intersection(devices.awake) == plan.all, "seed \(seed)")
        #expect(plan.noMove.subtracting(devices.honoured).isEmpty, "seed \(seed)")
        for slot in plan.safe {
          let others = exporters.devices.subtracting(DeviceSet(slot))
          #expect(others.subtracting(devices.systemOnly).isEmpty, "seed \(seed)")
          #expect(!exporters.beyond.contains(.gone), "seed \(seed)")
        }
        for slot in plan.records {
          let others = exporters.devices.subtracting(DeviceSet(slot))
          #expect(devices.driver(of: slot) == .amdgpu && !others.isEmpty, "seed \(seed)")
          let late = others.filter { [.amdgpu, .xe].contains(devices.driver(of: $0)) }
          let known = late.reduce(into: devices.systemOnly) { $0.insert($1) }
          #expect(others.subtracting(known).isEmpty, "seed \(seed)")
          #expect(!exporters.beyond.contains(.gone), "seed \(seed)")
        }
      }
    }
  }
}
