"""Devices that come and go under a running primed that was started before any of them."""
import pathlib
import subprocess
import unittest

import broker
import gpus
import machine
from client import DEVICE, MANAGER, Client


def setUpModule():
    assert not pathlib.Path("/dev/dri").exists(), "the snapshot has no DRM device"
    broker.unpack_without_introspection()


class Hotplug(unittest.TestCase):
    """In order: each test leaves more devices than there were."""

    @classmethod
    def setUpClass(cls):
        cls.broker = Client()
        cls.monitor = machine.Monitor()

    @classmethod
    def tearDownClass(cls):
        cls.monitor.close()
        cls.broker.close()

    def added(self, signals, gpu):
        """Its path and interfaces when it was added: with one of its nodes, or with both."""
        numbers = {gpu.number, gpu.card_number}
        return signals.wait(lambda _, interfaces: numbers & {
            interfaces.get(DEVICE, {}).get("RenderDevice"), interfaces.get(DEVICE, {}).get("PrimaryDevice")})

    def test_1_no_device_at_all(self):
        self.assertEqual(self.broker.devices(), {})
        self.assertEqual(self.broker.get("PrimaryDevice"), 0)
        with gpus.plain() as buffer:
            answer = self.broker.explain(buffer)
        self.assertEqual((answer.device, answer.details["rule"]), (0, "no-device"))

    def test_2_the_first_devices_come(self):
        before = self.broker.generation()
        added = self.broker.signals("InterfacesAdded", MANAGER)
        self.addCleanup(added.close)
        subprocess.run(["load-drivers", "tgpu", "vkms", "vgem"], check=True)
        for gpu in gpus.gpus():   # what udevd has told of is known to whoever asks now
            device = self.broker.device(gpu)
            self.assertEqual((device["RenderNode"], device["PrimaryNode"]), (gpu.render or "", gpu.card))
            self.added(added, gpu)
        self.assertGreater(self.broker.generation(), before)
        with gpus.plain() as buffer:
            self.assertIn(self.broker.place(buffer).device, [gpu.number for gpu in gpus.gpus("tgpu")])

    def test_3_bochs_is_plugged_and_pulled(self):
        added = self.broker.signals("InterfacesAdded", MANAGER)
        removed = self.broker.signals("InterfacesRemoved", MANAGER)
        invalidated = self.broker.signals("PlacementsInvalidated")
        for signals in (added, removed, invalidated):
            self.addCleanup(signals.close)
        start = self.broker.generation()

        bochs = machine.plug_bochs(self.monitor, 1)
        number = bochs.number
        path, _ = self.added(added, bochs)
        plugged, _ = invalidated.wait(lambda generation, devices: generation > start)
        self.assertGreaterEqual(self.broker.generation(), plugged)
        device = self.broker.device(bochs)
        self.assertEqual((device["Driver"], device["PrimaryNode"], device["RenderNode"]),
                         ("bochs-drm", bochs.card, ""))
        with gpus.plain() as buffer:   # bochs imports nothing: never named, even if asked for
            answer = self.broker.place(buffer, primary_device=number, fresh=True)
            self.assertNotEqual(answer.device, number)
            self.assertGreaterEqual(answer.generation, plugged)

        machine.pull_bochs(self.monitor, 1)
        removed.wait(lambda gone, interfaces: gone == path and DEVICE in interfaces, 60)
        self.assertGreater(self.broker.generation(), plugged)
        self.assertNotIn(path, list(self.broker.devices()))
        with gpus.plain() as buffer:
            answer = self.broker.explain(buffer, primary_device=number)
            self.assertIn(answer.device, [gpu.number for gpu in gpus.gpus("tgpu")])
            self.assertTrue(any("primary" in line for line in answer.details["evidence"]))

    def test_4_a_replug_has_the_same_stable_id(self):
        added = self.broker.signals("InterfacesAdded", MANAGER)
        self.addCleanup(added.close)
        ids = []
        for _ in range(2):
            gpus.tgpu_parameter("add", 7)
            gpu = next(gpu for gpu in gpus.gpus("tgpu") if gpu.sysfs.name == "tgpu.7")
            path, interfaces = self.added(added, gpu)
            ids.append((path, interfaces[DEVICE]["StableId"]))
            added.clear()
            removed = self.broker.signals("InterfacesRemoved", MANAGER)
            gpus.tgpu_parameter("remove", 7)
            removed.wait(lambda gone, _: gone == path)
            removed.close()
        self.assertEqual(ids[0], ids[1])

    def test_5_a_buffer_outlives_its_exporter(self):
        gpus.tgpu_parameter("add", 8)
        index = [gpu.sysfs.name for gpu in gpus.gpus("tgpu")].index("tgpu.8")
        removed = self.broker.signals("InterfacesRemoved", MANAGER)
        self.addCleanup(removed.close)
        with gpus.tgpu(gpus.TGPU_VRAM, index) as buffer:
            number = buffer.exporter.number
            self.broker.place(buffer)
            gpus.tgpu_parameter("remove", 8)
            removed.wait(lambda *_: True)
            self.assertNotEqual(self.broker.place(buffer, fresh=True).device, number)
            self.assertNotEqual(self.broker.place(buffer).device, number)
