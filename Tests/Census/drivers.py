"""What the source says of each driver: the facts that primed's rules rest on."""
import dataclasses
import re

import source

# What resumes a device: pm_runtime_* and the drivers' own words for it.
RESUMES = re.compile(r"\w*(?:pm_runtime_(?:get|resume)|runtime_pm_get|rpm_get|pm_get)\w*(?=\()"
                     r"|\b(?:(?:scoped_)?guard|ACQUIRE)\(\w*pm_runtime\w*|\bPM_RUNTIME_ACQUIRE\w*")
NO_RESUME = re.compile(r"noresume|get_if_|noidle|get_suppliers|pm_getenv")
BUSES = ("amba", "pci", "platform", "spi", "i2c", "usb", "hv", "virtio", "xenbus", "auxiliary", "host1x", "faux")
ERROR_ONLY = re.compile(r"\{\s*return ERR_PTR\(-\w+\);\s*")
# Plain words, since regular expressions over all of amdgpu take seconds.
ALLOCATORS = {
    "shmem": ("drm_gem_shmem_create", "drm_gem_shmem_dumb_create", "DRM_GEM_SHMEM_DRIVER_OPS"),
    "dma": ("drm_gem_dma_create", "drm_gem_dma_dumb_create", "DRM_GEM_DMA_DRIVER_OPS"),
    "ttm": ("ttm_bo_init", "ttm_device_init", "vram_helper_init"),
}
VENDORS = {
    "INTEL": ("I915_FORMAT_MOD_",), "AMD": ("AMD_FMT_MOD",), "ARM": ("DRM_FORMAT_MOD_ARM_", "AFBC_FORMAT_MOD"),
    **{name: (f"DRM_FORMAT_MOD_{name}_", f"DRM_FORMAT_MOD_VENDOR_{name}") for name in (
        "NVIDIA", "SAMSUNG", "QCOM", "VIVANTE", "BROADCOM", "ALLWINNER", "AMLOGIC", "MTK", "APPLE")},
}
DEPTH = 3
MOST_NAMES = 3


@dataclasses.dataclass
class Driver:
    """One struct drm_driver, or one Rust `impl drm::Driver`."""
    file: str
    module: str
    drm_name: str
    accel: bool
    bus_names: list
    allocator: list          # shmem, dma, ttm, own
    exporter_names: list     # what fdinfo's exp_name may show
    imports: str             # the function that imports; "none"
    imports_foreign: bool    # whether it can succeed on another device's buffer
    exports_foreign: bool    # whether another device can attach to its buffers
    own_export: list         # functions that export
    release: list            # dma_buf_ops.release
    own_ops: list            # which of dma_buf_ops' attach, pin, map_dma_buf are its own
    resumes: list            # open, ioctl, close, import, attach: where it takes a runtime PM reference
    displays: bool           # has KMS: the last close restores the console (drm_lastclose), which may resume it
    vendors: list            # whose format modifiers its source names

    def facts(self):
        return dataclasses.asdict(self)


class Reader:
    """Reads one driver."""

    def __init__(self, tree, path, text):
        self.tree, self.path = tree, path
        self.module, objects = tree.module(path)
        self.files = self.own_files(objects)
        self.macros = {}
        for file in self.files:
            self.macros.update(source.defines(file))
        self.macros.update(source.defines(path))
        self.functions = {}
        for file in self.files:
            self.functions.update(source.functions(file))
        self.text = "\n".join(source.read(f) for f in self.files)
        self.fields = tree.fields(text, self.macros)

    def own_files(self, objects):
        """The module's files; all of the folder where that is one driver's."""
        folder = self.path.parent
        drivers = sum("struct drm_driver" in source.read(f) and bool(DRIVER_IN.search(source.read(f)))
                      for f in folder.glob("*.c"))
        if drivers <= 1:
            files = [f for f in sorted(folder.rglob("*.[ch]")) if not source.NOT_DRIVERS & set(f.parts)]
        else:
            stems = {o.stem.split("_")[0] for o in objects}
            headers = {h for h in folder.glob("*.h") if h.stem.split("_")[0] in stems}
            files = sorted({o.with_suffix(".c") for o in objects} | {self.path} | headers)
        return [f for f in files if f.is_file()]

    # Names

    def string(self, value):
        if found := re.match(r'"([^"]*)"', value or ""):
            return found[1]
        if value == "KBUILD_MODNAME":
            return self.module.replace("-", "_")
        return self.string(self.macros[value][1].strip()) if value in self.macros else ""

    def bus_names(self):
        """Of the drivers on a bus whose file makes the DRM device; where none does, of all."""
        makers = [f for f in self.files if re.search(r"drm_dev_alloc\(|drm_dev_init\(", source.read(f))]
        names = (self.names_in(makers) or self.names_in(self.files)
                 or self.names_in(sorted(self.path.parent.glob(f"{self.module}-*.c"))))
        # Of a driver of many parts (msm) the source does not say in a line which of them is the parent.
        return names if len(names) <= MOST_NAMES else []

    def names_in(self, files):
        names = set()
        for file in files:
            for kind, _, text in source.initialisers(file):
                name = re.search(r"\.name\s*=\s*([^,}]+?)\s*[,}]", text)
                if kind.removesuffix("_driver") in BUSES and kind.endswith("_driver") and name:
                    names.add(self.string_in(file, name[1].strip()))
            made = re.findall(r'(?:faux_device_create|platform_device_register_simple)\(\s*("[^"]*"|[A-Z_]+)',
                              source.read(file))
            names.update(self.string_in(file, name) for name in made)
        return sorted(names - {""})

    def string_in(self, file, value):
        own = source.defines(file).get(value)
        return self.string(own[1].strip() if own else value)

    # PRIME

    def allocator(self):
        found = [k for k, words in ALLOCATORS.items() if any(w in self.text for w in words)]
        return found or (["own"] if "drm_gem_" in self.text or "DRIVER_GEM" in self.text else ["none"])

    def prime_imports(self):
        """The import function, and whether it takes other devices' buffers."""
        if not self.has_prime("fd_to_handle"):
            return "none", False
        own = self.fields.get("gem_prime_import")
        table = self.fields.get("gem_prime_import_sg_table")
        refuses = table and ERROR_ONLY.fullmatch(self.functions.get(table, ""))
        if own:
            body = self.functions.get(own, "")
            return own, "attach(" in body or not ("drm_gem_prime_import" in body and (refuses or not table))
        return "drm_gem_prime_import", bool(table) and not refuses

    def has_prime(self, direction):
        """Up to 6.5 a driver without these callbacks had no PRIME at all (drm_prime_*_ioctl: ENOSYS)."""
        core = source.functions(self.tree.drm / "drm_prime.c")
        ioctl = core.get(f"drm_prime_{direction}_ioctl", "")
        callback = f"prime_{direction}"
        optional = not re.search(rf"!dev->driver->{callback}\)\s*return -ENOSYS", ioctl)
        return "DRIVER_GEM" in self.features() and (optional or callback in self.fields)

    def features(self):
        text = self.fields.get("driver_features", "")
        return re.sub(r"\w+", lambda m: self.macros[m[0]][1] if m[0] in self.macros else m[0], text)

    def exports(self):
        """(names, functions, whether others can attach)"""
        if not self.has_prime("handle_to_fd"):
            own = self.named_exports()
            return own, [], bool(own)
        objects = [self.tree.fields(t, self.macros) for f in self.files for k, _, t in source.initialisers(f)
                   if k == "drm_gem_object_funcs"]
        functions = {o["export"] for o in objects if "export" in o}
        names = set(self.named_exports())
        # Beside objects that are exported otherwise, those without pages are imported ones (virtio_gpu).
        generic = [o for o in objects if "export" not in o and (not functions or "get_sg_table" in o)]
        generic = generic if objects else [{}]
        if generic or any("drm_gem_prime_export(" in self.functions.get(f, f + "(") for f in functions):
            names.add("drm")
        helpers = {"shmem", "dma"} & set(self.allocator())
        attachable = bool(helpers) or any(self.gives_pages(o) for o in objects) or self.maps_itself()
        return sorted(names), sorted(functions), attachable

    def gives_pages(self, object_functions):
        """Whether an import can succeed. Without pages it can where an importer maps nothing (7.x)."""
        table = object_functions.get("get_sg_table")
        maps_nothing = "drm_gem_shmem_prime_import_no_map" in source.functions(self.tree.drm / "drm_gem_shmem_helper.c")
        return table is not None and (maps_nothing or not ERROR_ONLY.fullmatch(self.functions.get(table, "")))

    def named_exports(self):
        """Names other than DRM core's: the exporting file's module, or what it says itself."""
        names = set()
        for file in self.files:
            text = source.read(file)
            if "DEFINE_DMA_BUF_EXPORT_INFO(" in text or re.search(r"exp_name = KBUILD_MODNAME", text):
                names.add(self.module.replace("-", "_"))
            names.update(re.findall(r'exp_name = "([^"]+)"', text))
        return sorted(names)

    def buffer_ops(self):
        return [self.tree.fields(t, self.macros) for f in self.files for k, _, t in source.initialisers(f)
                if k in ("dma_buf_ops", "virtio_dma_buf_ops")]

    def maps_itself(self):
        return any(o.get("map_dma_buf", "drm_gem_map_dma_buf") != "drm_gem_map_dma_buf" for o in self.buffer_ops())

    # Runtime PM

    def wakes(self, name, depth=DEPTH, seen=None):
        """Whether a function of the driver's, or one that it calls, takes a runtime PM reference."""
        seen = set() if seen is None else seen
        if name in seen or name not in self.functions:
            return False
        seen.add(name)
        body = self.functions[name]
        if any(not NO_RESUME.search(word) for word in RESUMES.findall(body)):
            return True
        return depth > 0 and any(self.wakes(c, depth - 1, seen) for c in re.findall(r"\b([a-z_]\w+)\(", body))

    def resumes(self):
        files = [self.tree.fields(t, self.macros) for k, name, t in source.initialisers(self.path)
                 if k == "file_operations" and name == self.fields.get("fops")]
        ioctls = {o["unlocked_ioctl"] for o in files if "unlocked_ioctl" in o}
        releases = {o["release"] for o in files if "release" in o}
        places = {
            "open": {self.fields.get("open")},
            "ioctl": ioctls,
            "close": {self.fields.get("postclose"), self.fields.get("preclose")} | releases,
            "import": {self.fields.get("gem_prime_import"), self.fields.get("gem_prime_import_sg_table")},
            "attach": {o.get("attach") for o in self.buffer_ops()},
        }
        return [place for place, names in places.items() if any(n and self.wakes(n) for n in names)]

    def driver(self):
        names, functions, attachable = self.exports()
        imports, foreign = self.prime_imports()
        ops = self.buffer_ops()
        own = {k for o in ops for k in ("attach", "pin", "map_dma_buf") if k in o and not o[k].startswith("drm_gem_")}
        vendors = [v for v, words in VENDORS.items() if any(w in self.text for w in words)]
        return Driver(
            file=str(self.path.relative_to(self.tree.root)), module=self.module,
            drm_name=self.string(self.fields.get("name")), accel="accel" in self.path.parts or
            "DRIVER_COMPUTE_ACCEL" in self.features(), bus_names=self.bus_names(),
            allocator=self.allocator(), exporter_names=names, imports=imports, imports_foreign=foreign,
            exports_foreign=attachable, own_export=functions,
            release=sorted({o["release"] for o in ops if "release" in o} - {"drm_gem_dmabuf_release"}),
            own_ops=sorted(own), resumes=self.resumes(), displays="DRIVER_MODESET" in self.features(), vendors=vendors)


DRIVER_IN = re.compile(r"\bstruct\s+drm_driver\s+(\w+)\s*=\s*\{")
RUST = re.compile(r"impl(?:<[^>]*>)? drm::(?:driver::)?Driver for")


def rust_driver(tree, path):
    """A driver in Rust: the kernel's abstractions export and import by DRM core."""
    text = "\n".join(source.read(f) for f in sorted(path.parent.glob("*.rs")))
    name = re.search(r'\bname: c(?:_str!\()?"([^"]+)"', text)[1]
    module = re.search(r'module_\w+!? ?\{.*?name: "([^"]+)"', text, re.S)
    return Driver(
        file=str(path.relative_to(tree.root)), module=module[1] if module else path.parent.name, drm_name=name,
        accel=False, bus_names=[module[1]] if module else [], allocator=["shmem" if "gem::shmem" in text else "own"],
        exporter_names=["drm"], imports="drm_gem_prime_import", imports_foreign="gem::shmem" in text,
        exports_foreign="gem::shmem" in text, own_export=[], release=[], own_ops=[], resumes=[], displays=False, vendors=[])


def census(tree):
    """All drivers of a kernel, by module and DRM name; legacy ones without GEM are not among them."""
    found = []
    for path in tree.files():
        if path.suffix == ".rs":
            if RUST.search(source.read(path)):
                found.append(rust_driver(tree, path))
            continue
        if "struct drm_driver" not in source.read(path):
            continue
        for kind, _, text in source.initialisers(path):
            if kind == "drm_driver" and "DRIVER_LEGACY" not in text:
                found.append(Reader(tree, path, text).driver())
    return merged(found)


def merged(found):
    """One entry a module: variants of one driver (msm-kms, amdgpu's partitions) are one for primed, which is told
    what any of them may do. The one that can most comes first in the file."""
    modules = {}
    for driver in found:
        modules.setdefault(driver.module, []).append(driver)
    for variants in modules.values():
        first = variants[0]
        first.bus_names = sorted({n for d in variants for n in d.bus_names + [d.drm_name]} - {first.drm_name})
        first.imports_foreign = any(d.imports_foreign for d in variants)
        first.displays = any(d.displays for d in variants)
    return sorted((v[0] for v in modules.values()), key=lambda d: (d.accel, d.file))
