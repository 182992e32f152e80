// fdinfo: part of it is a buffer's name, which any process can set.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  let info = FDInfo(text)
  // What follows the name must change nothing.
  let cut = text.split(separator: "\n").prefix { !$0.hasPrefix("name:") }.joined(separator: "\n")
  precondition(FDInfo(cut) == info, "\(text)")
  return 0
}
