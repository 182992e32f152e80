// Kernel introspection as a source of evidence: whether it is on, and which of its answers are
// believed.
//
// It is off until the loader has given a program and the program's answer about a scratch buffer
// was right: a buffer of no device, or if this kernel can make none (it has no udmabuf), of a
// device. From then on the exporter is believed: it depends only on DRM core's types, and on
// invariants that the program checks each time. Where a driver keeps its buffers, and what for,
// depends on that driver's types: it is believed once the answer about a scratch buffer of that
// driver was right. The first wrong answer switches introspection off for good: the layouts are
// then not those of this kernel. A scratch buffer that the program does not recognise is not a
// wrong answer, but means that there is no evidence of that driver.

package import Linux
package import Placement
package import Ports

/// A scratch buffer whose device and memory are known.
package struct KnownBuffer {
  package var buffer: HeldBuffer
  package var device: DeviceDescription
  /// The memory that it was allocated in.
  package var memory: Memory
  package init(_ buffer: HeldBuffer, on device: DeviceDescription, in memory: Memory) {
    self.buffer = buffer
    self.device = device
    self.memory = memory
  }
}

package final class IntrospectionSource {
  /// Introspection was switched on or off, or another driver is believed: earlier evidence may be
  /// wrong or incomplete.
  package var onChange: (() -> Void)?
  package var isOn: Bool { program != nil && isProven }

  private let loop: EventLoop
  private let path: String
  /// Gives a new buffer of no device, on a later turn of the loop; nil: this machine can make none.
  package typealias PlainBufferRequest = (_ done: @escaping (HeldBuffer?) -> Void) -> Void
  private let requestPlainBuffer: PlainBufferRequest
  private var program: Program?
  /// The program has given one right answer.
  private var isProven = false
  private var connection: LoaderConnection?
  /// A program waits for the buffer that it is checked with.
  private var isTrying = false
  /// A program gave a wrong answer: no other one is asked for.
  private var isDistrusted = false
  /// Drivers whose layouts were checked, of those that the program has.
  private var believed: Set<String> = []
  /// Drivers whose buffers the program did not recognise; each is logged once.
  private var unknown: Set<String> = []
  private var devices: [DeviceDescription] = []
  private var driverNames: [DeviceNumber: String] = [:]
  /// Drivers that were present when the loader was last asked.
  private var asked: Set<String> = []
  private var isWaiting = false
  private var lastLine = ""

  /// The pause between two requests to the loader.
  private let pause: Milliseconds

  /// Does nothing before `ask`.
  package init(
    loop: EventLoop, socket path: String, pause: Milliseconds = Limits.timeBetweenLoads,
    plainBuffer: @escaping PlainBufferRequest
  ) {
    self.loop = loop
    self.path = path
    self.pause = pause
    requestPlainBuffer = plainBuffer
  }

  // MARK: The program

  /// Asks the loader for a program, unless a request is in progress.
  package func ask() {
    guard connection == nil, !isTrying, !isDistrusted else { return }
    asked = Set(devices.map(\.driver))
    do throws(Errno) {
      connection = try LoaderConnection(to: path, on: loop) { [unowned self] answer in
        connection = nil
        take(answer)
      }
    } catch {
      isOff("\(path): \(error)")
    }
  }

  private func take(_ answer: LoaderAnswer) {
    switch answer {
    case .refused(let reason):
      // The program that is there stays in use, without the new driver's layout.
      if program == nil { isOff(reason) }
      askAgainIfNeeded()
    case .program(let new):
      isTrying = true
      requestPlainBuffer { [weak self] plain in
        guard let self else { return }
        isTrying = false
        take(new, triedWith: plain)
        askAgainIfNeeded()
      }
    }
  }

  private func take(_ new: Program, triedWith plain: HeldBuffer?) {
    switch plain.map({ Self.verdict(of: new, on: $0) }) {
    case .failed(let errno): isOff("the program can't be run: \(errno)")
    case .wrong(let seen): distrust("a buffer of no device", seen)
    case .right: start(new, isProven: true)
    case .unrecognised:
      start(new, isProven: isProven, "it doesn't recognise a buffer of no device")
    case nil: start(new, isProven: isProven, "no udmabuf to try it with")
    }
  }

  /// `lack`: why it is not proven yet.
  private func start(_ new: Program, isProven: Bool, _ lack: String = "") {
    let isNews = program?.drivers != new.drivers
    program = new
    self.isProven = isProven
    believed.formIntersection(new.drivers)
    if !isProven {
      isOff("\(lack); it waits for a buffer on a device")
    } else if isNews {
      sayOn()
    }
    onChange?()
  }

  private func sayOn() {
    let drivers = program?.drivers.sorted().joined(separator: ", ") ?? ""
    Log.write(
      .info, "introspection is on, with layouts of \(drivers.isEmpty ? "no driver" : drivers)")
    lastLine = ""
  }

  private func isOff(_ reason: String) {
    guard reason != lastLine else { return }
    lastLine = reason
    Log.write(.notice, "introspection is off: \(reason)")
  }

  private func distrust(_ what: String, _ seen: Seen) {
    let wasOn = isOn
    isDistrusted = true
    program = nil
    believed = []
    Log.write(.warning, "introspection is off, since it is wrong about \(what): \(seen)")
    if wasOn { onChange?() }
  }

  // MARK: Known answers

  private enum Verdict {
    case right
    case unrecognised
    case wrong(Seen)
    case failed(Errno)
  }

  private static func verdict(of program: Program, on plain: HeldBuffer) -> Verdict {
    let seen = program.look(at: plain.fd.rawValue, plain.identity)
    if case .failed(let errno) = seen { return .failed(errno) }
    let truth = Introspection(
      card: .none, render: .none, registered: true, residency: .system, preferred: .system,
      attached: 0, peers: 0)
    switch seen {
    case .buffer(truth): return .right
    case .unknownExporter: return .unrecognised
    default: return .wrong(seen)
    }
  }

  /// One device of each driver that is not checked yet, awake or not: a scratch buffer of it is to
  /// be given to `check`.
  package var devicesToCheck: [DeviceDescription] {
    guard let program else { return [] }
    var waiting = program.drivers.subtracting(believed).subtracting(unknown)
    return devices.filter { waiting.remove($0.driver) != nil }
  }

  /// Believes the driver from now on, or switches introspection off. Some answers decide nothing:
  /// of a device that has just gone, of a buffer that lies in system memory because dedicated
  /// memory was full, and of a driver that keeps this information elsewhere in this kernel.
  package func check(_ known: KnownBuffer) {
    let device = known.device
    guard let program, program.drivers.contains(device.driver), !believed.contains(device.driver)
    else { return }
    let seen = program.look(at: known.buffer.fd.rawValue, known.buffer.identity)
    if seen == .unknownExporter { return isUnknown(device.driver) }
    guard let told = Self.answer(seen, about: known) else {
      return distrust("primed's own buffer on \(device.node?.path ?? device.driver)", seen)
    }
    let memories = [told.preferred, told.residency].filter { $0 != .unknown }
    guard told.registered, !memories.isEmpty, memories.allSatisfy({ $0 == known.memory }) else {
      return
    }
    believed.insert(device.driver)
    Log.write(.debug, "introspection is right about \(device.driver)")
    if !isProven {
      isProven = true
      sayOn()
    }
    onChange?()
  }

  /// The program does not recognise buffers of this driver, so there is no evidence of them.
  /// Answers about other drivers' buffers are still believed.
  private func isUnknown(_ driver: String) {
    guard unknown.insert(driver).inserted else { return }
    Log.write(
      .warning, "introspection doesn't recognise buffers of \(driver) and tells nothing of them")
  }

  /// nil: the answer is wrong. An answer that decides nothing is returned as one about a device
  /// that has gone.
  private static func answer(_ seen: Seen, about known: KnownBuffer) -> Introspection? {
    let nothing = Introspection(
      card: .none, render: .none, registered: false, residency: .unknown, preferred: .unknown)
    switch seen {
    case .busy, .failed: return nothing
    case .buffer(let told) where !told.registered: return nothing
    case .buffer(let told):
      let isTheDevice =
        told.card == known.device.primary?.number ?? .none
        && told.render == known.device.render?.number ?? .none
      let isItsPurpose = told.preferred == known.memory || told.preferred == .unknown
      return isTheDevice && isItsPurpose ? told : nil
    case .otherFile, .inconsistent: return nil
    case .unknownExporter: return nothing
    }
  }

  // MARK: Devices

  /// All devices that are there now. The loader may have a layout of a driver that appeared since
  /// it was asked; a driver that was unloaded and loaded again may be another build.
  package func devicesChanged(_ now: [DeviceDescription]) {
    devices = now
    driverNames.removeAll(keepingCapacity: true)
    for device in now {
      for node in [device.primary, device.render] {
        if let node { driverNames[node.number] = device.driver }
      }
    }
    let drivers = Set(now.map(\.driver))
    asked.formIntersection(drivers)
    // A module that is loaded again may be another build.
    believed.formIntersection(drivers)
    unknown.formIntersection(drivers)
    askAgainIfNeeded()
  }

  private func askAgainIfNeeded() {
    guard !isWaiting, connection == nil, !isTrying, !isDistrusted,
      devices.contains(where: { !asked.contains($0.driver) })
    else { return }
    isWaiting = true
    loop.soon(after: pause) { [weak self] in
      self?.isWaiting = false
      self?.ask()
    }
  }

  /// Whether introspection is believed about the memory of this driver's buffers.
  package func believes(_ driver: String) -> Bool { isOn && believed.contains(driver) }

  // MARK: Looking

  /// nil: no evidence. Borrows `fd`.
  package func introspect(_ fd: Int32, _ identity: BufferIdentity) -> Introspection? {
    guard let program, isProven, case .buffer(var seen) = program.look(at: fd, identity) else {
      return nil
    }
    guard seen.card != .none || seen.render != .none else { return seen }
    let driver = driverNames[seen.render] ?? driverNames[seen.card]
    // A device that has gone may have left its numbers to another one.
    if !seen.registered || !(driver.map(believed.contains) ?? false) {
      (seen.residency, seen.preferred) = (.unknown, .unknown)
    }
    return seen
  }
}
