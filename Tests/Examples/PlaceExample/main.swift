// PlaceExample ADDRESS DEFAULT BUFFER...: asks about each simulated buffer twice, with async/await.

import Glibc
import PrimedClient

@_silgen_name("memfd_create")
private func memfd(_ name: UnsafePointer<CChar>, _ flags: UInt32) -> Int32

let words = CommandLine.arguments
let client = try PrimedClient(address: words[1], defaultDevice: UInt64(words[2])!, timeout: 5000)
for name in words.dropFirst(3) {
  let fd = memfd("primed:\(name)", 1)
  defer { close(fd) }
  for _ in 1...2 {
    let isKnown = client.known([fd]) != nil
    let placement = try await client.place([fd])
    let source = placement.isDefault ? "default" : isKnown ? "cached" : "asked"
    print(name, placement.device, placement.access.rawValue, source)
  }
}
