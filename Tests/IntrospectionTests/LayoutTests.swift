import CBPF
import Glibc
import Placement
import Testing

@testable import BPFLoader

/// The recipes, on an invented kernel with structures of the real names.
@Suite struct LayoutTests {
  private struct Machine {
    var kernel = TypeDataBuilder()
    let (byte, int, long, pointer): (Int, Int, Int, Int)
    let gem: Int

    init() {
      byte = kernel.int("_Bool", bytes: 1)
      int = kernel.int("unsigned int", bytes: 4)
      long = kernel.int("unsigned long", bytes: 8)
      pointer = kernel.pointer(to: 0)
      gem = kernel.structure(
        "drm_gem_object", bytes: 64,
        laidOut([
          ("handle_count", int, 4), ("dev", pointer, 8), ("size", long, 8), ("resv", pointer, 8),
          ("dma_buf", pointer, 8),
        ]))
      _ = kernel.structure(
        "drm_device",
        laidOut([
          ("driver", pointer, 8), ("primary", pointer, 8), ("render", pointer, 8),
          ("registered", byte, 1),
        ]))
      _ = kernel.structure(
        "drm_minor", laidOut([("index", int, 4), ("kdev", pointer, 8), ("dev", pointer, 8)]))
      _ = kernel.structure("drm_driver", laidOut([("open", pointer, 8), ("name", pointer, 8)]))
    }
  }

  @Test func core() throws {
    let core = try #require(try dmabuf_core(Types(Machine().kernel.data())))
    #expect((core.gem_device, core.gem_size, core.gem_resv, core.gem_buffer) == (8, 16, 24, 32))
    #expect(
      (core.device_driver, core.device_card, core.device_render, core.device_registered) == (
        0, 8, 16, 24
      ))
    #expect((core.minor_node, core.minor_device, core.driver_name, core.known) == (8, 16, 8, 1))
  }

  @Test func withoutOneOfItsMembersThereIsNone() throws {
    var kernel = TypeDataBuilder()
    _ = kernel.structure("drm_gem_object", [])
    #expect(try dmabuf_core(Types(kernel.data())) == nil)
  }

  /// Every driver that may have dedicated memory and is supported has a recipe, and every recipe is
  /// for a driver of the table.
  @Test func theRecipesAreOfDriversInTheTable() {
    for recipe in driverRecipes {
      let info = Driver(name: recipe.driver).info
      // For vmwgfx only the residency is read, which no scratch buffer can check.
      #expect(info.ownIoctls || recipe.preferred == nil, "\(recipe.driver): unproven")
      #expect(!info.exportsSystemMemoryOnly(on: nil), "\(recipe.driver): it needs no recipe")
    }
    let speakable = Driver.table.filter(\.ownIoctls).flatMap { $0.names.prefix(1) }
    #expect(Set(speakable) == Set(driverRecipes.filter { $0.preferred != nil }.map(\.driver)))
  }

  /// Read from a folder like /sys/kernel/btf, in which everything is built into the kernel.
  private func layouts(of kernel: TypeDataBuilder) throws -> Layouts {
    let folder = "/tmp/primed-layouts.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    let file = "\(folder)/vmlinux"
    try #require(mkdir(folder, 0o700) == 0)
    defer {
      unlink(file)
      rmdir(folder)
    }
    let fd = open(file, O_WRONLY | O_CREAT, 0o600)
    let bytes = kernel.bytes
    #expect(write(fd, bytes, bytes.count) == bytes.count)
    close(fd)
    return try Layouts(from: TypeFolder(folder))
  }

  private func recipe(_ driver: String) throws -> DriverRecipe {
    try #require(driverRecipes.first { $0.driver == driver })
  }

  @Test func ttm() throws {
    var m = Machine()
    let resource = m.kernel.structure(
      "ttm_resource", laidOut([("start", m.long, 8), ("mem_type", m.int, 4), ("bo", m.pointer, 8)]))
    let bo = m.kernel.structure(
      "ttm_buffer_object", bytes: 96,
      laidOut([
        ("base", m.gem, 64), ("pin", m.int, 4), ("resource", m.kernel.pointer(to: resource), 8),
      ]))
    _ = m.kernel.structure(
      "radeon_bo", laidOut([("list", m.long, 16), ("initial_domain", m.int, 4), ("tbo", bo, 96)]))
    var lacking: [String] = []
    let layout = try #require(
      try dmabuf_driver(
        try recipe("radeon"), Types(m.kernel.data()), size: 4711, lacking: &lacking))
    #expect(lacking == [])
    // The GEM object begins where `tbo` does, at 24.
    #expect(layout.btf_size == 4711)
    #expect(
      (layout.preferred.offset.0, layout.preferred.pointers, layout.preferred.size) == (
        16 - 24, 0, 4
      ))
    #expect(
      (layout.preferred.dedicated, layout.preferred.system, layout.preferred.is_number) == (4, 2, 0)
    )
    let residency = layout.residency
    #expect(
      (residency.offset.0, residency.offset.1, residency.pointers, residency.size) == (72, 8, 1, 4))
    #expect((residency.has_back, residency.back, residency.back_to) == (1, 16, 0))
    #expect((residency.dedicated, residency.system, residency.is_number) == (4, 3, 1))
  }

  @Test func i915() throws {
    var m = Machine()
    let kind = m.kernel.enumeration("intel_memory_type", values: [("INTEL_MEMORY_SYSTEM", 0)])
    let region = m.kernel.structure(
      "intel_memory_region", laidOut([("i915", m.pointer, 8), ("type", kind, 4)]))
    let toRegion = m.kernel.pointer(to: region)
    let mm = m.kernel.structure(
      "", bytes: 24,
      laidOut([
        ("pages", m.pointer, 8), ("placements", m.kernel.pointer(to: toRegion), 8),
        ("region", toRegion, 8),
      ]))
    _ = m.kernel.structure("drm_i915_gem_object", laidOut([("base", m.gem, 64), ("mm", mm, 24)]))
    var lacking: [String] = []
    let layout = try #require(
      try dmabuf_driver(
        try recipe("i915"), Types(m.kernel.data()), size: 0, lacking: &lacking))
    #expect(lacking == [])
    #expect(
      (layout.residency.offset.0, layout.residency.offset.1, layout.residency.pointers) == (
        80, 8, 1
      ))
    let preferred = layout.preferred
    #expect(
      (preferred.offset.0, preferred.offset.1, preferred.offset.2, preferred.pointers) == (
        72, 0, 8, 2
      ))
    #expect((preferred.dedicated, preferred.system) == (1 << 1 | 1 << 3, 1))
  }

  /// If a driver's structures differ in this kernel, the values that can be found are still used,
  /// and the others are named.
  @Test func aMissingValueIsNamed() throws {
    var m = Machine()
    let shmem = m.kernel.structure(
      "drm_gem_shmem_object", bytes: 64, [.init(name: "base", type: m.gem, bit: 0)])
    _ = m.kernel.structure("tgpu_bo", laidOut([("base", shmem, 64), ("preferred", m.int, 4)]))
    var lacking: [String] = []
    let layout = try #require(
      try dmabuf_driver(
        try recipe("tgpu"), Types(m.kernel.data()), size: 1, lacking: &lacking))
    #expect((layout.residency.size, layout.preferred.size) == (0, 4))
    #expect(lacking == ["tgpu_bo.placement"])
  }

  /// A resource that does not point back to its buffer can't be checked, so it is not read.
  @Test func aMissingPointerBackIsNamed() throws {
    var m = Machine()
    let resource = m.kernel.structure("ttm_resource", laidOut([("mem_type", m.int, 4)]))
    let bo = m.kernel.structure(
      "ttm_buffer_object", bytes: 72,
      laidOut([("base", m.gem, 64), ("resource", m.kernel.pointer(to: resource), 8)]))
    _ = m.kernel.structure("radeon_bo", laidOut([("initial_domain", m.int, 4), ("tbo", bo, 72)]))
    var lacking: [String] = []
    let layout = try #require(
      try dmabuf_driver(
        try recipe("radeon"), Types(m.kernel.data()), size: 1, lacking: &lacking))
    #expect((layout.residency.size, layout.preferred.size) == (0, 4))
    #expect(lacking == ["ttm_resource.bo"])
  }

  /// What the loader logs and `primectl doctor` says.
  @Test func layoutsTellWhatIsMissing() throws {
    var m = Machine()
    let bo = m.kernel.structure("ttm_buffer_object", bytes: 64, laidOut([("base", m.gem, 64)]))
    _ = m.kernel.structure("vmw_bo", laidOut([("tbo", bo, 64)]))
    _ = m.kernel.structure("radeon_bo", laidOut([("tbo", bo, 64)]))
    let layouts = try layouts(of: m.kernel)
    // vmwgfx keeps no record: nothing is said of one.
    #expect(
      layouts.missing == [
        "radeon: no radeon_bo.tbo.resource->mem_type", "radeon: no radeon_bo.initial_domain",
        "vmwgfx: no vmw_bo.tbo.resource->mem_type",
      ])
    #expect(layouts.drivers.map(\.name) == ["radeon", "vmwgfx"])
  }

  @Test func noSuchDriver() throws {
    let types = Types(try Machine().kernel.data())
    var lacking: [String] = []
    for recipe in driverRecipes {
      #expect(try dmabuf_driver(recipe, types, size: 1, lacking: &lacking) == nil)
    }
    #expect(lacking == [])
  }

  @Test func namesFit() {
    for recipe in driverRecipes { #expect(recipe.driver.utf8.count < Int(DMABUF_DRIVER_NAME)) }
    #expect(driverRecipes.count <= Int(DMABUF_MOST_DRIVERS))
  }
}
