// Compares the simulated kernel's facts about drivers with primed's table (Placement/Drivers) on
// the three kernels that were read: where they differ, one is wrong.

import Placement
import Simulation
import Testing

@Suite struct DriverFactsTests {
  private static let kernels = [KernelVersion(6, 1), KernelVersion(6, 12), KernelVersion(7, 3)]

  @Test(arguments: DriverFacts.all)
  func agreesWithTheTable(_ facts: DriverFacts) {
    let info = Driver(name: facts.driver).info
    #expect(Driver(name: facts.driver) != .other)
    #expect(info.keepsRecord == facts.keepsRecord)
    #expect(info.mapsAtUse == facts.isDynamic)
    #expect(info.rendersIntoImports == facts.writesImports)
    #expect(info.wakesWhenAsked == facts.openWakes)
    let layouts = info.layouts?.map { UInt64($0.rawValue) }
    if let layouts { #expect(Set(layouts) == Set(facts.layouts)) }
    if let role = Self.role(info.kind) { #expect(facts.role == role) }
  }

  /// nil: an accelerator is never chosen, so it has no role.
  private static func role(_ kind: DriverInfo.Kind) -> Role? {
    switch kind {
    case .gpu: .render
    case .renderer: .split
    case .display: .display
    case .sink: .sink
    case .software: .software
    case .accelerator: nil
    }
  }

  @Test(arguments: DriverFacts.all, kernels)
  func agreesOnThisKernel(_ facts: DriverFacts, _ kernel: KernelVersion) {
    let info = Driver(name: facts.driver).info
    let shown =
      switch facts.shownName(on: kernel) {
      case .named(let name): name
      default: "drm"
      }
    #expect(info.exporterNames(on: kernel).contains(shown))
    let refuses = info.refusesImports?.contains(kernel) ?? false
    // By the host: the table claims no refusal that a host's set-up may lift.
    if !facts.importsByHost || refuses {
      #expect((facts.imports(on: kernel) == .itsOwn) == refuses)
    }
    let unmapped = info.importFunction(on: kernel) == ImportFunction.shmem
    #expect(facts.mapsNothing(on: kernel) == unmapped)
  }

  /// The table claims nothing that is not so.
  @Test(arguments: DriverFacts.all)
  func scanOutIsNotOverstated(_ facts: DriverFacts) {
    let info = Driver(name: facts.driver).info
    if info.scanOut == .systemMemory {
      #expect(facts.scanout == .integrated || facts.scanout == .anything)
    }
    if info.scanOutDiscrete == .systemMemory { #expect(facts.scanout == .anything) }
  }

  @Test(arguments: DriverFacts.all, kernels)
  func memoryAgrees(_ facts: DriverFacts, _ kernel: KernelVersion) {
    let info = Driver(name: facts.driver).info
    let isSystemOnly = info.exportsSystemMemoryOnly(on: kernel)
    #expect((facts.memory(on: kernel) == .system) == isSystemOnly)
    // amdgpu: the table counts the carve-out of most integrated devices as memory of their own.
    if info.memory == .dedicatedUnlessIntegrated || facts.driver == "amdgpu" {
      #expect(facts.memory(on: kernel) == .either)
    } else if !isSystemOnly {
      #expect(facts.memory(on: kernel) == .dedicated)
    }
  }

  /// What an import does, by every pair and memory.
  @Test(arguments: DriverFacts.all, kernels)
  func pairsAgree(_ exporter: DriverFacts, _ kernel: KernelVersion) {
    let rows = PairTable().rows(of: DriverID(exporter.driver), kernel: kernel)
    for importer in DriverFacts.all where importer.driver != exporter.driver {
      let id = DriverID(importer.driver)
      if let row = rows.row(id, in: .system) {
        #expect(row.neverWorks == !exporter.exports(to: importer, on: kernel), "\(importer.driver)")
      }
      guard exporter.memory(on: kernel) != .system else { continue }
      guard let row = rows.row(id, in: .dedicated) else { continue }
      let attach = exporter.attach(on: kernel)
      #expect((row.attach == .moves) == (attach == .moves), "\(importer.driver)")
      #expect((row.attach == .wakes) == (attach == .wakes), "\(importer.driver)")
      #expect((row.use == .hangs) == exporter.hangsOthers, "\(importer.driver)")
      let isRefused = exporter.isUnmappable || !exporter.exports(to: importer, on: kernel)
      #expect((row.attach == .fails || row.map == .fails) == isRefused, "\(importer.driver)")
    }
  }
}

extension DriverFacts: CustomTestStringConvertible {
  public var testDescription: String { driver }
}
