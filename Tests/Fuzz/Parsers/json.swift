// JSON, as scenario files are written in.

func fuzzJSON(_ bytes: UnsafeBufferPointer<UInt8>) {
  _ = try? JSON(bytes)
}
