"""The pair table on the real kernel: what each row says of a driver that the guest has, what mainline tells
by it, and an administrator's own rows.

In order: `Mainline` runs before qxl and tgpu are there. The table knows of qxl that from Linux 7 on an import may
bring its evicted buffers home, and of tgpu nothing.
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
import machine
from client import GUESS, INTENT, IN_PLACE, MAY_MOVE, NATIVE, STATE, Client
from gpus import RADEON_GTT, RADEON_VRAM

OWN_ROWS = pathlib.Path("/etc/primed/pairs")
NO_ROWS = "# none\n"
SYSTEM_MEMORY = ("vgem", "vkms", "cirrus", "virtio_gpu")
# Of the drivers here those that map nothing in an import, which on Linux 7 they do by one function of the kernel's.
MAP_NOTHING = ("vgem", "vkms", "cirrus", "bochs-drm")
# A row has the newest of its driver's names.
ROW_NAMES = {"cirrus": "cirrus-qemu"}
# What importers do with others' buffers, whoever exported them.
REFUSALS = {"virtio_gpu": errno.ENODEV, "qxl": errno.ENOSYS}


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu", "cirrus", "vgem", "vkms", "radeon"], check=True)
    broker.unpack_without_introspection()


class Mainline(unittest.TestCase):
    """The stock kernel, whose imports heed no flag: only radeon here has memory of its own."""

    def setUp(self):
        self.broker = Client()
        self.addCleanup(self.broker.close)
        self.radeon, self.virtio = gpus.gpu("radeon"), gpus.gpu("virtio_gpu")

    def expect(self, buffer, hints, *answer, **details):
        """Asks, and compares (device, access, confidence) and details with the answer."""
        before = kernel.radeon_bytes_moved()
        given = self.broker.explain(buffer, fresh=True, **hints)
        if buffer.name.startswith("radeon"):
            self.assertEqual(kernel.radeon_bytes_moved(), before)
        kernel.until(lambda: kernel.attachments()[buffer.inode] == 0, "no attachment")
        self.assertEqual((given.device, given.access, given.confidence), answer, given.details)
        self.assertEqual({key: given.details[key.replace("_", "-")] for key in details}, details)

    def test_the_exporters_record_tells_a_buffer_of_video_memory(self):
        with gpus.radeon(RADEON_VRAM) as buffer:
            self.expect(buffer, {"primary_device": self.virtio.number},
                        self.radeon.number, NATIVE, INTENT, rule="home-dedicated")

    def test_a_linear_copy_in_system_memory_is_for_the_other_device(self):
        """DRI_PRIME: the copy was made for the device that shows it."""
        cirrus = gpus.gpu("cirrus").number
        with gpus.radeon(RADEON_GTT) as buffer:
            self.expect(buffer, {"primary_device": self.virtio.number, "target_device": cirrus, "usage": ["scanout"]},
                        cirrus, IN_PLACE, STATE, home_memory="system")

    def test_a_buffer_of_a_driver_without_video_memory(self):
        with gpus.dumb(gpus.gpu("cirrus")) as buffer:
            self.expect(buffer, {"primary_device": self.radeon.number},
                        self.radeon.number, IN_PLACE, STATE, rule="home-system")


class MainlineBesideQxl(Mainline):
    """Up to 6.12 nobody is let at qxl's buffers, so that its being there changes no answer. From Linux 7 on an
    attachment may bring an evicted one home: radeon is not asked for its record of what may be one."""

    @classmethod
    def setUpClass(cls):
        subprocess.run(["load-drivers", "qxl"], check=True)
        broker.restart()

    def expect(self, buffer, hints, *answer, **details):
        if kernel.LINUX_7:
            answer, details = (self.radeon.number, MAY_MOVE, GUESS), {"rule": "home-unknown"}
        super().expect(buffer, hints, *answer, **details)


class OwnRows(unittest.TestCase):
    """/etc/primed/pairs, read by the installed service in its sandbox."""

    @classmethod
    def setUpClass(cls):
        subprocess.run(["load-drivers", "tgpu"], check=True)
        broker.restart()
        cls.broker = Client()
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
        running = ".".join(map(str, kernel.VERSION))
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


class Case(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.rows = json.loads(broker.command("primectl", "pairs", "--json"))

    def rows_of(self, exporter):
        """Those that hold on this kernel, the one that overrules the others first."""
        exporter = ROW_NAMES.get(exporter, exporter)
        return [row for row in self.rows if row["exporter"] == exporter and kernel.is_in(row["kernels"])]

    def row(self, exporter, importer):
        """The one that holds for this importer."""
        names = ("*", "others", ROW_NAMES.get(importer, importer))
        return next(row for row in self.rows_of(exporter) if row["importer"] in names)

    def stays(self, make, importers=None):
        for importer in importers or gpus.gpus():
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


class Rows(Case):
    """Each built-in row against every importer of the guest, by the kernel's own witnesses."""

    def test_every_driver_here_has_a_row(self):
        for exporter in ("radeon:dedicated", "qxl", *SYSTEM_MEMORY):
            self.assertGreaterEqual(len(self.rows_of(exporter)), 1, exporter)
        for row in self.rows:
            self.assertTrue(row["source"], row)

    def test_radeon_moves_at_attach(self):
        row, = self.rows_of("radeon:dedicated")
        self.assertEqual((row["importer"], row["attach"], row["use"]), ("*", "moves", "works"))
        for importer in gpus.gpus():
            if importer.driver == "radeon":
                continue
            with self.subTest(importer=importer), gpus.radeon(RADEON_VRAM) as buffer:
                before = kernel.radeon_bytes_moved()
                with imported(importer, buffer) as result:
                    self.assertEqual(result, REFUSALS.get(importer.driver, 0))
                # An importer that refuses after the attachment moved it all the same.
                self.assertEqual(kernel.radeon_bytes_moved() - before, gpus.SIZE)

    def test_who_is_let_at_qxls_buffers(self):
        qxl = gpus.gpu("qxl")
        for importer in gpus.gpus():
            if importer.driver == "qxl":
                continue
            if not kernel.LINUX_7:
                effects, refusal = ("fails", "nothing", "works"), errno.ENOSYS
            elif importer.driver in MAP_NOTHING:
                effects, refusal = ("unknown", "nothing", "works"), 0
            else:
                effects, refusal = ("unknown", "fails", "unknown"), errno.ENOSYS
            with self.subTest(importer=importer), gpus.dumb(qxl) as buffer:
                row = self.row("qxl", importer.driver)
                self.assertEqual((row["attach"], row["map"], row["use"]), effects)
                with imported(importer, buffer) as result:
                    self.assertEqual(result, refusal)
                    self.assertEqual(kernel.attachments()[buffer.inode], 0 if refusal else 1)

    def test_qxls_own(self):
        qxl = gpus.gpu("qxl")
        with gpus.dumb(qxl) as buffer, imported(qxl, buffer) as result:
            self.assertEqual((result, kernel.attachments()[buffer.inode]), (0, 0))

    def test_system_memory_stays_where_it_lies(self):
        for exporter in SYSTEM_MEMORY:
            row, = self.rows_of(exporter)
            self.assertEqual([row[key] for key in ("importer", "attach", "map", "use")],
                             ["*", "pins", "nothing", "works"])
            self.stays(lambda: gpus.dumb(gpus.gpu(exporter)))

    def test_memory_of_no_device_stays_where_it_lies(self):
        for make in gpus.of_no_device():
            self.stays(make)

    def test_the_witness_sees_a_move(self):
        with gpus.radeon(RADEON_VRAM) as buffer, mapped(buffer) as view:
            view[:8] = b"contents"
            self.assertEqual(faults(view), 0)
            with imported(gpus.gpu("vkms"), buffer):
                self.assertEqual(faults(view), 1)
                self.assertEqual(view[:8], b"contents")


class RowsOfBochs(Case):
    """bochs came to system memory that others can use between 6.12 and 7.2. Up to 6.5, by a driver that names no
    functions for it, nothing is imported or exported at all (drm_prime.c, drm_prime_fd_to_handle_ioctl())."""
    WITHOUT_PRIME = kernel.VERSION < [6, 6]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        monitor = machine.Monitor()
        cls.addClassCleanup(monitor.close)
        cls.bochs = machine.plug_bochs(monitor, 1)

    def test_its_buffers(self):
        row = self.row("bochs-drm", "radeon")
        effects = (row["attach"], row["map"], row["use"])
        if kernel.LINUX_7:
            self.assertEqual(effects, ("pins", "nothing", "works"))
            return self.stays(lambda: gpus.dumb(self.bochs))
        self.assertEqual(effects, ("fails", "nothing", "works"))
        if self.WITHOUT_PRIME:
            with self.assertRaises(OSError) as refused:
                gpus.dumb(self.bochs)
            return self.assertEqual(refused.exception.errno, errno.ENOSYS)
        for importer in gpus.gpus():
            with self.subTest(importer=importer), gpus.dumb(self.bochs) as buffer:
                with imported(importer, buffer) as result:
                    self.assertEqual(result, 0 if importer.driver == "bochs-drm" else errno.ENOSYS)
                    self.assertEqual(kernel.attachments()[buffer.inode], 0)

    def test_its_imports(self):
        if kernel.LINUX_7:
            for exporter in ("vgem", "virtio_gpu"):
                self.stays(lambda: gpus.dumb(gpus.gpu(exporter)), [self.bochs])
            return
        with gpus.radeon(RADEON_VRAM) as buffer:
            before = kernel.radeon_bytes_moved()
            with imported(self.bochs, buffer) as result:
                refusal = errno.ENOSYS if self.WITHOUT_PRIME else errno.EINVAL
                self.assertEqual((result, kernel.radeon_bytes_moved()), (refusal, before))


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
