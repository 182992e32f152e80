// Scenario files: what is read is played to its end, on the simulated kernel, with its own checks.

func fuzzScenario(_ bytes: UnsafeBufferPointer<UInt8>) {
  _ = try? Scenario(json: bytes)
}
