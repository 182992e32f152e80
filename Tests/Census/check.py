"""Compares what the source says with the driver table (Sources/Placement/Drivers), and one kernel with another."""
import json
import subprocess

# What changes for primed from one kernel to another; where a file lies does not.
COMPARED = ("drm_name", "bus_names", "allocator", "exporter_names", "imports", "imports_foreign", "exports_foreign",
            "own_export", "release", "own_ops", "resumes", "displays", "vendors")


def rows(program, series):
    """The driver table on a kernel, as driver-table prints it."""
    text = subprocess.run([program, series], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def row_of(driver, table):
    """The row that has most of a driver's names."""
    names = {driver.drm_name, *driver.bus_names}
    best = max(table, key=lambda row: len(names & {*row["names"], *row["bus_names"]}))
    return best if names & {*best["names"], *best["bus_names"]} else None


def contradictions(driver, row):
    """Sentences, each what the row says against what the source says."""
    named = {*row["names"], *row["bus_names"]}
    resumes = set(driver.resumes) - {"attach"} | ({"close"} if driver.displays else set())

    def differ(what, says, source):
        if says != source:
            yield f"{what}: the row says {shown(says)}, the source {shown(source)}"

    if missing := {driver.drm_name, *driver.bus_names} - named:
        yield f"names: the row lacks {shown(missing)}"
    # A driver without PRIME (up to 6.5) shows and imports nothing.
    if driver.exporter_names:
        yield from differ("exporter names", set(row["exporter_names"]), set(driver.exporter_names))
    if driver.imports != "none":
        yield from differ("import function", row["imports"], driver.imports)
    yield from differ("takes others' buffers", not row["refuses_imports"], driver.imports_foreign)
    yield from differ("lets others attach", not row["refuses_attachments"], driver.exports_foreign)
    yield from differ("system memory alone", row["system_only"], "ttm" not in driver.allocator
                      and driver.module not in OTHER_MEMORY)
    yield from differ("wakes at attach", row["wakes_at_attach"], "attach" in driver.resumes)
    if row["wakes"] is not None:
        yield from differ("wakes", set(row["wakes"]), resumes)
    if row["layouts"] is not None and (missing := set(driver.vendors) - set(row["layouts"])):
        yield f"layouts: the row lacks {shown(missing)}"


# amdgpu puts its own drm_driver into the devices that this module makes (amdgpu_xcp_dev_alloc).
SHELLS = ("amdxcp",)
# Memory of their own that no allocator of DRM's gives: device memory that is mapped by hand, or not known yet.
OTHER_MEMORY = ("habanalabs", "nova-drm")


def shown(value):
    if isinstance(value, (set, list)):
        return " ".join(sorted(value)) or "nothing"
    return {True: "yes", False: "no", None: "nothing"}.get(value, value)


def check(found, table):
    """(problems, rows that a driver of this kernel has)"""
    problems, used = [], set()
    for driver in found:
        if driver.module in SHELLS:
            continue
        row = row_of(driver, table)
        if row is None:
            problems.append(f"{driver.drm_name}: no row ({driver.file}, module {driver.module})")
            continue
        used.add(row["names"][0])
        problems += [f"{driver.drm_name}: {problem} ({driver.file})" for problem in contradictions(driver, row)]
    return problems, used


def difference(old, new):
    """Lines: what a new kernel changes, drivers that change alike on one line."""
    before, after = ({d.module: d for d in found} for found in (old, new))
    renamed = {d.drm_name: d.module for d in old if d.module not in after}
    gone, changes = dict(before), {}
    for module, driver in after.items():
        was = before.get(module) or before.get(renamed.get(driver.drm_name))
        if was is None:
            changes.setdefault("new", []).append(driver.drm_name)
            continue
        gone.pop(was.module, None)
        for field in COMPARED:
            a, b = getattr(was, field), getattr(driver, field)
            if a != b:
                changes.setdefault(f"{field}: {shown(a)} -> {shown(b)}", []).append(driver.drm_name)
    if gone:
        changes["gone"] = [d.drm_name for d in gone.values()]
    return [f"{change}: {', '.join(names)}" for change, names in sorted(changes.items())]
