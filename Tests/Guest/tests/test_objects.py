"""What the program says of objects of drivers whose hardware is not here: their real structures, compiled with the
drivers' own headers (Tests/Guest/objects), read by the type data of the real modules, which are loaded without a
device. vmwgfx is not among them: QEMU has its device, so that the real driver makes its objects (test_vmwgfx).
"""
import contextlib
import os
import pathlib
import subprocess
import tempfile
import unittest

import broker
import gpus
import introspection
from introspection import DEDICATED, DEVICE, SYSTEM

PACE = "free"   # no answer here depends on time
MOST_SECONDS = 900   # of the host's time, which a busy one may take
CREATE = gpus.ioc(gpus.READ_WRITE, "d", 0x40, 16)
# enum objects_kind, and what there is to be told of each: (residency, preferred)
KINDS = {0: (DEDICATED, DEDICATED), 1: (SYSTEM, SYSTEM), 2: (SYSTEM, DEDICATED)}
# Of each driver: what its layout rests on, as (structure, member).
LAYOUTS = {"amdgpu": (("amdgpu_bo", "tbo"), ("amdgpu_bo", "preferred_domains")),
           "i915": (("drm_i915_gem_object", "mm"),),
           "nouveau": (("nouveau_bo", "bo"), ("nouveau_bo", "valid_domains")),
           "xe": (("xe_bo", "ttm"), ("xe_bo", "placements"))}


def setUpModule():
    broker.unpack()   # the loader is what is tested: the service would take these for real
    broker.command("systemctl", "stop", "primed.service")
    for driver in drivers():
        subprocess.run(["modprobe", "-a", driver, f"objects-{driver}"], check=True)
    subprocess.run(["udevadm", "settle"], check=True)


def drivers():
    """Those that this kernel has; xe is there from 6.8 on."""
    release = tuple(map(int, os.uname().release.split(".")[:2]))
    return [driver for driver in LAYOUTS if driver != "xe" or release >= (6, 8)]


@contextlib.contextmanager
def object_of(driver, kind):
    exporter = gpus.gpu(driver)
    node = exporter.open()
    handle = gpus.ask(node, CREATE, "QII", gpus.SIZE, kind, 0)[2]
    with gpus.exported(f"{driver} {kind}", exporter, node, handle) as buffer:
        yield buffer


def looks(program, driver):
    """Of an object of each kind."""
    found = {}
    for kind in KINDS:
        with object_of(driver, kind) as buffer:
            found[kind] = program.look_at(buffer)
    return found


class Objects(unittest.TestCase):
    def assertExporter(self, driver, look):
        gpu = gpus.gpu(driver)
        self.assertEqual((look.status, introspection.node(look.card), introspection.node(look.render)),
                         (DEVICE, gpu.card_number, gpu.number), (driver, look))

    def test_exporter_home_and_residency(self):
        with introspection.load() as program:
            self.assertLessEqual(set(drivers()), set(program.drivers))
            for driver in drivers():
                for kind, look in looks(program, driver).items():
                    with self.subTest(driver=driver, kind=kind):
                        self.assertExporter(driver, look)
                        self.assertEqual((look.residency, look.preferred), KINDS[kind])

    def test_type_data_that_lies_is_caught(self):
        """Of at least one kind something else is told, or nothing: primed's check on a buffer of its own finds out. The
        exporter, which doesn't rest on the driver's types, is told rightly all the same."""
        for driver in drivers():
            data = pathlib.Path("/sys/kernel/btf", driver).read_bytes()
            for structure, member in LAYOUTS[driver]:
                with self.subTest(driver=driver, wrong=(structure, member)), tempfile.TemporaryDirectory() as folder:
                    changed = introspection.moved_member(data, structure, member, 64)
                    self.assertNotEqual(changed, data)
                    introspection.types(folder, **{driver: changed})
                    with introspection.load("--btf", folder) as program:
                        found = looks(program, driver)
                    told = {kind: (look.residency, look.preferred) for kind, look in found.items()}
                    self.assertNotEqual(told, KINDS)
                    for look in found.values():
                        self.assertExporter(driver, look)
