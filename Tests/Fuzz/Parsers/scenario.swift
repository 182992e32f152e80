// Scenario files: what is read is played to its end, on the simulated kernel, with its own checks.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  _ = try? Scenario(json: UnsafeBufferPointer(start: bytes, count: count))
  return 0
}
