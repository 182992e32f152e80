"""The guest itself, without primed: what primed takes real drivers to do, and that the witnesses of the
other tests (the move counters, bufinfo, the resume counter) do count.
"""
import errno
import os
import subprocess
import threading
import unittest

import gpus
import kernel
from gpus import NO_MOVE, RADEON_GTT, RADEON_VRAM, TGPU_SYSTEM, TGPU_VRAM


def setUpModule():
    subprocess.run(["load-drivers"], check=True)


def import_result(gpu, buffer, flags=0):
    """0, or the errno that the kernel gave."""
    node = gpu.open()
    try:
        gpus.try_import(node, buffer, flags)
        return 0
    except OSError as error:
        return error.errno
    finally:
        os.close(node)


class Imports(unittest.TestCase):
    """Mainline: flags are ignored, and the exporter decides whether a buffer moves."""

    def setUp(self):
        gpus.tgpu_parameter("mode", "ignored")

    def check(self, buffer, expected):
        for driver, result in expected.items():
            with self.subTest(importer=driver):
                self.assertEqual(errno.errorcode.get(import_result(gpus.gpu(driver), buffer), "ok"), result)

    def test_devices(self):
        self.assertEqual(sorted(gpu.driver for gpu in gpus.gpus()),
                         ["cirrus", "qxl", "radeon", "tgpu", "tgpu", "vgem", "virtio_gpu", "virtio_gpu", "vkms"])

    def test_radeon_vram_is_moved(self):
        for driver, result in {"vgem": 0, "cirrus": 0, "vkms": 0, "tgpu": 0,
                               "virtio_gpu": errno.ENODEV, "qxl": errno.ENOSYS}.items():
            for flags in (0, NO_MOVE, 1 << 31):
                with self.subTest(importer=driver, flags=flags), gpus.radeon(RADEON_VRAM) as buffer:
                    before = kernel.radeon_bytes_moved()
                    self.assertEqual(import_result(gpus.gpu(driver), buffer, flags), result)
                    self.assertEqual(kernel.radeon_bytes_moved() - before, gpus.SIZE)

    def test_tgpu_vram_is_moved(self):
        for driver in ("vgem", "cirrus", "vkms", "radeon", "virtio_gpu", "qxl"):
            with self.subTest(importer=driver), gpus.tgpu(TGPU_VRAM) as buffer:
                before = kernel.tgpu_moves()
                import_result(gpus.gpu(driver), buffer, NO_MOVE)
                self.assertEqual(kernel.tgpu_moves() - before, 1)
                self.assertEqual(kernel.tgpu_info(buffer)[:3], (TGPU_SYSTEM, TGPU_VRAM, 1))

    def test_system_memory_stays(self):
        everywhere = {"vgem": "ok", "cirrus": "ok", "vkms": "ok", "radeon": "ok", "tgpu": "ok",
                      "virtio_gpu": "ENODEV", "qxl": "ENOSYS"}
        for make in (lambda: gpus.dumb(gpus.gpu("vgem")), lambda: gpus.dumb(gpus.gpu("cirrus")),
                     lambda: gpus.dumb(gpus.gpu("vkms")), lambda: gpus.radeon(RADEON_GTT),
                     lambda: gpus.tgpu(TGPU_SYSTEM), *gpus.of_no_device()):
            with make() as buffer:
                before = kernel.moves()
                self.check(buffer, everywhere)
                # An import into radeon counts the importer's own object.
                imported = 0 if buffer.name == "radeon GTT" else gpus.SIZE
                self.assertEqual(kernel.moves(), (before[0] + imported, before[1]))

    def test_virtio_of_another_virtio(self):
        a, b = gpus.gpus("virtio_gpu")
        with gpus.dumb(a) as buffer:
            self.assertEqual(import_result(a, buffer), 0)
            self.assertEqual(import_result(b, buffer), errno.ENODEV)

    def test_who_takes_qxls_buffers(self):
        """Those that map nothing in the ioctl, which are there from Linux 7 on (drm_gem_shmem_prime_import_no_map());
        mapping fails, since qxl gives no pages."""
        takes = ("vgem", "vkms", "cirrus") if kernel.LINUX_7 else ()
        with gpus.dumb(gpus.gpu("qxl")) as buffer:
            self.check(buffer, {driver: "ok" if driver in takes else "ENOSYS"
                                for driver in ("vgem", "vkms", "cirrus", "radeon", "tgpu", "virtio_gpu")})

    def test_self_import_attaches_nothing(self):
        for buffer in (gpus.radeon(RADEON_VRAM), gpus.tgpu(TGPU_VRAM)):
            with self.subTest(buffer=buffer.name), buffer:
                before = kernel.moves()
                node = buffer.exporter.open()
                gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
                self.assertEqual(kernel.attachments()[buffer.inode], 0)
                os.close(node)
                self.assertEqual(kernel.moves(), before)

    def test_bufinfo_shows_attachments(self):
        with gpus.plain() as buffer:
            node = gpus.gpu("tgpu").open()
            gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
            self.assertEqual(kernel.attachments()[buffer.inode], 1)
            os.close(node)
            self.assertEqual(kernel.attachments()[buffer.inode], 0)


class NoMove(unittest.TestCase):
    """tgpu's own two modes in which the flag works, for stock importers too."""

    def tearDown(self):
        gpus.tgpu_parameter("mode", "ignored")

    def refused_everywhere(self, make):
        for importer in gpus.gpus():
            with self.subTest(importer=importer), make() as buffer:
                before = kernel.moves()
                result = import_result(importer, buffer, NO_MOVE)
                own = importer.sysfs == buffer.exporter.sysfs
                self.assertEqual(result, 0 if own else errno.EINVAL)
                self.assertEqual(kernel.moves(), before)

    def test_vram_is_refused_and_stays(self):
        for mode in ("honoured", "validated"):
            gpus.tgpu_parameter("mode", mode)
            self.refused_everywhere(lambda: gpus.radeon(RADEON_VRAM))
            self.refused_everywhere(lambda: gpus.tgpu(TGPU_VRAM))

    def test_without_the_flag_it_moves(self):
        for mode in ("honoured", "validated"):
            gpus.tgpu_parameter("mode", mode)
            with gpus.radeon(RADEON_VRAM) as a, gpus.tgpu(TGPU_VRAM) as b:
                moved, count = kernel.moves()
                self.assertEqual(import_result(gpus.gpu("vkms"), a), 0)
                self.assertEqual(import_result(gpus.gpu("vkms"), b), 0)
                self.assertEqual(kernel.moves(), (moved + gpus.SIZE, count + 1))

    def test_unknown_bits(self):
        for mode, result in (("ignored", 0), ("honoured", 0), ("validated", errno.EINVAL)):
            gpus.tgpu_parameter("mode", mode)
            for driver in ("vgem", "radeon", "tgpu", "vkms"):
                with self.subTest(mode=mode, importer=driver), gpus.plain() as buffer:
                    self.assertEqual(import_result(gpus.gpu(driver), buffer, 1 << 31), result)
                    self.assertEqual(import_result(gpus.gpu(driver), buffer, NO_MOVE), 0)

    def test_evicted_then_home(self):
        gpus.tgpu_parameter("mode", "honoured")
        with gpus.tgpu(TGPU_VRAM) as buffer:
            gpus.evict(buffer)
            self.assertEqual(import_result(gpus.gpu("radeon"), buffer, NO_MOVE), 0)
            # radeon detaches a little after the close.
            kernel.until(lambda: kernel.tgpu_info(buffer)[3] == 0, "no importer")
            gpus.restore(buffer)
            self.assertEqual(import_result(gpus.gpu("radeon"), buffer, NO_MOVE), errno.EINVAL)
            self.assertEqual(kernel.tgpu_info(buffer), (TGPU_VRAM, TGPU_VRAM, 0, 0))

    def test_a_peer_uses_it_in_place(self):
        gpus.tgpu_parameter("mode", "honoured")
        a, b = gpus.gpus("tgpu")
        b.attribute("peers", 1 << 0)
        try:
            with gpus.tgpu(TGPU_VRAM) as buffer:
                self.assertEqual(import_result(b, buffer, NO_MOVE), 0)
                self.assertEqual(import_result(b, buffer), 0)
                self.assertEqual(kernel.tgpu_info(buffer), (TGPU_VRAM, TGPU_VRAM, 0, 0))
        finally:
            b.attribute("peers", 0)


class TestDriver(unittest.TestCase):
    """What tgpu can be told to do."""

    def test_eviction_under_an_importer(self):
        with gpus.tgpu(TGPU_VRAM) as buffer:
            node = gpus.gpu("vkms").open()
            gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
            with self.assertRaises(OSError) as failure:
                gpus.restore(buffer)   # pinned
            self.assertEqual(failure.exception.errno, errno.EBUSY)
            os.close(node)
            gpus.restore(buffer)

    def test_import_error(self):
        device = gpus.gpu("tgpu")
        device.attribute("import_errno", errno.ENOMEM)
        try:
            with gpus.plain() as buffer:
                self.assertEqual(import_result(device, buffer), errno.ENOMEM)
        finally:
            device.attribute("import_errno", 0)

    def test_delays_and_their_end(self):
        device = gpus.gpu("tgpu")
        for uninterruptible, state in ((0, "S"), (1, "D")):
            device.attribute("import_uninterruptible", uninterruptible)
            device.attribute("import_delay_ms", 600000)
            attempts = int(device.attribute("attempts"))
            with self.subTest(state=state), gpus.plain() as buffer:
                thread = threading.Thread(target=import_result, args=(device, buffer), daemon=True)
                thread.start()
                try:
                    kernel.until(lambda: int(device.attribute("attempts")) > attempts, "an attempt")
                    kernel.until(lambda: state_of(thread) == state, f"state {state}")
                finally:
                    device.attribute("import_delay_ms", 0)
                thread.join(20)
                self.assertFalse(thread.is_alive())
        device.attribute("import_uninterruptible", 0)

    def test_hot_unplug_ends_a_delay(self):
        gpus.tgpu_parameter("add", 9)
        device = next(gpu for gpu in gpus.gpus("tgpu") if gpu.sysfs.name == "tgpu.9")
        device.attribute("import_delay_ms", 600000)
        results = []
        with gpus.plain() as buffer:
            thread = threading.Thread(target=lambda: results.append(import_result(device, buffer)), daemon=True)
            thread.start()
            kernel.until(lambda: int(device.attribute("attempts")), "an attempt")
            gpus.tgpu_parameter("remove", 9)
            thread.join(20)
        self.assertEqual(results, [errno.ENODEV])

    def test_runtime_pm(self):
        device = gpus.gpu("tgpu", 1)
        self.assertEqual(device.attribute("power/control"), "on")
        device.attribute("power/autosuspend_delay_ms", 0)
        device.attribute("power/control", "auto")
        try:
            for step in ("open", "ioctl", "close"):
                wait_for_status(device, "suspended")
                before = int(device.attribute("resumes"))
                if step == "open":
                    node = device.open()   # its DROP_MASTER on the render node is an ioctl too
                elif step == "ioctl":
                    with self.assertRaises(OSError):
                        gpus.ask(node, gpus.TGPU_INFO, "IIIIII", 0, 0, 0, 0, 0, 0)
                else:
                    os.close(node)
                with self.subTest(step=step):
                    self.assertGreater(int(device.attribute("resumes")), before)
            wait_for_status(device, "suspended")
            before = int(device.attribute("resumes"))
            device.attribute("power/runtime_status")
            self.assertEqual(int(device.attribute("resumes")), before)
        finally:
            device.attribute("power/control", "on")


def state_of(thread):
    """The scheduler's one-letter state."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def wait_for_status(device, status):
    kernel.until(lambda: device.attribute("power/runtime_status") == status, f"{device} {status}")
