"""A driver that does not answer costs its asker the deadline and nobody else anything."""
import subprocess
import threading
import time
import unittest

import broker
import gpus
import kernel
import procs
from client import DEVICE, IN_PLACE, PROPERTIES, Client

DEADLINE = 0.5   # seconds that one call may take (Ports.swift, probeDeadline)
MARGIN = 1.5     # the guest is slow


def setUpModule():
    broker.unpack_without_introspection()
    subprocess.run(["load-drivers", "tgpu", "vgem", "vkms"], check=True)
    broker.start()


class Hang(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Client()

    def setUp(self):
        self.gpu = gpus.gpu("tgpu", 0)
        self.addCleanup(self.gpu.attribute, "import_uninterruptible", 0)
        self.addCleanup(self.gpu.attribute, "import_delay_ms", 0)

    def ask(self, client=None):
        """(answer, seconds)"""
        with gpus.plain() as buffer:
            began = time.monotonic()
            answer = (client or self.broker).explain(buffer, target_device=gpus.gpu("vkms").number)
            return answer, time.monotonic() - began

    def hang(self, uninterruptible):
        self.gpu.attribute("import_uninterruptible", uninterruptible)
        self.gpu.attribute("import_delay_ms", 600000)

    def survives(self, uninterruptible):
        pid = broker.pid()
        self.ask()
        changes = self.broker.signals("PropertiesChanged", PROPERTIES)
        self.addCleanup(changes.close)
        self.hang(uninterruptible)
        answer, took = self.ask()
        self.assertLess(took, DEADLINE + MARGIN)
        seen = {line[0]: line[1] for line in answer.details["devices"]}
        self.assertEqual([seen[gpus.gpu(driver).number] for driver in ("vgem", "vkms")], [IN_PLACE, IN_PLACE])
        self.assertNotEqual(answer.device, self.gpu.number)
        self.assertEqual(self.broker.device(self.gpu)["State"], "unresponsive")

        before = procs.weight(pid)
        for _ in range(500):
            answer, took = self.ask()
            self.assertLess(took, DEADLINE + MARGIN)
            self.assertNotEqual(answer.device, self.gpu.number)
        after = procs.weight(pid)
        self.assertLessEqual(after.threads, before.threads + 1)
        self.assertLessEqual(after.descriptors, before.descriptors + 8)
        self.assertLess(after.kilobytes, before.kilobytes + 2048)
        kernel.wait_for_closes(pid, 1)   # the hung call has one

        self.gpu.attribute("import_delay_ms", 0)
        changes.wait(lambda interface, changed, _: interface == DEVICE and changed.get("State") == "ready")
        answer, _ = self.ask()
        self.assertEqual({line[0]: line[1] for line in answer.details["devices"]}[self.gpu.number], IN_PLACE)

    def test_asleep_in_the_driver(self):
        self.survives(0)

    def test_in_d_state(self):
        self.survives(1)

    def test_removal_in_the_middle_of_a_probe_ends_it(self):
        gpus.tgpu_parameter("add", 9)
        gpu = next(gpu for gpu in gpus.gpus("tgpu") if gpu.sysfs.name == "tgpu.9")
        kernel.until(lambda: self.broker.device(gpu) is not None, "tgpu.9 on the bus")
        self.ask()
        gpu.attribute("import_uninterruptible", 1)
        gpu.attribute("import_delay_ms", 600000)
        attempts = int(gpu.attribute("attempts"))
        number, answers, client = gpu.number, [], Client()
        thread = threading.Thread(target=lambda: answers.append(self.ask(client)))
        thread.start()
        kernel.until(lambda: int(gpu.attribute("attempts")) > attempts, "an attempt")
        gpus.tgpu_parameter("remove", 9)
        thread.join(10)
        (answer, took), = answers
        self.assertLess(took, DEADLINE + MARGIN)
        seen = {line[0]: line[1] for line in answer.details["devices"]}
        self.assertEqual([seen[gpus.gpu(driver).number] for driver in ("vgem", "vkms")], [IN_PLACE, IN_PLACE])
        self.assertNotEqual(answer.device, number)
        kernel.until(lambda: not any(device["StableId"] == "platform-tgpu.9" for device in self.broker.devices().values()),
                     "gone from the bus")

    def test_a_replugged_device_is_used_again(self):
        for _ in range(3):
            gpus.tgpu_parameter("add", 9)
            gpu = next(gpu for gpu in gpus.gpus("tgpu") if gpu.sysfs.name == "tgpu.9")
            kernel.until(lambda: self.broker.device(gpu) is not None, "tgpu.9 on the bus")
            answer, _ = self.ask()
            self.assertEqual({line[0]: line[1] for line in answer.details["devices"]}[gpu.number], IN_PLACE)
            gpus.tgpu_parameter("remove", 9)
