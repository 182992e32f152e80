// fdinfo: part of it is a buffer's name, which any process can set.

func fuzzFDInfo(_ bytes: UnsafeBufferPointer<UInt8>) {
  let text = String(decoding: bytes, as: UTF8.self)
  let info = FDInfo(text)
  // What follows the name must change nothing.
  let cut = text.split(separator: "\n").prefix { !$0.hasPrefix("name:") }.joined(separator: "\n")
  precondition(FDInfo(cut) == info, "\(text)")
}
