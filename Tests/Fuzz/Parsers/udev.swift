// What udev says of devices: an administrator's words, and those that a device has in itself (a USB
// device's strings).

/// In place of libudev's: lines of KEY=VALUE, of the parent and both of its nodes.
struct UdevDevice {
  let name: String
  let words: [String: String]
  var path: String { "/sys/devices/none/" + name }
  var node: Node? { Node(path: "/dev/dri/" + name, number: DeviceNumber(UInt64(name.utf8.count))) }
  var driver: String? { words["driver"] }
  var subsystem: String { words["subsystem"] ?? "" }
  var usbDevice: UdevDevice? { self }
  func property(_ key: String) -> String? { words[key] }
  func attribute(_ key: String) -> String? { words[key] }
  func has(tag: String) -> Bool { words["tag"] == tag }
}

func fuzzUdev(_ bytes: UnsafeBufferPointer<UInt8>) {
  Log.level = .err
  let text = String(decoding: bytes, as: UTF8.self)
  _ = largestPrefetchableBAR(text)
  var words: [String: String] = [:]
  for line in text.split(separator: "\n") {
    let parts = line.split(separator: "=", maxSplits: 1)
    if parts.count == 2 { words[String(parts[0])] = String(parts[1]) }
  }
  var draft = DeviceDraft(
    parent: UdevDevice(name: words["name"] ?? "none", words: words), sysfsPath: "/sys/devices/none")
  draft.add(node: UdevDevice(name: "card0", words: words))
  draft.add(node: UdevDevice(name: "renderD128", words: words))
  guard let device = draft.description else { return }
  var registry = Registry(counter: 1)
  precondition(registry.apply(device).count == 1, "a device that comes is news")
  precondition(registry.apply(device).isEmpty, "and the same again is not")
  let table = DeviceTable(registry.entries, pairs: PairTable(own: []), kernel: nil)
  for slot in table.present { precondition(!table.title(of: slot).isEmpty) }
}
