"""The pair table on the real kernel: what each row says of a driver that the guest has, what mainline tells
by it, and an administrator's own rows.

In order: `Mainline` runs before tgpu is there, of which the table knows nothing.
"""
import contextlib
import errno
import json
import mmap
import os
import pathlib
import resource
import subprocess
import unittest

import broker
import gpus
import kernel
from broker import IN_PLACE, INTENT, NATIVE
from gpus import RADEON_GTT, RADEON_VRAM

OWN_ROWS = pathlib.Path("/etc/primed/pairs")
NO_ROWS = "# none\n"
# Exporters of rows that no machine without their hardware can show.
NOT_HERE = {"bochs-drm", "nvidia-drm", "i915", "nouveau", "amdgpu", "xe", "udl", "gud", "simpledrm", "panfrost", "panthor",
            "lima", "v3d", "asahi", "etnaviv", "msm", "vc4", "imx-drm", "meson", "sun4i-drm", "apple-drm",
            "rockchip", "exynos", "mediatek", "omapdrm", "intel_vpu"}
SYSTEM_MEMORY = ("vgem", "vkms", "cirrus", "virtio_gpu")
# What importers do with others' buffers, whoever exported them.
REFUSALS = {"virtio_gpu": errno.ENODEV, "qxl": errno.ENOSYS}


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu", "cirrus", "qxl", "vgem", "vkms", "radeon"], check=True)
    broker.install_without_introspection()


class Mainline(unittest.TestCase):
    """The stock kernel, whose imports heed no flag: only radeon here has memory of its own."""

    def setUp(self):
        self.broker = broker.Broker()
        self.addCleanup(self.broker.close)
        self.radeon, self.virtio = gpus.gpu("radeon"), gpus.gpu("virtio_gpu")

    def place(self, buffer, **hints):
        before = kernel.radeon_bytes_moved()
        answer = self.broker.explain(buffer, fresh=True, **hints)
        if buffer.exporter is self.radeon or buffer.name.startswith("radeon"):
            self.assertEqual(kernel.radeon_bytes_moved(), before)
        kernel.until(lambda: kernel.attachments()[buffer.inode] == 0, "no attachment")
        return answer

    def test_the_exporters_record_tells_a_buffer_of_video_memory(self):
        with gpus.radeon(RADEON_VRAM) as buffer:
            answer = self.place(buffer, primary_device=self.virtio.number)
        self.assertEqual((answer.device, answer.access, answer.confidence),
                         (self.radeon.number, NATIVE, INTENT), answer.details)
        self.assertEqual(answer.details["rule"], "home-dedicated")

    def test_a_linear_copy_in_system_memory_is_for_the_other_device(self):
        """DRI_PRIME: the copy was made for the device that shows it."""
        cirrus = gpus.gpu("cirrus")
        with gpus.radeon(RADEON_GTT) as buffer:
            answer = self.place(buffer, primary_device=self.virtio.number, target_device=cirrus.number,
                                usage=["scanout"])
        self.assertEqual((answer.device, answer.access), (cirrus.number, IN_PLACE), answer.details)
        self.assertEqual(answer.details["home-memory"], "system")

    def test_a_buffer_of_a_driver_without_video_memory(self):
        with gpus.dumb(gpus.gpu("cirrus")) as buffer:
            answer = self.place(buffer, primary_device=self.radeon.number)
        self.assertEqual((answer.device, answer.access), (self.radeon.number, IN_PLACE), answer.details)
        self.assertEqual(answer.details["rule"], "home-system")


class OwnRows(unittest.TestCase):
    """/etc/primed/pairs, read by the installed service in its sandbox."""

    @classmethod
    def setUpClass(cls):
        subprocess.run(["load-drivers", "tgpu"], check=True)
        broker.restart()
        cls.broker = broker.Broker()
        cls.virtio, cls.tgpu = gpus.gpu("virtio_gpu"), gpus.gpu("tgpu")
        OWN_ROWS.parent.mkdir()

    @classmethod
    def tearDownClass(cls):
        cls.broker.close()
        OWN_ROWS.unlink()
        broker.restart()

    def tearDown(self):
        self.write(NO_ROWS)

    def write(self, text):
        """Other rows; returns once they are in force."""
        if text == (OWN_ROWS.read_text() if OWN_ROWS.exists() else NO_ROWS):
            return
        OWN_ROWS.write_text(text)
        with contextlib.closing(self.broker.signals("PlacementsInvalidated")) as signals:
            broker.command("systemctl", "reload", "primed.service")
            signals.wait(lambda generation, devices: self.tgpu.number in devices)

    def place(self):
        with gpus.dumb(self.virtio) as buffer:
            answer = self.broker.explain(buffer, primary_device=self.tgpu.number, fresh=True)
        return answer.device, answer.access

    def test_a_pair_that_hangs_is_not_named(self):
        self.assertEqual(self.place(), (self.tgpu.number, IN_PLACE))
        self.write("virtio_gpu tgpu pins nothing hangs  # seen here\n")
        self.assertEqual(self.place(), (self.virtio.number, NATIVE))

    def test_rows_hold_for_their_kernels(self):
        self.write("virtio_gpu tgpu pins nothing hangs ..5.19\n")
        self.assertEqual(self.place(), (self.tgpu.number, IN_PLACE))
        running = ".".join(os.uname().release.split(".")[:2])
        self.write(f"virtio_gpu tgpu pins nothing hangs {running}..{running}\n")
        self.assertEqual(self.place(), (self.virtio.number, NATIVE))

    def test_rows_are_read_at_the_start(self):
        self.write("virtio_gpu tgpu fails unknown unknown\n")
        broker.restart()
        self.assertEqual(self.place(), (self.virtio.number, NATIVE))

    def test_a_bad_line_is_a_warning_and_left_out(self):
        self.write("virtio_gpu tgpu sticks\nvirtio_gpu tgpu pins nothing hangs\n")
        self.assertEqual(self.place(), (self.virtio.number, NATIVE))
        journal = broker.command("journalctl", "-q", "-u", "primed.service", "-p", "warning", "-o", "cat")
        self.assertIn(f"{OWN_ROWS}:1: expected: exporter importer", journal)
        checked = subprocess.run(["primectl", "pairs"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.assertEqual(checked.returncode, 1)
        self.assertIn(f"{OWN_ROWS}:1: ", checked.stderr)


class Rows(unittest.TestCase):
    """Each built-in row against every importer of the guest, by the kernel's own witnesses."""

    @classmethod
    def setUpClass(cls):
        cls.rows = json.loads(broker.command("primectl", "pairs", "--json"))

    def rows_of(self, exporter):
        return [row for row in self.rows if row["exporter"] == exporter]

    def test_every_row_is_shown_or_known_not_to_be(self):
        shown = {"radeon", "qxl", *SYSTEM_MEMORY}
        self.assertEqual({row["exporter"] for row in self.rows} - NOT_HERE, shown)
        for exporter in shown:
            self.assertEqual(len(self.rows_of(exporter)), 1)
        for row in self.rows:
            self.assertTrue(row["source"], row)

    def test_radeon_moves_at_attach(self):
        row, = self.rows_of("radeon")
        self.assertEqual((row["importer"], row["attach"], row["use"]), ("others", "moves", "works"))
        for importer in gpus.gpus():
            if importer.driver == "radeon":
                continue
            with self.subTest(importer=importer), gpus.radeon(RADEON_VRAM) as buffer:
                before = kernel.radeon_bytes_moved()
                with imported(importer, buffer) as result:
                    self.assertEqual(result, REFUSALS.get(importer.driver, 0))
                # An importer that refuses after the attachment moved it all the same.
                self.assertEqual(kernel.radeon_bytes_moved() - before, gpus.SIZE)

    def test_qxl_lets_nobody_at_its_buffers(self):
        row, = self.rows_of("qxl")
        self.assertEqual([row[key] for key in ("importer", "attach", "map", "use")],
                         ["others", "fails", "nothing", "works"])
        for importer in gpus.gpus():
            with gpus.dumb(gpus.gpu("qxl")) as buffer, imported(importer, buffer) as result:
                self.assertEqual(result, 0 if importer.driver == "qxl" else errno.ENOSYS, importer)
                self.assertEqual(kernel.attachments()[buffer.inode], 0)

    def test_system_memory_stays_where_it_lies(self):
        for exporter in SYSTEM_MEMORY:
            row, = self.rows_of(exporter)
            self.assertEqual([row[key] for key in ("importer", "attach", "map", "use")],
                             ["*", "pins", "nothing", "works"])
            self.stays(lambda: gpus.dumb(gpus.gpu(exporter)))

    def test_memory_of_no_device_stays_where_it_lies(self):
        self.stays(gpus.udmabuf)
        self.stays(gpus.dma_heap)

    def stays(self, make):
        for importer in gpus.gpus():
            with make() as buffer, self.subTest(buffer=buffer.name, importer=importer):
                if buffer.exporter and importer.sysfs == buffer.exporter.sysfs:
                    continue
                with mapped(buffer) as view:
                    view[:8] = b"contents"
                    with imported(importer, buffer) as result:
                        self.assertEqual(result, REFUSALS.get(importer.driver, 0))
                        self.assertEqual(kernel.attachments()[buffer.inode], 0 if result else 1)
                        self.assertEqual(faults(view), 0)
                    self.assertEqual(faults(view), 0)
                    self.assertEqual(view[:8], b"contents")

    def test_the_witness_sees_a_move(self):
        with gpus.radeon(RADEON_VRAM) as buffer, mapped(buffer) as view:
            view[:8] = b"contents"
            self.assertEqual(faults(view), 0)
            with imported(gpus.gpu("vkms"), buffer):
                self.assertEqual(faults(view), 1)
                self.assertEqual(view[:8], b"contents")


@contextlib.contextmanager
def imported(importer, buffer):
    """Holds the import; yields 0, or the errno that the kernel gave."""
    node = importer.open()
    try:
        try:
            gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
            result = 0
        except OSError as error:
            result = error.errno
        yield result
    finally:
        os.close(node)


@contextlib.contextmanager
def mapped(buffer):
    view = mmap.mmap(buffer.fd, mmap.PAGESIZE)
    try:
        yield view
    finally:
        view.close()


def faults(view):
    """Page faults of touching the first page again: none while it lies where it lay, since who moves a buffer
    takes it out of all page tables."""
    for _ in range(2):   # the first turn brings in what the counting itself needs
        count()
    before = count()
    _ = view[0]
    return count() - before


def count():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
