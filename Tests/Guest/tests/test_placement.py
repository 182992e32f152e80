"""A buffer of every exporter in the guest, on kernels that ignore, honour, validate and refuse NO_MOVE: the
right device, access and reason, and nothing moved to find out.

Each buffer is asked about with two primary devices: virtio B, which can import no one's buffers but
its own, and tgpu B, which can import whatever lies in system memory.
"""
import json
import os
import subprocess
import time
import unittest

import broker
import gpus
import kernel
from client import GUESS, INTENT, IN_PLACE, MAY_MOVE, NATIVE, STATE, Client
from gpus import RADEON_GTT, RADEON_VRAM, TGPU_SYSTEM, TGPU_VRAM


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    broker.unpack_without_introspection()


def words(answer):
    """What primed says of its answer, for a message."""
    return [answer.details["reason"], *answer.details["evidence"]]


class Case(unittest.TestCase):
    mode = None

    @classmethod
    def setUpClass(cls):
        if cls.mode is None:
            return
        gpus.tgpu_parameter("mode", cls.mode)
        broker.restart()
        cls.broker = Client()
        cls.virtio_a, cls.virtio_b = gpus.gpus("virtio_gpu")
        cls.tgpu_a, cls.tgpu_b = gpus.gpus("tgpu")
        cls.radeon = gpus.gpu("radeon")
        with gpus.plain() as buffer:   # primed has tried the flag when this is answered
            cls.broker.place(buffer)

    @classmethod
    def tearDownClass(cls):
        if cls.mode is not None:
            cls.broker.close()

    def place(self, buffer, primary):
        """Asks, and has the kernel say that nothing moved and nothing is attached."""
        moved = kernel.tgpu_moves()
        answer = self.broker.explain(buffer, primary_device=primary.number, fresh=True)
        self.assertEqual(kernel.tgpu_moves(), moved)
        # radeon, as an importer, detaches a little after the close.
        kernel.until(lambda: kernel.attachments()[buffer.inode] == 0, "no attachment")
        self.assertEqual(answer.buffer, buffer.inode)
        self.assertTrue(answer.details["reason"])
        self.assertTrue(answer.details["evidence"])
        return answer

    def expect(self, buffer, primary, device, access, rule, confidence=(STATE, INTENT)):
        answer = self.place(buffer, primary)
        context = f"{buffer.name}, primary {primary}: {words(answer)}"
        wanted = device if isinstance(device, (list, tuple)) else [device]
        self.assertIn(answer.device, [gpu.number for gpu in wanted], context)
        self.assertEqual(answer.access, access, context)
        self.assertEqual(answer.details["rule"], rule, context)
        low, high = confidence
        self.assertTrue(low <= answer.confidence <= high, context)
        return answer


class FlagWorks(Case):
    """What the flag can tell; modes `honoured` and `validated`."""

    def test_the_flag_is_known_to_work(self):
        self.assertEqual(self.broker.get("NoMove"), "honoured")

    def test_radeon_vram(self):
        for primary in (self.virtio_b, self.tgpu_b):
            with gpus.radeon(RADEON_VRAM) as buffer:
                before = kernel.radeon_bytes_moved()
                answer = self.expect(buffer, primary, self.radeon, NATIVE, "home-dedicated", (INTENT, INTENT))
                self.assertEqual(answer.details["home"], self.radeon.number)
                self.assertEqual(answer.details["home-memory"], "dedicated")
                self.assertEqual(kernel.radeon_bytes_moved(), before)

    def test_tgpu_vram(self):
        for index, owner in enumerate((self.tgpu_a, self.tgpu_b)):
            for primary in (self.virtio_b, self.tgpu_b):
                with gpus.tgpu(TGPU_VRAM, index) as buffer:
                    answer = self.expect(buffer, primary, owner, NATIVE, "home-dedicated")
                    self.assertEqual(answer.details["home"], owner.number)

    def test_system_memory_is_used_in_place_by_the_primary_device(self):
        for make in self.system_buffers():
            with self.subTest(), make() as buffer:
                answer = self.place(buffer, self.tgpu_b)
                context = f"{buffer.name}: {words(answer)}"
                self.assertEqual(answer.device, self.tgpu_b.number, context)
                self.assertEqual(answer.access, IN_PLACE, context)
                self.assertGreaterEqual(answer.confidence, STATE, context)

    def test_system_memory_that_the_primary_device_cant_reach(self):
        for make in self.system_buffers():
            with self.subTest(), make() as buffer:
                answer = self.place(buffer, self.virtio_b)
                context = f"{buffer.name}: {words(answer)}"
                reach_it = [self.radeon, self.tgpu_a, self.tgpu_b]
                self.assertIn(answer.device, [gpu.number for gpu in reach_it], context)
                self.assertIn(answer.access, (NATIVE, IN_PLACE), context)
                self.assertGreaterEqual(answer.confidence, STATE, context)

    @staticmethod
    def system_buffers():
        return [lambda: gpus.dumb(gpus.gpu("vgem")), lambda: gpus.dumb(gpus.gpu("cirrus")),
                lambda: gpus.dumb(gpus.gpu("vkms")), lambda: gpus.radeon(RADEON_GTT),
                lambda: gpus.tgpu(TGPU_SYSTEM), *gpus.of_no_device()]


class SystemMemoryByName:
    """Exporters that fdinfo names and that have system memory only: the same on every kernel."""

    def test_virtio_a_and_b(self):
        for owner in (self.virtio_a, self.virtio_b):
            with gpus.dumb(owner) as buffer:
                answer = self.expect(buffer, owner, owner, NATIVE, "home-system")
                self.assertEqual(answer.details["home"], owner.number)
                self.assertEqual(answer.details["home-memory"], "system")

    def test_virtio_a_that_virtio_b_cant_import(self):
        with gpus.dumb(self.virtio_a) as buffer:
            self.expect(buffer, self.virtio_b, self.virtio_a, NATIVE, "home-system")

    def test_virtio_that_another_can_use_in_place(self):
        with gpus.dumb(self.virtio_a) as buffer:
            self.expect(buffer, self.tgpu_b, self.tgpu_b, IN_PLACE, "home-system")

    def test_of_no_device(self):
        for make in gpus.of_no_device():
            with make() as buffer:
                answer = self.expect(buffer, self.tgpu_b, self.tgpu_b, IN_PLACE, "home-system")
                self.assertNotIn("home", answer.details)
                self.expect(buffer, self.virtio_b, (self.radeon, self.tgpu_a, self.tgpu_b), IN_PLACE,
                            "home-system")


class Honoured(FlagWorks, SystemMemoryByName):
    mode = "honoured"


class Validated(FlagWorks, SystemMemoryByName):
    mode = "validated"


class Ignored(Case, SystemMemoryByName):
    """Mainline: evidence only, and no import that could move."""
    mode = "ignored"

    def test_the_flag_is_known_not_to_work(self):
        self.assertEqual(self.broker.get("NoMove"), "ignored")

    def test_what_shows_drm_falls_back_and_is_imported_nowhere(self):
        for make in (lambda: gpus.dumb(gpus.gpu("vgem")), lambda: gpus.dumb(gpus.gpu("cirrus")),
                     lambda: gpus.dumb(gpus.gpu("vkms")), lambda: gpus.radeon(RADEON_VRAM),
                     lambda: gpus.radeon(RADEON_GTT), lambda: gpus.tgpu(TGPU_VRAM),
                     lambda: gpus.tgpu(TGPU_SYSTEM), lambda: gpus.tgpu(TGPU_VRAM, 1)):
            # virtio B can import none of these: the fallback is then another that can.
            others = (self.radeon, self.tgpu_a, self.tgpu_b)
            for primary, fallback in ((self.tgpu_b, self.tgpu_b), (self.virtio_b, others)):
                with self.subTest(), make() as buffer:
                    before = (kernel.tgpu_count("attempts"), kernel.radeon_bytes_moved())
                    self.expect(buffer, primary, fallback, MAY_MOVE, "fallback", (GUESS, GUESS))
                    self.assertEqual((kernel.tgpu_count("attempts"), kernel.radeon_bytes_moved()), before)


class Refused(Ignored):
    """A kernel to which every flag is an unknown one: refused with the flag and let in without it says nothing."""
    mode = "refused"

    def test_the_flag_is_known_not_to_work(self):
        self.assertEqual(self.broker.get("NoMove"), "unknown")


class EveryMode(unittest.TestCase):
    def test_software_devices_are_never_chosen(self):
        for mode in ("ignored", "honoured", "validated", "refused"):
            gpus.tgpu_parameter("mode", mode)
            broker.restart()
            client = Client()
            for driver in ("vgem", "vkms"):
                software = gpus.gpu(driver)
                self.assertEqual(client.device(software)["Role"], "software")
                with gpus.dumb(software) as buffer:
                    answer = client.place(buffer, primary_device=software.number)
                    self.assertNotIn(answer.device, (software.number, software.card_number), (mode, driver))
            client.close()


class SideBySide(unittest.TestCase):
    """A cold question to n devices takes about as long as the slowest of them alone: they are asked at once."""
    DELAY = 200   # ms that an import takes

    def test_eight_devices(self):
        gpus.tgpu_parameter("mode", "honoured")
        for number in range(2, 8):
            gpus.tgpu_parameter("add", number)
        self.addCleanup(lambda: [gpus.tgpu_parameter("remove", number) for number in range(2, 8)])
        broker.restart()
        client = Client()
        self.addCleanup(client.close)
        slow = gpus.gpus("tgpu")
        self.assertEqual(len(slow), 8)
        with gpus.plain() as buffer:
            kernel.until(lambda: all(client.device(gpu) for gpu in slow), "all on the bus")
            client.place(buffer)   # each has said what it can do
            slow_down(self, self.DELAY)
            before = kernel.tgpu_count("attempts")
            one = seconds(lambda: import_once(slow[0], buffer))
            self.assertEqual(kernel.tgpu_count("attempts") - before, 1)
            all_of_them = seconds(lambda: client.place(buffer, fresh=True))
            self.assertEqual(kernel.tgpu_count("attempts") - before, 1 + len(slow))
        print(f"      8 devices / one: {all_of_them / one:.2f}", flush=True)
        self.assertGreaterEqual(one, self.DELAY / 1000)
        self.assertLessEqual(all_of_them, 1.5 * one)


class Tool(Case):
    """primectl place, with buffers that it makes on real devices or is given."""

    mode = "honoured"

    def told(self, *words, **how):
        done = subprocess.run(["primectl", "place", *map(str, words), "--json"], capture_output=True, text=True, **how)
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        return answer["device"], answer["access"], answer["details"]

    def setUp(self):
        moved = kernel.tgpu_moves()
        self.addCleanup(lambda: self.assertEqual(kernel.tgpu_moves(), moved))

    def test_in_the_memory_that_is_named(self):
        for gpu in (self.tgpu_a, self.radeon):
            device, access, details = self.told("--device", gpu.render, "--memory", "vram")
            self.assertEqual((device, access, details["home-memory"]), (gpu.number, "native", "dedicated"), details)
            _, _, details = self.told("--device", gpu.number, "--memory", "system")
            self.assertNotEqual(details["home-memory"], "dedicated", details)

    def test_of_a_driver_without_an_interface_of_its_own(self):
        """With and without a render node."""
        for gpu in (gpus.gpu("vgem"), gpus.gpu("cirrus")):
            device, access, details = self.told("--device", gpu.render or gpu.card,
                                                "--hint", f"primary-device={self.tgpu_b.number}")
            self.assertEqual((device, access), (self.tgpu_b.number, "in-place"), details)

    def test_of_no_device(self):
        if not gpus.of_no_device():
            done = subprocess.run(["primectl", "place", "--udmabuf"], capture_output=True, text=True)
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertIn("/dev/udmabuf", done.stderr)
            return
        device, access, details = self.told("--udmabuf", "--hint", f"primary-device={self.tgpu_b.card}")
        self.assertEqual((device, access), (self.tgpu_b.number, "in-place"), details)
        self.assertNotIn("home", details)

    def test_given_by_the_shell(self):
        with gpus.tgpu(TGPU_VRAM, 1) as buffer:
            device, access, _ = self.told("--fd", buffer.fd, pass_fds=[buffer.fd])
        self.assertEqual((device, access), (self.tgpu_b.number, "native"))

    def test_of_a_device_that_lets_nobody_at_its_buffers(self):
        """Nobody is said to have exported it, or to reach it, in its stead."""
        _, access, details = self.told("--device", "qxl")
        self.assertNotIn(access, ("native", "in-place"), details)
        self.assertIn("qxl (", details["evidence"][0])


class Slow(unittest.TestCase):
    """A driver whose every call answers in time, be it that all that a device is asked first takes longer."""
    DELAY = 200   # ms that an import takes; a call may take 500

    def test_it_is_asked_what_it_can_do_and_then_about_buffers(self):
        gpus.tgpu_parameter("mode", "validated")   # takes three imports to find out
        slow_down(self, self.DELAY)
        broker.restart()
        client = Client()
        self.addCleanup(client.close)
        primary = gpus.gpu("tgpu", 1)
        with gpus.plain() as buffer:
            answer = client.explain(buffer, primary_device=primary.number)
            self.assertEqual((answer.device, answer.access), (primary.number, IN_PLACE), words(answer))
        device = client.device(primary)
        self.assertEqual((device["State"], device["NoMove"]), ("ready", "honoured"))


def slow_down(test, delay):
    """All tgpu devices, until the test ends."""
    for gpu in gpus.gpus("tgpu"):
        gpu.attribute("import_delay_ms", delay)
    test.addCleanup(lambda: [gpu.attribute("import_delay_ms", 0) for gpu in gpus.gpus("tgpu")])


def import_once(gpu, buffer):
    node = gpu.open()
    try:
        gpus.try_import(node, buffer)
    finally:
        os.close(node)


def seconds(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


del FlagWorks, Case   # only what names a mode is run
