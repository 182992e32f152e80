// The BPF object file.

/// What SwiftPM makes of the committed object.
enum PackageResources { static let dmabuf_bpf_o: [UInt8] = [] }

func fuzzObject(_ bytes: UnsafeBufferPointer<UInt8>) {
  _ = try? ProgramObject(Array(bytes))
}
