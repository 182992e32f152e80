import Testing

@testable import Placement

struct ReachMatrixTests {
  private func device(
    _ id: String, _ driver: String, _ minor: UInt32, dedicated: UInt64 = 0
  ) -> DeviceEntry {
    var device = DeviceDescription(stableID: id, sysfsPath: "/sys/\(id)", driver: driver)
    device.render = Node(
      path: "/dev/dri/renderD\(minor)", number: DeviceNumber(major: 226, minor: minor))
    device.dedicatedMemory = dedicated
    device.integrated = dedicated == 0
    device.power = .active
    device.connectors = ["DP-1"]
    return DeviceEntry(device)
  }

  private func matrix(
    _ entries: [DeviceEntry], own: [PairRow] = [], measured: [PairRow] = []
  ) -> ReachMatrix {
    let pairs = PairTable(own: own, measured: measured)
    let kernel = KernelVersion(6, 12)
    let table = DeviceTable(entries, pairs: pairs, kernel: kernel)
    return ReachMatrix(table, pairs, kernel: kernel)
  }

  private var laptop: [DeviceEntry] {
    [device("a", "i915", 128), device("b", "nvidia-drm", 129, dedicated: 1 << 30)]
  }

  @Test func aRowForEachMemory() {
    let matrix = matrix(laptop)
    #expect(matrix.rows.map(\.memory) == [.system, .dedicated, .system])
    #expect(
      matrix.rows.map { $0.cells.map(\.outcome) } == [
        [.own, .inPlace], [.hangs, .own], [.inPlace, .own],
      ])
    #expect(matrix.rows[1].cells[0].origin == .row(.table))
    #expect(matrix.rows[1].cells[0].why.contains("#1037"))
    #expect(matrix.rows[1].cells[1].origin == .itself)
  }

  @Test func whereARowComesFrom() {
    let own = PairRow(
      "nvidia-drm", of: .dedicated, "i915", attach: .nothing, map: .nothing, use: .works,
      source: "mine")
    let cell = matrix(laptop, own: [own]).rows[1].cells[0]
    #expect(cell.outcome == .inPlace && cell.origin == .row(.own) && cell.why == "mine")
    let measured = PairRow(
      "nvidia-drm", of: .dedicated, "i915", attach: .moves, map: .unknown, use: .unknown,
      source: "here")
    #expect(matrix(laptop, measured: [measured]).rows[1].cells[0].origin == .row(.measured))
  }

  @Test func whatIsSeenOverrulesATable() {
    var matrix = matrix([
      device("a", "amdgpu", 128, dedicated: 1), device("b", "amdgpu", 129, dedicated: 1),
    ])
    let (a, b) = (matrix.devices[0], matrix.devices[1])
    #expect(matrix.rows[0].cells[1].outcome != .inPlace)
    matrix.see(.inPlace, by: b, of: a, in: .dedicated)
    #expect(matrix.rows[0].cells[1].outcome == .inPlace)
    #expect(matrix.rows[0].cells[1].origin == .seen)
    // A device reaches its own buffers, whatever an answer said.
    matrix.see(.moves, by: a, of: a, in: .dedicated)
    #expect(matrix.rows[0].cells[0].outcome == .own)
  }

  @Test func whoCantImportSaysWhy() {
    var deaf = laptop
    deaf[0].description.imports = false
    // The other device is the primary one now, and so comes first.
    let cell = matrix(deaf).rows[0].cells[1]
    #expect(cell.origin == .none && cell.why == "can't import")
  }

  @Test func rowsAsTheBusHasThem() {
    for row in PairTable.builtIn {
      let read = PairRow(words: row.words, source: row.source)
      #expect(read?.words == row.words && read?.source == row.source)
    }
    #expect(PairRow(words: ["a", "b"], source: "") == nil)
  }
}
