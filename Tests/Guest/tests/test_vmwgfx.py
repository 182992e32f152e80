"""vmwgfx on QEMU's card: a TTM driver with a render node and 16 MiB of video memory, whose dumb buffers are made
there and show the exporter name that most drivers share (`drm`).

Attaching to one of them pins it where it is, and mapping it then is an oops (vmw_gem_object_get_sg_table()
takes pages of a buffer that has none), which ends this machine: that nobody tries is what this group shows.
"""
import os
import pathlib
import subprocess
import unittest

import broker
import gpus
import introspection
import kernel
from client import IN_PLACE, NATIVE, PROPERTIES, Client
from gpus import RADEON_VRAM, TGPU_VRAM
from introspection import DEDICATED, DEVICE, UNKNOWN_MEMORY


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu", "radeon", "vmwgfx"], check=True)


def memory(buffer):
    """Where the driver itself says that its only buffer is."""
    number = int(pathlib.Path(buffer.exporter.card).name.removeprefix("card"))
    listing = pathlib.Path(f"/sys/kernel/debug/dri/{number}/vmwgfx_gem_info").read_text()
    return [word.rstrip(",") for line in listing.splitlines() if "bytes" in line for word in line.split()[3:4]]


class Case(unittest.TestCase):
    def setUp(self):
        self.buffer = gpus.dumb(gpus.gpu("vmwgfx"))
        self.addCleanup(self.buffer.close)

    def assertUntouched(self):
        self.assertEqual(memory(self.buffer), ["VRAM"])
        self.assertEqual(kernel.attachments()[self.buffer.inode], 0)


class ByExclusion(Case):
    """Before anything else is loaded: radeon and vmwgfx are the only devices that could have exported a buffer
    named `drm` whose memory is their own."""

    @classmethod
    def setUpClass(cls):
        broker.unpack_without_introspection()

    def test_its_name_tells_nothing(self):
        self.assertIn("exp_name:\tdrm\n", pathlib.Path(f"/proc/self/fdinfo/{self.buffer.fd}").read_text())

    def test_nobody_is_made_to_import_it(self):
        """Its exporter is not ruled out for showing another name than it does at other times."""
        client = Client()
        self.addCleanup(client.close)
        for hints in ({}, {"primary_device": gpus.gpu("radeon").number}, {"usage": ["scanout"]}):
            with self.subTest(hints=hints):
                answer = client.explain(self.buffer, fresh=True, **hints)
                self.assertUntouched()
                if answer.device != self.buffer.exporter.number:
                    self.assertNotIn(answer.access, (NATIVE, IN_PLACE), answer.details)


class Introspected(Case):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["load-drivers", "vgem", "tgpu"], check=True)
        gpus.tgpu_parameter("mode", "ignored")
        broker.command("systemctl", "unmask", "--runtime", broker.INTROSPECTION)
        broker.command("systemctl", "start", broker.INTROSPECTION)
        broker.restart()
        cls.program = introspection.ask()

    def test_where_it_is(self):
        look = self.program.look_at(self.buffer)
        self.assertEqual((look.status, introspection.node(look.render)),
                         (DEVICE, self.buffer.exporter.number))
        self.assertEqual((look.residency, look.preferred, look.attached), (DEDICATED, UNKNOWN_MEMORY, 0))
        self.assertUntouched()

    def test_it_is_named(self):
        client = Client()
        self.addCleanup(client.close)
        with client.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: "introspection" in client.get("Evidence"))
        answer = client.explain(self.buffer, primary_device=gpus.gpu("radeon").number, fresh=True)
        self.assertEqual(answer.device, self.buffer.exporter.number, answer.details)
        self.assertUntouched()

    def test_imports_into_it(self):
        """It takes anybody's, and moves those of video memory, as any static importer does."""
        broker.command("systemctl", "stop", "primed.service")   # whose measuring moves pages of its own
        self.addCleanup(broker.start)
        node = gpus.gpu("vmwgfx").open()
        self.addCleanup(os.close, node)
        for make in (lambda: gpus.radeon(RADEON_VRAM), lambda: gpus.tgpu(TGPU_VRAM)):
            with make() as buffer, self.subTest(buffer=buffer.name):
                before = kernel.moves()
                gpus.try_import(node, buffer)
                self.assertNotEqual(kernel.moves(), before)
        for make in (lambda: gpus.dumb(gpus.gpu("vgem")), *gpus.of_no_device()):
            with make() as buffer, self.subTest(buffer=buffer.name):
                before = kernel.moves()
                gpus.try_import(node, buffer)
                self.assertEqual(kernel.moves(), before)
