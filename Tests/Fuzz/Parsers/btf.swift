// BTF of a kernel or a module: the file is the kernel's, and its parser runs as root.

func fuzzBTF(_ bytes: UnsafeBufferPointer<UInt8>) {
  let file = Array(bytes)
  guard let data = try? TypeData(file) else { return }
  for name in ["dma_buf", "file", "drm_gem_object", "primed_query"] {
    guard let id = try? data.structure(name) else { continue }
    for member in ["priv", "f_op", "dev", "fd", "count"] {
      guard let member = try? data.member(member, of: id) else { continue }
      _ = try? data.width(of: member.type)
      _ = try? data.pointee(of: member.type)
      _ = try? data.element(of: member.type)
    }
  }
}
