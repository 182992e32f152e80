// The random number generator of scenarios and tests: the same seed gives the same numbers on every
// machine.

/// SplitMix64.
package struct Seeded: RandomNumberGenerator, Sendable {
  private var state: UInt64
  package init(_ seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  package mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }
  package mutating func percent(_ share: Int) -> Bool { below(100) < share }
  /// - Precondition: `values` is not empty.
  package mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

  /// One of the values, with a probability proportional to its weight.
  package mutating func pick<T>(_ weighted: KeyValuePairs<T, Int>) -> T {
    var at = below(weighted.reduce(0) { $0 + $1.value })
    for (value, weight) in weighted {
      if at < weight { return value }
      at -= weight
    }
    return weighted[0].key
  }
}
