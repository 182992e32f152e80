// Kernel introspection as a source of evidence: on or off, and how far it is to be believed.
//
// It is off until the loader has given a program and the program has told the truth about a buffer
// of our own: of no device, or where this kernel can make none (it has no udmabuf), on a device.
// The exporter is believed from then on: it rests on DRM core's types alone, and on invariants that
// the program checks in every look. Where a driver keeps its buffers, and what for, rests on that
// driver's own types: it is believed once a buffer of our own on a device of that driver was told
// truly. The first lie switches the source off, for good: the layouts are then not this kernel's,
// whatever the reason.

package import Kernel
package import Linux
package import Placement

/// A buffer of our own whose device and memory are known.
package struct KnownBuffer {
  package var buffer: HeldBuffer
  package var device: DeviceDescription
  /// What it was allocated for.
  package var memory: Memory
  package init(_ buffer: HeldBuffer, on device: DeviceDescription, in memory: Memory) {
    self.buffer = buffer
    self.device = device
    self.memory = memory
  }
}

package final class IntrospectionSource {
  /// On or off, or another driver is believed: what was learnt before may be wrong, or known better
  /// now.
  package var onChange: (() -> Void)?
  package var isOn: Bool { program != nil && isProven }

  private let loop: EventLoop
  private let path: String
  /// A buffer of no device; nil: this machine can make none.
  private let makePlainBuffer: () -> HeldBuffer?
  private var program: Program?
  /// It has told the truth once.
  private var isProven = false
  private var connection: LoaderConnection?
  /// No program can tell the truth here.
  private var isDistrusted = false
  /// Of those that the program has layouts of.
  private var believed: Set<String> = []
  private var devices: [DeviceDescription] = []
  private var driverNames: [DeviceNumber: String] = [:]
  /// Drivers that were there, and so had their chance, when the loader was last asked.
  private var asked: Set<String> = []
  private var isWaiting = false
  private var lastLine = ""

  /// The pause between two questions to the loader: drivers may come and go as fast as anyone
  /// likes.
  private let pause: Milliseconds
  package static let usualPause: Milliseconds = 2_000

  /// Does nothing before `ask`.
  package init(
    loop: EventLoop, socket path: String, pause: Milliseconds = usualPause,
    plainBuffer: @escaping () -> HeldBuffer?
  ) {
    self.loop = loop
    self.path = path
    self.pause = pause
    makePlainBuffer = plainBuffer
  }

  // MARK: The program

  /// Asks the loader for a program, unless it is asked already.
  package func ask() {
    guard connection == nil, !isDistrusted else { return }
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
      // What is there is as good as before, only without the new driver's layout.
      if program == nil { isOff(reason) }
    case .program(let new):
      switch makePlainBuffer().map({ Self.isTruth(new, of: $0) }) {
      case .failed(let errno): isOff("the program can't be run: \(errno)")
      case .lied(let seen): distrust("a buffer of no device", seen)
      case .told: start(new, isProven: true)
      case nil: start(new, isProven: isProven)
      }
    }
    askAgainIfNeeded()
  }

  private func start(_ new: Program, isProven: Bool) {
    let isNews = program?.drivers != new.drivers
    program = new
    self.isProven = isProven
    // A module that was loaded anew may be another build.
    believed = []
    if !isProven {
      isOff("no udmabuf to try it with; it waits for a buffer on a device")
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
    Log.write(.warning, "introspection is off, since it lies about \(what): \(seen)")
    if wasOn { onChange?() }
  }

  // MARK: Known answers

  private enum Verdict {
    case told
    case lied(Seen)
    case failed(Errno)
  }

  private static func isTruth(_ program: Program, of plain: HeldBuffer) -> Verdict {
    let seen = program.look(at: plain.fd.rawValue, plain.identity)
    if case .failed(let errno) = seen { return .failed(errno) }
    let truth = Introspection(
      card: .none, render: .none, registered: true, residency: .system, preferred: .system,
      attached: 0)
    return seen == .buffer(truth) ? .told : .lied(seen)
  }

  /// Awake or not, these wait for a buffer of ours on them: to be given to `check`.
  package var devicesToCheck: [DeviceDescription] {
    guard let program else { return [] }
    var waiting = program.drivers.subtracting(believed)
    return devices.filter { waiting.remove($0.driver) != nil }
  }

  /// Believes the driver from now on, or no one. Some answers decide nothing: of a device that has
  /// just gone, of a buffer that lies in system memory since the dedicated one was full, and of a
  /// driver that keeps what is asked somewhere else in this kernel.
  package func check(_ known: KnownBuffer) {
    let device = known.device
    guard let program, program.drivers.contains(device.driver), !believed.contains(device.driver)
    else { return }
    let seen = program.look(at: known.buffer.fd.rawValue, known.buffer.identity)
    guard let told = Self.answer(seen, about: known) else {
      return distrust("a buffer of our own on \(device.node?.path ?? device.driver)", seen)
    }
    guard told.registered, told.preferred == known.memory,
      told.residency == known.memory || told.residency == .unknown
    else { return }
    believed.insert(device.driver)
    Log.write(.debug, "introspection is right about \(device.driver)")
    if !isProven {
      isProven = true
      sayOn()
    }
    onChange?()
  }

  /// nil: a lie. An answer that is none decides nothing, and is given as of a device that has gone.
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
    case .unknownExporter, .otherFile, .inconsistent: return nil
    }
  }

  // MARK: Devices

  /// All that are there now. A driver that came since the loader was asked may have a layout by
  /// now, and one that went and came again is perhaps another build.
  package func devicesChanged(_ now: [DeviceDescription]) {
    devices = now
    driverNames.removeAll(keepingCapacity: true)
    for device in now {
      for node in [device.primary, device.render] {
        if let node { driverNames[node.number] = device.driver }
      }
    }
    asked.formIntersection(now.map(\.driver))
    askAgainIfNeeded()
  }

  private func askAgainIfNeeded() {
    guard !isWaiting, connection == nil, !isDistrusted,
      devices.contains(where: { !asked.contains($0.driver) })
    else { return }
    isWaiting = true
    loop.soon(after: pause) { [weak self] in
      self?.isWaiting = false
      self?.ask()
    }
  }

  /// Whether the memory that is told of buffers of this driver is to be believed.
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
