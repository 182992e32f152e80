// Compares the simulated kernel's facts about drivers with primed's table (Placement/Drivers):
// where they differ, one is wrong.

import Placement
import Simulation
import Testing

@Suite struct DriverFactsTests {
  private static let kernel = newestKernel

  @Test(arguments: DriverFacts.all.map(\.driver))
  func agreesWithTheTable(_ name: String) {
    let facts = DriverFacts.of(name)
    let info = Driver(name: name).info
    #expect(Driver(name: name) != .other)
    let shown =
      switch facts.shownName(on: Self.kernel) {
      case .named(let name): name
      default: "drm"
      }
    #expect(info.exporterNames(on: Self.kernel).contains(shown))
    #expect(info.keepsRecord == facts.keepsRecord)
    #expect(info.mapsAtUse == facts.isDynamic)
    #expect(info.rendersIntoImports == facts.writesImports)
    #expect(info.wakesWhenAsked == facts.openWakes)
    let layouts = info.layouts?.map { UInt64($0.rawValue) }
    if let layouts { #expect(Set(layouts) == Set(facts.layouts)) }
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

  @Test(arguments: DriverFacts.all)
  func memoryIsNotUnderstated(_ facts: DriverFacts) {
    let info = Driver(name: facts.driver).info
    if facts.memory != .system { #expect(!info.exportsSystemMemoryOnly(on: Self.kernel)) }
  }

  /// What an import of dedicated memory does, by every pair.
  @Test(arguments: DriverFacts.all.filter { $0.memory != .system })
  func pairsAgree(_ exporter: DriverFacts) {
    let rows = PairTable().rows(of: DriverID(exporter.driver), kernel: Self.kernel)
    for importer in DriverFacts.all where importer.driver != exporter.driver {
      guard let row = rows.row(DriverID(importer.driver), in: .dedicated) else { continue }
      #expect((row.attach == .moves) == (exporter.attach == .moves), "\(importer.driver)")
      #expect((row.use == .hangs) == exporter.hangsOthers, "\(importer.driver)")
      #expect((row.map == .fails) == exporter.isUnmappable, "\(importer.driver)")
    }
  }
}

extension DriverFacts: CustomTestStringConvertible {
  public var testDescription: String { driver }
}
