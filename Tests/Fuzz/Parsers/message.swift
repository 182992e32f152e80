// Bodies of messages: the input is a recipe by which sd-bus makes one, whose types need not be
// those that the decoder expects. What the decoder takes obeys the contract's limits.

import CSystemd
import Glibc

/// A connection on which nothing is sent: sd-bus makes messages for one only.
private nonisolated(unsafe) let bus: OpaquePointer = {
  var (bus, ends) = (OpaquePointer?.none, [Int32](repeating: -1, count: 2))
  let isMade =
    socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 && sd_bus_new(&bus) >= 0
    && sd_bus_set_fd(bus, ends[0], ends[0]) >= 0 && sd_bus_start(bus) >= 0
  precondition(isMade)
  return bus!
}()

private struct Recipe {
  var rest: ArraySlice<UInt8>
  let message: OpaquePointer
  var depth = 0

  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

  mutating func number() -> UInt64 { (0..<8).reduce(0) { sum, _ in sum << 8 | UInt64(byte()) } }

  mutating func word() -> String {
    let number = Int(byte())
    let names = Hint.names
    if number < names.count { return names[number] }
    return String(decoding: (0..<Int(byte() % 40)).map { _ in byte() & 0x7F | 1 }, as: UTF8.self)
  }

  /// A complete type.
  mutating func type() -> String {
    depth += 1
    defer { depth -= 1 }
    let basic = Array("ybnqiuxtdsogh").map(String.init)
    let choice = Int(byte()) % (depth > 4 ? basic.count : basic.count + 4)
    return switch choice - basic.count {
    case 0: "a" + type()
    case 1: "v"
    case 2: "(" + type() + type() + ")"
    case 3: "a{" + basic[Int(byte()) % basic.count] + type() + "}"
    default: basic[choice]
    }
  }

  /// Appends a value of this type: a complete one.
  mutating func append(_ type: String) {
    depth += 1
    defer { depth -= 1 }
    switch type.first! {
    case "v":
      let inner = depth > 6 ? "y" : self.type()
      sd_bus_message_open_container(message, CChar(UInt8(ascii: "v")), inner)
      append(inner)
      sd_bus_message_close_container(message)
    case "a":
      let inner = String(type.dropFirst())
      sd_bus_message_open_container(message, CChar(UInt8(ascii: "a")), inner)
      for _ in 0..<Int(byte() % 6) { append(inner) }
      sd_bus_message_close_container(message)
    case "(", "{":
      let inner = String(type.dropFirst().dropLast())
      let kind = type.first == "(" ? UInt8(ascii: "r") : UInt8(ascii: "e")
      sd_bus_message_open_container(message, CChar(kind), inner)
      var left = Substring(inner)
      while !left.isEmpty {
        let one = Self.first(of: left)
        append(one)
        left = left.dropFirst(one.count)
      }
      sd_bus_message_close_container(message)
    case "s":
      sd_bus_message_append_basic(message, CChar(UInt8(ascii: "s")), word())
    case "o":
      sd_bus_message_append_basic(message, CChar(UInt8(ascii: "o")), "/")
    case "g":
      sd_bus_message_append_basic(message, CChar(UInt8(ascii: "g")), "a{sv}")
    case "h":
      var fd: Int32 = 0
      sd_bus_message_append_basic(message, CChar(UInt8(ascii: "h")), &fd)
    default:
      var value = number()
      if type == "b" { value &= 1 }
      sd_bus_message_append_basic(message, CChar(type.utf8.first!), &value)
    }
  }

  private static func first(of signature: Substring) -> String {
    var end = signature.startIndex
    while signature[end] == "a" { end = signature.index(after: end) }
    var open = 0
    repeat {
      if "({".contains(signature[end]) { open += 1 }
      if ")}".contains(signature[end]) { open -= 1 }
      end = signature.index(after: end)
    } while open > 0
    return String(signature[..<end])
  }
}

func fuzzMessage(_ bytes: UnsafeBufferPointer<UInt8>) {
  var raw: OpaquePointer?
  guard sd_bus_message_new_method_call(bus, &raw, "a.b", "/", "a.b", "C") >= 0 else { return }
  defer { sd_bus_message_unref(raw) }
  var recipe = Recipe(
    rest: Array(bytes)[...], message: raw!)
  let kind = recipe.byte()
  let expected = [["ah", "a{sv}"], ["a{sv}"], ["a(tu)"]][Int(kind) % 3]
  for type in expected { recipe.append(kind & 0x80 == 0 ? type : recipe.type()) }
  guard sd_bus_message_seal(raw, 1, 0) >= 0 else { return }
  decode(Message(raw: raw!), Int(kind) % 3)
}

private func decode(_ message: Message, _ kind: Int) {
  switch kind {
  case 0:
    var planes = 0
    guard let decoded = try? message.readPlanes({ _ in BufferIdentity(inode: 1) }) else { return }
    if case .success(let decoded) = decoded { planes = decoded.planes.count }
    precondition(planes <= Planes.limit)
    _ = try? message.readHints()
  case 1: _ = try? message.readHints(for: .advise)
  default:
    guard let users = try? message.readUsers() else { return }
    precondition(!users.isEmpty && users.count <= AdviceUser.limit)
  }
}
