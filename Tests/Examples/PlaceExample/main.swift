// PlaceExample ADDRESS DEFAULT [--follow | --explain | --cancel] BUFFER...: asks about each
// simulated buffer twice, with async/await. --follow: then asks about the last one again and again,
// at each change, until it is used elsewhere. --explain: then prints all that primed knows of the
// last one. --cancel: asks about each only once, and takes the question back before there is an
// answer.

import Glibc
import PrimedClient

@_silgen_name("memfd_create")
private func memfd(_ name: UnsafePointer<CChar>, _ flags: UInt32) -> Int32

var words = CommandLine.arguments
let follows = words.contains("--follow")
let explains = words.contains("--explain")
let cancels = words.contains("--cancel")
words.removeAll { $0.hasPrefix("--") }
let client = try PrimedClient(address: words[1], defaultDevice: UInt64(words[2])!, timeout: 5000)
let buffers = words.dropFirst(3).map { (name: $0, fd: memfd("primed:\($0)", 1)) }
defer { for buffer in buffers { close(buffer.fd) } }

func ask(_ name: String, _ fd: Int32) async throws -> UInt64 {
  let isKnown = client.known([fd]) != nil
  let placement = try await client.place([fd])
  let source = placement.isDefault ? "default" : isKnown ? "cached" : "asked"
  print(name, placement.device, placement.access.rawValue, source)
  return placement.device
}

if cancels {
  for buffer in buffers {
    let question = Task { try await client.place([buffer.fd]) }
    question.cancel()
    do {
      print(buffer.name, try await question.value.device)
    } catch is CancellationError {
      print(buffer.name, "cancelled")
    }
  }
  exit(0)
}
for buffer in buffers {
  for _ in 1...2 { _ = try await ask(buffer.name, buffer.fd) }
}
if follows, let last = buffers.last, let placement = client.known([last.fd]) {
  print("following")
  fflush(nil)
  for await _ in client.changes {
    if try await ask(last.name, last.fd) != placement.device { break }
  }
}
if explains, let last = buffers.last {
  print(try await client.explain([last.fd]), terminator: "")
}
