// The BPF object file.

/// What SwiftPM makes of the committed object.
enum PackageResources { static let dmabuf_bpf_o: [UInt8] = [] }

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  _ = try? ProgramObject(Array(UnsafeBufferPointer(start: bytes, count: count)))
  return 0
}
