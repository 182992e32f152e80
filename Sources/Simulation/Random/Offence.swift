// What primed did or answered wrong on a random day.

internal import Placement

/// Something wrong, or less good than possible, that primed did or answered on some day.
package struct Offence: Sendable {
  package enum Kind: String, Sendable, CaseIterable {
    /// Must be 0: harm that primed did.
    case moves, wakes, masters, held
    /// Must be 0: wrong statements in answers.
    case hang, gone, native, inPlace = "in-place", sure, scanout
    /// Must be 0: answers that depend on the order of devices, or on being asked together.
    case order, together
    /// Better was possible with full knowledge.
    case regret
  }
  package var kind: Kind
  package var kernel: RandomKernel
  package var seed: UInt64
  package var step: Int
  /// A short description that is the same for all offences of its kind.
  package var cause: String
  /// What the step should expect instead.
  package var expect: Expectations
}

extension Offence {
  /// The day as a scenario file up to the offence; it fails there until the bug is fixed.
  package var scenario: Scenario {
    var scenario = RandomDay(seed: seed, kernel).scenario
    scenario.steps = Array(scenario.steps.prefix(step + 1))
    scenario.steps[step].expect = expect
    scenario.about = "\(kind.rawValue): \(cause)"
    return scenario
  }
}
