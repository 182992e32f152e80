// Where this kernel keeps what the program reads, computed from the kernel's type data.

package import CBPF
internal import Glibc

/// The contents of the program's maps.
package struct Layouts {
  package var core = dmabuf_core()
  package var drivers: [(name: String, layout: dmabuf_driver)] = []
  /// "driver: reason" for each driver without a layout, and for each value that a layout lacks;
  /// for the log.
  package var missing: [String] = []
}

/// `/sys/kernel/btf`, or a copy of it.
package struct TypeFolder {
  private let path: String
  package init(_ path: String) { self.path = path }

  /// nil: no such file: the module is not loaded, is built in, or has no type data.
  func read(_ name: String) -> [UInt8]? { contents(of: "\(path)/\(name)") }
}

/// nil: it can't be read; `errno` says why.
func contents(of path: String) -> [UInt8]? {
  let fd = open(path, O_RDONLY | O_CLOEXEC)
  guard fd >= 0 else { return nil }
  defer { close(fd) }
  var (bytes, filled) = ([UInt8](), 0)
  while true {
    // Some kernels report no size for files in sysfs.
    if bytes.count - filled < 1 << 16 {
      bytes += [UInt8](repeating: 0, count: max(1 << 16, bytes.count))
    }
    let n = bytes.withUnsafeMutableBytes {
      Glibc.read(fd, $0.baseAddress! + filled, $0.count - filled)
    }
    guard n >= 0 else { return nil }
    if n == 0 { break }
    filled += n
  }
  bytes.removeLast(bytes.count - filled)
  return bytes
}

extension Layouts {
  /// - Throws: if the kernel has no type data, or DRM core's types are not as expected.
  package init(from folder: TypeFolder) throws(FormatError) {
    guard let file = folder.read("vmlinux") else {
      throw FormatError("the kernel has no type data (CONFIG_DEBUG_INFO_BTF)")
    }
    let kernel = try TypeData(file)
    var helpers: [TypeData] = []
    for name in ["drm", "ttm"] {
      if let data = folder.read(name) { helpers.append(try TypeData(data, over: kernel)) }
    }
    guard let core = try dmabuf_core(Types(helpers.first ?? kernel, others: helpers)) else {
      throw FormatError("DRM is not loaded, or has no type data")
    }
    self.core = core
    for recipe in driverRecipes {
      do throws(FormatError) {
        // Without a file of its own the module may be built in; its types are then in the kernel's.
        let own = try folder.read(recipe.driver).map { file throws(FormatError) in
          try TypeData(file, over: kernel)
        }
        let types = Types(own ?? kernel, others: helpers)
        var lacking: [String] = []
        guard
          let layout = try dmabuf_driver(
            recipe, types, size: own?.size ?? 0, lacking: &lacking)
        else { continue }
        drivers.append((recipe.driver, layout))
        missing += lacking.map { "\(recipe.driver): no \($0)" }
      } catch {
        missing.append("\(recipe.driver): \(error)")
      }
    }
  }
}

extension dmabuf_core {
  /// nil: a type or member is missing.
  package init?(_ types: Types) throws(FormatError) {
    guard let gemDevice = try types.pointer("dev", in: "drm_gem_object"),
      let gemReservation = try types.pointer("resv", in: "drm_gem_object"),
      let gemSize = try types.place(of: "size", in: "drm_gem_object"), gemSize.width == 8,
      let gemBuffer = try types.pointer("dma_buf", in: "drm_gem_object"),
      let card = try types.pointer("primary", in: "drm_device"),
      let render = try types.pointer("render", in: "drm_device"),
      let driver = try types.pointer("driver", in: "drm_device"),
      let registered = try types.place(of: "registered", in: "drm_device"), registered.width == 1,
      let minorDevice = try types.pointer("dev", in: "drm_minor"),
      let minorNode = try types.pointer("kdev", in: "drm_minor"),
      let driverName = try types.pointer("name", in: "drm_driver")
    else { return nil }
    self.init(
      gem_device: UInt32(gemDevice), gem_resv: UInt32(gemReservation),
      gem_size: UInt32(gemSize.offsets[0]), gem_buffer: UInt32(gemBuffer),
      device_card: UInt32(card), device_render: UInt32(render), device_driver: UInt32(driver),
      device_registered: UInt32(registered.offsets[0]), minor_device: UInt32(minorDevice),
      minor_node: UInt32(minorNode), driver_name: UInt32(driverName), known: 1)
  }
}

extension dmabuf_driver {
  /// nil: there is no such driver. `lacking`: what the recipe names and this kernel's driver does
  /// not have; the value that it belongs to is then not read.
  package init?(
    _ recipe: DriverRecipe, _ types: Types, size: Int, lacking: inout [String]
  ) throws(FormatError) {
    guard let gem = try types.offset(of: recipe.gem, in: recipe.structure) else { return nil }
    self.init()
    btf_size = UInt32(size)
    func value(_ value: ValueRecipe) throws(FormatError) -> dmabuf_value {
      try dmabuf_value(value, in: recipe.structure, gem, types, &lacking) ?? dmabuf_value()
    }
    residency = try value(recipe.residency)
    if let record = recipe.preferred { preferred = try value(record) }
  }
}

extension dmabuf_value {
  /// nil: this kernel's driver does not keep the value there.
  init?(
    _ recipe: ValueRecipe, in structure: String, _ gem: Int, _ types: Types,
    _ lacking: inout [String]
  ) throws(FormatError) {
    guard var place = try types.place(of: recipe.path, in: structure), place.offsets.count <= 3
    else {
      lacking.append("\(structure).\(recipe.path)")
      return nil
    }
    self.init()
    pointers = UInt8(place.offsets.count - 1)
    place.offsets[0] -= gem
    let offsets = place.offsets.map(Int32.init) + [0, 0]
    offset = (offsets[0], offsets[1], offsets[2])
    (self.size, dedicated, system) = (UInt8(place.width), recipe.dedicated, recipe.system)
    switch recipe.coding {
    case .number: is_number = 1
    case .mask(let both): self.both = UInt8(both.rawValue)
    }
    guard let back = recipe.back else { return }
    guard let from = try types.pointer(back.from, in: back.structure),
      let to = try types.offset(of: back.to, in: structure)
    else {
      lacking.append("\(back.structure).\(back.from)")
      return nil
    }
    (has_back, self.back, back_to) = (1, Int32(from), Int32(to - gem))
  }
}
