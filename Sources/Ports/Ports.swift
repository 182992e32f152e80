// What primed asks of a kernel: protocols. DRM and Udev implement them on a real machine,
// Simulation for a machine in a file; the rooms above don't know which.

package import Linux
package import Placement

/// What happened to a device. Applying the same event twice changes nothing.
package enum DeviceEvent: Sendable {
  /// Appeared, or anything in its description changed.
  case present(DeviceDescription)
  /// The device at this sysfs path has no nodes any more.
  case absent(sysfsPath: String)
  /// Events were lost: enumerate again.
  case overrun
}

/// The devices that are there, and changes of them. Calls `handler` on the loop's thread.
package protocol DeviceSource: AnyObject {
  /// Starts listening; only later changes are reported. Call it before `enumerate`.
  func listen(_ handler: @escaping (DeviceEvent) -> Void) throws(Errno)
  /// All devices that are there now, in no particular order. Opens nothing and wakes nothing.
  func enumerate() -> [DeviceDescription]
  /// The device that has this node, whether or not its event has come yet; nil: there is none.
  func find(_ number: DeviceNumber) -> DeviceDescription?
  /// Its power state, read without waking it. Cheap: called once a second while questions come.
  func power(of device: DeviceDescription) -> PowerReading
}

/// A device's runtime power at one moment.
package struct PowerReading: Sendable, Equatable {
  package var power: Power
  /// Milliseconds that it has been awake in total (power/runtime_active_time); nil: unknown, or it
  /// is awake. A device that sleeps at two readings with the same value slept all the time between
  /// them.
  package var activeTime: Milliseconds?
  package init(_ power: Power, activeTime: Milliseconds? = nil) {
    self.power = power
    self.activeTime = activeTime
  }
}

/// Reads what the kernel says of an fd without a driver, file system or client being involved.
package protocol BufferReader: AnyObject {
  /// nil: not a DMA-BUF. Borrows `fd`.
  func identity(of fd: Int32) -> BufferIdentity?
  /// The identity of a DMA-BUF that is made and closed by this call: all existing ones have lower
  /// inodes, all later ones have higher inodes. nil: none can be made here.
  func newestIdentity() -> BufferIdentity?
  /// From fdinfo. Borrows `fd`. Takes several system calls, so it is read for new buffers only.
  func label(of fd: Int32) -> BufferLabel
  /// By BPF; nil: no such evidence. Called at every observation, but not for an
  /// answer from the cache, although it is cheap (5 to 8 us in the guest, about a
  /// hundredth of the CPU time of such an answer): where a buffer lies at the moment
  /// changes no answer once its home is settled, and until then a new observation is made when it
  /// is due.
  func introspect(_ buffer: HeldBuffer) -> Introspection?
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

/// A DMA-BUF that is held as long as a probe needs it; closed with the last reference.
package final class HeldBuffer: Sendable {
  package let identity: BufferIdentity
  package let fd: OwnedFD
  /// Takes `fd` over.
  package init(identity: BufferIdentity, fd: consuming OwnedFD) {
    self.identity = identity
    self.fd = fd
  }
}

/// One import of one DMA-BUF on one device.
package struct ProbeTask: Sendable {
  package var device: DeviceDescription
  package var buffer: HeldBuffer
  package var method: ProbeMethod
  /// May wake the device.
  package var wake: Bool
  /// The user it is for: users take turns at a device.
  package var user: UInt32
  /// The buffer's size in bytes.
  package var size: UInt64
  /// Devices that may have exported the buffer. Once one of them is released, no import begins.
  package var exporters = DeviceSet()
  /// Those of them that the import would wake: it is not made while one of them sleeps.
  package var mustBeAwake: [DeviceDescription] = []
  package init(
    device: DeviceDescription, buffer: HeldBuffer, method: ProbeMethod, wake: Bool,
    user: UInt32 = 0, size: UInt64 = 0
  ) {
    self.device = device
    self.buffer = buffer
    self.method = method
    self.wake = wake
    self.user = user
    self.size = size
  }
}

/// What a device can do, found out with scratch buffers only.
package struct DeviceAbilities: Sendable, Equatable {
  package var noMove: NoMove
  /// It imports a buffer in system memory that no device exported (a udmabuf).
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
  case unopened
  case timedOut
}

/// Makes DRM calls on one worker thread per device, never on the caller's thread. Every `done` is
/// called once, on the loop's thread, at the latest at the deadline. Calls for one device are made
/// in order.
package protocol Prober: AnyObject {
  /// Finds out `DeviceAbilities`. Called once for a device, before its first `probe`.
  func assess(
    _ device: DeviceDescription, at slot: DeviceSlot, wake: Bool,
    done: @escaping (AbilityOutcome) -> Void)
  func probe(_ task: ProbeTask, at slot: DeviceSlot, done: @escaping (ProbeOutcome) -> Void)
  /// Ends, as `.exporterAway`, all that have not begun to import a buffer of this device elsewhere.
  func abandonImports(from exporter: DeviceSlot)
  /// Closes the device's nodes; jobs in progress end as `.gone`. Calls `done` with true once the
  /// nodes are closed, or with false at the deadline: a driver that does not answer keeps them open
  /// until it returns.
  func release(_ slot: DeviceSlot, done: @escaping (Bool) -> Void)
}

/// The time, of the machine or of a scenario.
package protocol TimeSource: AnyObject {
  var now: Milliseconds { get }
}

/// How long one call into a driver may take before primed answers without it. The longest import
/// measured was 10 ms (in the guest); the call may never return from a driver in reset.
package let probeDeadline: Milliseconds = 500

/// How much longer an import of so many bytes may take before the driver counts as not answering:
/// its pages may have to be allocated, or read from swap.
package func timeForSize(_ bytes: UInt64) -> Milliseconds { bytes / (128 << 10) }
