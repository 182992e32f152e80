// What primed asks of a kernel. DRM and Udev stand behind these protocols on a real machine,
// Simulation behind the same ones on a machine in a file; nothing above knows which.

package import Linux
package import Placement

/// What happened to a device. Applying the same one twice changes nothing.
package enum DeviceEvent: Sendable {
  /// Appeared, or anything in its description changed.
  case present(DeviceDescription)
  /// The device at this sysfs path has no nodes left.
  case absent(sysfsPath: String)
  /// Events were lost: enumerate again.
  case overrun
}

/// Tells which devices there are. Calls `handler` on the loop's thread.
package protocol DeviceSource: AnyObject {
  /// Starts listening; only what happens after this is reported. Call before `enumerate`.
  func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno)
  /// All devices that are there now, in no particular order. Opens and wakes nothing.
  func enumerate() -> [DeviceDescription]
  /// The device that owns this node, if it is there, whether or not its event came yet.
  func find(_ number: DeviceNumber) -> DeviceDescription?
  /// Its power state now, read without waking it.
  func power(of device: DeviceDescription) -> Power
}

/// Reads what an fd tells of itself without any driver, file system or client being asked.
package protocol BufferReader: AnyObject {
  /// nil: not a DMA-BUF. Borrows `fd`.
  func identity(of fd: Int32) -> BufferIdentity?
  /// From fdinfo. Borrows `fd`. Costs several system calls: for buffers not seen before.
  func label(of fd: Int32) -> BufferLabel
  /// By BPF; nil: no such evidence. Borrows `fd`. Asked in every look, but not for an answer from
  /// the cache, though it costs little (Tests/Benchmarks/introspection: 5 to 8 us in the guest,
  /// about a hundredth of the CPU time of such an answer there): where a buffer lies at the moment
  /// changes no answer once its home is settled, and while that is not settled there is a new look
  /// when it is due.
  func introspect(_ fd: Int32) -> Introspection?
}

package struct BufferLabel: Sendable, Equatable {
  package var exporter: ExporterName
  /// Bytes.
  package var size: UInt64
  package init(exporter: ExporterName, size: UInt64) {
    self.exporter = exporter
    self.size = size
  }
}

/// A DMA-BUF held for as long as a probe needs it; closed with the last reference.
package final class HeldBuffer: Sendable {
  package let identity: BufferIdentity
  package let fd: OwnedFD
  /// Takes `fd` over.
  package init(identity: BufferIdentity, fd: consuming OwnedFD) {
    self.identity = identity
    self.fd = fd
  }
}

/// One import of one dma-buf on one device.
package struct ProbeTask: Sendable {
  package var device: DeviceDescription
  package var buffer: HeldBuffer
  package var method: ProbeMethod
  /// May wake the device.
  package var wake: Bool
  /// For whom: users take turns at a device.
  package var user: UInt32
  package init(
    device: DeviceDescription, buffer: HeldBuffer, method: ProbeMethod, wake: Bool, user: UInt32 = 0
  ) {
    self.device = device
    self.buffer = buffer
    self.method = method
    self.wake = wake
    self.user = user
  }
}

/// What a device turned out to be able to do, asked with sacrificial buffers only.
package struct DeviceAbilities: Sendable, Equatable {
  package var noMove: NoMove
  /// Imports an ordinary system-memory buffer (a udmabuf) of no device.
  package var imports: Bool
  package init(noMove: NoMove, imports: Bool) {
    self.noMove = noMove
    self.imports = imports
  }
}

package enum AbilityOutcome: Sendable, Equatable {
  case known(DeviceAbilities)
  case asleep
  case gone
  case timedOut
}

/// Runs DRM calls, on one worker per device, never on the caller's thread. Every `done` is called
/// once, on the loop's thread, at the latest at the deadline. Calls for one device run in order.
package protocol Prober: AnyObject {
  /// Decides `DeviceAbilities`. Run once a device, before its first `probe`.
  func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void)
  func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void)
  /// Closes the device's nodes; what is under way ends as `.gone`. `done` with true once they are
  /// closed, or with false at the deadline: a driver that does not answer keeps them open until it does.
  func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void)
}

/// The time, of the machine or of a scenario.
package protocol TimeSource: AnyObject {
  var now: Milliseconds { get }
}

/// How long one call into a driver may take before its asker goes on without it. The longest honest
/// import measured was 10 ms (in the guest); a driver under reset may never come back.
package let probeDeadline: Milliseconds = 500
