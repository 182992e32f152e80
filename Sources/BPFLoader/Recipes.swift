// Which values of a driver's buffer object tell where a buffer is and what it was allocated for:
// data, each with its place in the kernel's source. Drivers that keep all buffers in system memory
// need no row: that is known of them by name (Placement/Pairs.swift). Nor is there one for a driver
// whose record of an allocation is only the placement of the moment (bochs, qxl: `placements`).

package import CBPF

/// How to read a memory out of one value.
package struct ValueRecipe {
  package enum Coding {
    /// The value is the number of a memory.
    case number
    /// The value is a mask of the memories that will do; `both`: what it means if bits of both are
    /// set.
    case mask(both: dmabuf_memory)
  }
  package var path: String
  package var coding: Coding
  /// Masks, of numbers as well.
  package var dedicated: UInt32
  package var system: UInt32
  /// Member of what the path's first pointer points to that points back, and to which member of the
  /// object.
  package var back: (from: String, structure: String, to: String)?
}

package struct DriverRecipe {
  /// Of the module, and of its drm_driver.
  package var driver: String
  /// The driver's own type, and the member of it that is the GEM object.
  package var structure: String
  package var gem: String
  package var residency: ValueRecipe
  package var preferred: ValueRecipe
}

extension ValueRecipe {
  /// A TTM buffer's resource: include/drm/ttm/ttm_placement.h, TTM_PL_*: 0 system, 1 TT, 2 VRAM; 3
  /// is a second VRAM with xe and private, so unknown, with others.
  fileprivate static func resource(_ buffer: String, dedicated: UInt32 = 1 << 2) -> ValueRecipe {
    ValueRecipe(
      path: "\(buffer).resource->mem_type", coding: .number, dedicated: dedicated,
      system: 1 << 0 | 1 << 1,
      back: (from: "bo", structure: "ttm_resource", to: buffer))
  }
}

package let driverRecipes: [DriverRecipe] = [
  // include/uapi/drm/amdgpu_drm.h: GTT 2, VRAM 4. Both: VRAM first, as
  // amdgpu_bo_placement_from_domain() has it.
  DriverRecipe(
    driver: "amdgpu", structure: "amdgpu_bo", gem: "tbo.base", residency: .resource("tbo"),
    preferred: ValueRecipe(
      path: "preferred_domains", coding: .mask(both: DMABUF_MEMORY_DEDICATED), dedicated: 4,
      system: 2)),
  // include/uapi/drm/radeon_drm.h: likewise; radeon_ttm_placement_from_domain().
  DriverRecipe(
    driver: "radeon", structure: "radeon_bo", gem: "tbo.base", residency: .resource("tbo"),
    preferred: ValueRecipe(
      path: "initial_domain", coding: .mask(both: DMABUF_MEMORY_DEDICATED), dedicated: 4, system: 2)
  ),
  // include/uapi/drm/nouveau_drm.h: VRAM 2, GART 4. Both: before Tesla always (nouveau_gem_new()).
  DriverRecipe(
    driver: "nouveau", structure: "nouveau_bo", gem: "bo.base", residency: .resource("bo"),
    preferred: ValueRecipe(
      path: "valid_domains", coding: .mask(both: DMABUF_MEMORY_UNKNOWN), dedicated: 2, system: 4)),
  // drivers/gpu/drm/xe/xe_bo.h: XE_PL_*; __xe_bo_placement_for_flags() puts VRAM first.
  DriverRecipe(
    driver: "xe", structure: "xe_bo", gem: "ttm.base",
    residency: .resource("ttm", dedicated: 1 << 2 | 1 << 3),
    preferred: ValueRecipe(
      path: "placements[0].mem_type", coding: .number, dedicated: 1 << 2 | 1 << 3,
      system: 1 << 0 | 1 << 1)),
  // drivers/gpu/drm/i915/intel_memory_region.h, enum intel_memory_type: 0 system, 1 local, 2 stolen
  // system, 3 stolen local. `placements` is in the order that user space gave, and never empty for
  // its objects.
  DriverRecipe(
    driver: "i915", structure: "drm_i915_gem_object", gem: "base",
    residency: ValueRecipe(
      path: "mm.region->type", coding: .number, dedicated: 1 << 1 | 1 << 3, system: 1 << 0),
    preferred: ValueRecipe(
      path: "mm.placements[0]->type", coding: .number, dedicated: 1 << 1 | 1 << 3, system: 1 << 0)),
  // This project's test driver, Tests/Guest/tgpu.
  DriverRecipe(
    driver: "tgpu", structure: "tgpu_bo", gem: "base.base",
    residency: ValueRecipe(path: "placement", coding: .number, dedicated: 1 << 1, system: 1 << 0),
    preferred: ValueRecipe(path: "preferred", coding: .number, dedicated: 1 << 1, system: 1 << 0)),
]
