"""Devices that only show what others render, reading it by the CPU: the kernel's udl, on a DisplayLink adapter that
is plugged into the kernel's own virtual USB controller, and evdi, which newer adapters' software shows by.
"""
import os
import pathlib
import subprocess
import unittest

import broker
import displaylink
import gpus
import introspection
import kernel
from client import IN_PLACE, MANAGER, NATIVE, PROPERTIES, Client
from gpus import RADEON_GTT, RADEON_VRAM, TGPU_SYSTEM, TGPU_VRAM

SYSTEM = (lambda: gpus.dumb(gpus.gpu("vgem")), lambda: gpus.dumb(gpus.gpu("virtio_gpu")), gpus.plain)
# Of devices that have both, where only the exporter's own answer is certain to move nothing.
EITHER = (lambda: gpus.radeon(RADEON_GTT), lambda: gpus.tgpu(TGPU_SYSTEM))
DEDICATED = (lambda: gpus.radeon(RADEON_VRAM), lambda: gpus.tgpu(TGPU_VRAM))


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu", "vgem", "radeon", "tgpu"], check=True)
    gpus.tgpu_parameter("mode", "ignored")
    broker.unpack()


class EvdiDevice:
    """Made by writing to a file of the module's, as adapters' software does; nothing is connected to it."""
    CONTROL = pathlib.Path("/sys/devices/evdi")

    def __enter__(self):
        subprocess.run(["modprobe", "evdi"], check=True)
        self.CONTROL.joinpath("add").write_text("1")
        kernel.until(lambda: gpus.gpus("evdi"), "an evdi device")
        return self

    def __exit__(self, *_):
        self.CONTROL.joinpath("remove_all").write_text("1")
        kernel.until(lambda: not gpus.gpus("evdi"), "no evdi device")


class Sink:
    """What is so of all of them."""
    driver = adapter = None

    @classmethod
    def setUpClass(cls):
        cls.adapter = cls.enterClassContext(cls.adapter())
        cls.program = introspection.ask()
        cls.broker = Client()
        cls.addClassCleanup(cls.broker.close)
        with cls.broker.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: "introspection" in cls.broker.get("Evidence"))
        # Else buffers of primed's own move while the tests count.
        broker.calibrated(cls.broker, "radeon", "tgpu")
        cls.wait_for_the_sink()

    @classmethod
    def wait_for_the_sink(cls):
        cls.sink = gpus.gpu(cls.driver)
        with cls.broker.signals("InterfacesAdded", MANAGER) as added:
            added.until(lambda: cls.broker.device(cls.sink))
        with cls.broker.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: cls.broker.device(cls.sink)["State"] == "ready")
        # Whoever asks first has the flag tried on it, with a buffer of primed's own that may move.
        with gpus.plain() as plain:
            cls.broker.place(plain, target_device=cls.sink.number, fresh=True)

    def shown(self, buffer):
        """Where it is to be used to be shown by the sink; asking moves nothing."""
        before = kernel.moves()
        answer = self.broker.explain(buffer, target_device=self.sink.number, usage=["scanout"], fresh=True)
        self.assertFalse(self.has_moved(buffer, before))
        kernel.until(lambda: kernel.attachments()[buffer.inode] == 0, "no attachment")
        return answer

    @staticmethod
    def has_moved(buffer, before):
        """Since kernel.moves() was `before`. radeon's count is of its own buffers and, as an importer, of others'."""
        radeon, tgpu = kernel.moved_since(before)
        return tgpu > 0 or buffer.name.startswith("radeon") and radeon > 0

    def import_it(self, buffer):
        """Whether that moves it."""
        node, before = self.sink.open(), kernel.moves()
        try:
            gpus.try_import(node, buffer)
        finally:
            os.close(node)
        return self.has_moved(buffer, before)

    def test_what_it_is(self):
        self.assertIsNone(self.sink.render)
        self.assertEqual(self.broker.device(self.sink)["Role"], "sink")

    def test_system_memory(self):
        for make in SYSTEM:
            with make() as buffer, self.subTest(buffer=buffer.name):
                answer = self.shown(buffer)
                self.assertEqual((answer.device, answer.access), (self.sink.number, IN_PLACE), answer.details)
                self.assertFalse(self.import_it(buffer))

    def test_system_memory_of_a_device_that_has_both(self):
        for make in EITHER:
            with make() as buffer, self.subTest(buffer=buffer.name):
                answer = self.shown(buffer)
                self.assertIn((answer.device, answer.access),
                              ((self.sink.number, IN_PLACE), (buffer.exporter.number, NATIVE)), answer.details)
                self.assertFalse(self.import_it(buffer))

    def test_video_memory(self):
        """The sink could import it, and that would move it: it belongs to who exported it."""
        for make in DEDICATED:
            with make() as buffer, self.subTest(buffer=buffer.name):
                answer = self.shown(buffer)
                self.assertEqual((answer.device, answer.access), (buffer.exporter.number, NATIVE), answer.details)
                self.assertTrue(self.import_it(buffer))

    def test_its_own(self):
        with gpus.dumb(self.sink) as buffer:
            look = self.program.look_at(buffer)
            self.assertEqual((look.status, introspection.node(look.card)),
                             (introspection.DEVICE, self.sink.card_number))
            # Memory of the system, which a GPU may use where it lies.
            answer = self.broker.explain(buffer, primary_device=gpus.gpu("tgpu").number, fresh=True)
            self.assertEqual((answer.device, answer.access), (gpus.gpu("tgpu").number, IN_PLACE), answer.details)

    def test_pulled_and_plugged(self):
        """Its device goes and comes with it."""
        paths = set(self.broker.devices())
        with self.broker.signals("InterfacesRemoved", MANAGER) as removed:
            self.adapter.__exit__()
            removed.until(lambda: len(self.broker.devices()) < len(paths))
        self.adapter.__enter__()
        self.wait_for_the_sink()


class Udl(Sink, unittest.TestCase):
    driver, adapter = "udl", displaylink.Adapter

    def test_its_monitor(self):
        connector, = self.sink.sysfs.glob("drm/card*/card*-*/status")
        connector.write_text("detect")
        self.assertEqual(connector.read_text().strip(), "connected")


class Evdi(Sink, unittest.TestCase):
    driver, adapter = "evdi", EvdiDevice
