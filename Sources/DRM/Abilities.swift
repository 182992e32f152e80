// What a device can do, found out with sacrificial buffers of primed's own: a client's buffer is
// never used to ask, since where the flag is ignored the question is an import.

internal import CShims
internal import Glibc
package import Kernel
package import Linux
package import Placement

extension DeviceNode {
  /// What a buffer of no device tells. `noMove` is `honoured` where undefined flag bits are refused,
  /// since flags are then read; else `unknown`: they may be ignored, or bit 0 alone be heeded.
  package func abilities() -> DeviceAbilities {
    guard let buffer = try? Self.systemBuffer() else {
      return DeviceAbilities(noMove: .unknown, imports: true)
    }
    guard case .reached = importBuffer(buffer.rawValue, flags: 0) else {
      return DeviceAbilities(noMove: .unknown, imports: false)
    }
    if case .failed(let errno) = importBuffer(buffer.rawValue, flags: Self.undefinedFlag),
      errno.code == EINVAL
    {
      return DeviceAbilities(noMove: .honoured, imports: true)
    }
    return DeviceAbilities(noMove: .unknown, imports: true)
  }

  /// What a sacrificial buffer in another device's dedicated memory tells: refused with the flag and
  /// let in without it, the flag made the difference. The buffer may be moved by this.
  package func heedsNoMove(sacrifice: borrowing OwnedFD) -> NoMove {
    switch importBuffer(sacrifice.rawValue, flags: Self.noMoveFlag) {
    case .reached: return .ignored
    case .failed(let errno) where errno.code == EINVAL:
      if case .reached = importBuffer(sacrifice.rawValue, flags: 0) { return .honoured }
      return .unknown
    case .failed: return .unknown
    }
  }

  /// A page of system memory of no device.
  package static func systemBuffer() throws(Errno) -> OwnedFD {
    OwnedFD(try Errno.check(primed_udmabuf_create(4096)))
  }
}

/// Drivers whose imports all go through drm_gem_prime_import: what one of them makes of a flag, all of
/// them do, since it is the core that reads it. Named are those with an import of their own
/// (drivers/gpu/drm/*/: gem_prime_import).
package func importsThroughCore(driver: String) -> Bool {
  let own: Set = [
    "i915", "amdgpu", "xe", "virtio_gpu", "vmwgfx", "tegra", "omapdrm", "armada", "exynos",
    "asahi", "tgpu",
  ]
  return !own.contains(driver)
}

/// Drivers on whose render node `DeviceNode.allocate` can make a buffer in dedicated memory.
package func canSacrifice(driver: String) -> Bool {
  ["amdgpu", "radeon", "nouveau", "i915", "xe", "tgpu"].contains(driver)
}
