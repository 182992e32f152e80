// One program with all parsers, made once: the variable PARSER says which of them is fed.

import Glibc

private nonisolated(unsafe) let feed: (UnsafeBufferPointer<UInt8>) -> Void = {
  switch getenv("PARSER").map({ String(cString: $0) }) {
  case "btf": fuzzBTF
  case "object": fuzzObject
  case "pairs": fuzzPairs
  case "json": fuzzJSON
  case "fdinfo": fuzzFDInfo
  case "udev": fuzzUdev
  case "message": fuzzMessage
  case "scenario": fuzzScenario
  case let other: fatalError("no such parser: \(other ?? "PARSER is not set")")
  }
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  feed(UnsafeBufferPointer(start: bytes, count: count))
  return 0
}
