// JSON, as scenario files are written in.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  _ = try? JSON(UnsafeBufferPointer(start: bytes, count: count))
  return 0
}
