// What a device can do, found out with sacrificial buffers of primed's own: a client's buffer is
// never used to ask (KERNEL.md, "Is the flag honoured?").

internal import CShims
internal import Glibc
package import Kernel
package import Linux
package import Placement

extension DeviceNode {
  /// - Parameter sacrifice: a buffer of our own in another device's dedicated memory, which this one
  ///   may not be able to reach; nil where there is none. It may be moved by this.
  package func abilities(sacrifice: borrowing OwnedFD?) -> DeviceAbilities {
    guard let plain = try? Self.systemBuffer() else {
      return DeviceAbilities(noMove: heedsNoMove(sacrifice), imports: true)
    }
    guard case .reached = importBuffer(plain.rawValue, flags: 0) else {
      return DeviceAbilities(noMove: .ignored, imports: false)
    }
    if case .failed(let errno) = importBuffer(plain.rawValue, flags: Self.undefinedFlag),
      errno.code == EINVAL
    {
      return DeviceAbilities(noMove: .honoured, imports: true)
    }
    return DeviceAbilities(noMove: heedsNoMove(sacrifice), imports: true)
  }

  /// Refused with the flag and let in without it: the flag is what made the difference.
  private func heedsNoMove(_ sacrifice: borrowing OwnedFD?) -> NoMove {
    switch sacrifice {
    case .some(let buffer):
      guard case .failed(let errno) = importBuffer(buffer.rawValue, flags: Self.noMoveFlag),
        errno.code == EINVAL, case .reached = importBuffer(buffer.rawValue, flags: 0)
      else { return .ignored }
      return .honoured
    case .none: return .ignored
    }
  }

  /// A page of system memory of no device.
  private static func systemBuffer() throws(Errno) -> OwnedFD {
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
  ["amdgpu", "radeon", "nouveau", "i915", "xe"].contains(driver)
}
