// The format's words for values; decoder and writer use the same tables.

internal import Placement

enum ScenarioWords {
  static let memories: KeyValuePairs<String, Memory> = ["dedicated": .dedicated, "system": .system]
  static let noMove: KeyValuePairs<String, KernelModel.NoMoveFlag> = [
    "ignored": .ignored, "honoured": .honoured, "validated": .validated,
  ]
  static let power: KeyValuePairs<String, Power> = ["active": .active, "suspended": .suspended]
  static let roles: KeyValuePairs<String, Role> = [
    "render": .render, "display": .display, "split": .split, "sink": .sink, "software": .software,
  ]
  static let reaches: KeyValuePairs<String, Reach.How> = [
    "dedicated": .dedicated, "system": .system, "hangs": .hangs,
  ]
  /// The names of org.primed.Broker1.Error.* that a scenario can cause.
  static let errors = ["UnknownDevice", "Released", "LimitsExceeded", "Failed"]
  /// Totals since the start that a step may expect.
  static let totals = ["moves", "wakes", "masters", "held"]
}
