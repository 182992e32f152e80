// Which values of a driver's buffer object say where a buffer lies and what it was allocated for:
// data, each with its place in the kernel's source. Drivers that keep all buffers in system memory
// need no row: the driver table has that (Placement/Drivers). bochs and qxl have no row either:
// they record only the current placement (`placements`).

package import CBPF

/// How to read a memory from one value.
package struct ValueRecipe {
  package enum Coding {
    /// The value is the number of a memory.
    case number
    /// The value is a mask of the allowed memories; `both`: its meaning if bits of both are set.
    case mask(both: dmabuf_memory)
  }
  package var path: String
  package var coding: Coding
  /// Masks; for `number`, of the numbers.
  package var dedicated: UInt32
  package var system: UInt32
  /// The member of the first pointer's target that points back, and the object's member that it
  /// points to.
  package var back: (from: String, structure: String, to: String)?
}

package struct DriverRecipe {
  /// The name of the module and of its drm_driver.
  package var driver: String
  /// The driver's own type, and its member that is the GEM object.
  package var structure: String
  package var gem: String
  package var residency: ValueRecipe
  /// nil: the driver keeps no record of what an object was allocated for.
  package var preferred: ValueRecipe?
}

extension ValueRecipe {
  /// The resource of a TTM buffer: include/drm/ttm/ttm_placement.h, TTM_PL_*: 0 system, 1 TT, 2
  /// VRAM; 3 is a second VRAM with xe, and private (so unknown) with others.
  fileprivate static func resource(
    _ buffer: String, dedicated: UInt32 = 1 << 2, system: UInt32 = 1 << 0 | 1 << 1
  ) -> ValueRecipe {
    ValueRecipe(
      path: "\(buffer).resource->mem_type", coding: .number, dedicated: dedicated, system: system,
      back: (from: "bo", structure: "ttm_resource", to: buffer))
  }
}

package let driverRecipes: [DriverRecipe] = [
  // include/uapi/drm/amdgpu_drm.h: GTT 2, VRAM 4. Both: VRAM first, as in
  // amdgpu_bo_placement_from_domain().
  DriverRecipe(
    driver: "amdgpu", structure: "amdgpu_bo", gem: "tbo.base", residency: .resource("tbo"),
    preferred: ValueRecipe(
      path: "preferred_domains", coding: .mask(both: DMABUF_MEMORY_DEDICATED), dedicated: 4,
      system: 2)),
  // include/uapi/drm/radeon_drm.h: the same; radeon_ttm_placement_from_domain().
  DriverRecipe(
    driver: "radeon", structure: "radeon_bo", gem: "tbo.base", residency: .resource("tbo"),
    preferred: ValueRecipe(
      path: "initial_domain", coding: .mask(both: DMABUF_MEMORY_DEDICATED), dedicated: 4, system: 2)
  ),
  // include/uapi/drm/nouveau_drm.h: VRAM 2, GART 4. Both: always before Tesla (nouveau_gem_new()).
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
  // objects of user space.
  DriverRecipe(
    driver: "i915", structure: "drm_i915_gem_object", gem: "base",
    residency: ValueRecipe(
      path: "mm.region->type", coding: .number, dedicated: 1 << 1 | 1 << 3, system: 1 << 0),
    preferred: ValueRecipe(
      path: "mm.placements[0]->type", coding: .number, dedicated: 1 << 1 | 1 << 3, system: 1 << 0)),
  // drivers/gpu/drm/vmwgfx/vmwgfx_drv.h, VMW_PL_*: 3 GMR, 4 MOB, 5 SYSTEM are all guest memory.
  // `places` is only the current placement. The structure has this name since 6.5.
  DriverRecipe(
    driver: "vmwgfx", structure: "vmw_bo", gem: "tbo.base",
    residency: .resource("tbo", system: 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5)),
  DriverRecipe(
    driver: "vmwgfx", structure: "vmw_buffer_object", gem: "base.base",
    residency: .resource("base", system: 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5)),
  // This project's test driver, Tests/Guest/tgpu.
  DriverRecipe(
    driver: "tgpu", structure: "tgpu_bo", gem: "base.base",
    residency: ValueRecipe(path: "placement", coding: .number, dedicated: 1 << 1, system: 1 << 0),
    preferred: ValueRecipe(path: "preferred", coding: .number, dedicated: 1 << 1, system: 1 << 0)),
]
