// What an import of a buffer from dedicated memory was seen to do, as a row of the pair table.

extension PairRow {
  /// nil: the measurement tells nothing. Only the import was seen, so the effects of mapping and
  /// use stay unknown.
  /// - Parameters:
  ///   - refusal: the error of the import; nil: it succeeded.
  ///   - memory: where the buffer was found after it.
  ///   - release: the kernel's, as `uname -r` prints it.
  package static func measured(
    _ exporter: MeasuredDriver, _ importer: MeasuredDriver, refusal: String?, memory: Memory,
    release: String
  ) -> PairRow? {
    let (attach, map, note): (ImportEffect, ImportEffect, String)
    switch (refusal, memory) {
    case (nil, .dedicated): (attach, map, note) = (.nothing, .unknown, "")
    case (nil, .system): (attach, map, note) = (.moves, .unknown, "")
    case (let refusal?, .dedicated): (attach, map, note) = (.fails, .unknown, ": \(refusal)")
    case (let refusal?, .system):
      (attach, map, note) = (.moves, .fails, ": \(refusal), and it had moved")
    case (_, .unknown): return nil
    }
    let kernel = KernelVersion(release)
    return PairRow(
      exporter.name, of: .dedicated, importer.name, attach: attach, map: map, use: .unknown,
      on: KernelRange(since: kernel, until: kernel),
      source: "measured on \(release), \(exporter.words), \(importer.words)\(note)")
  }
}

package struct MeasuredDriver: Sendable, Hashable {
  package var name: String
  package var version: String
  package init(name: String, version: String) { (self.name, self.version) = (name, version) }
  package init(_ device: DeviceDescription) {
    self.init(name: device.driver, version: device.driverVersion)
  }
  fileprivate var words: String { version.isEmpty ? name : "\(name) \(version)" }
}
