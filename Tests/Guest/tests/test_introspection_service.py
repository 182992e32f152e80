"""The daemon with kernel introspection: what its answers are by it, and that it does without whenever it must."""
import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import broker
import gpus
import introspection
import kernel
import machine
from client import INTENT, IN_PLACE, NATIVE, PROPERTIES, Client
from gpus import RADEON_GTT, RADEON_VRAM, TGPU_SYSTEM, TGPU_VRAM

UNIT = "primed.service"
LOADER = "primed-introspect@.service"
SOURCES = ["declared", "driver-record", "introspection", "safe-import", "passive"]
WITHOUT = [source for source in SOURCES if source != "introspection"]


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    gpus.tgpu_parameter("mode", "ignored")
    broker.unpack()


class Case(unittest.TestCase):
    tried_by = None

    def setUp(self):
        broker.command("systemctl", "start", broker.INTROSPECTION)
        self.start()

    def start(self):
        broker.restart()
        self.broker = Client()
        self.addCleanup(self.broker.close)

    def sources(self):
        return self.broker.get("Evidence")

    def believed(self, *makers):
        """Waits until the service tells the memory of buffers such as these: it has checked their drivers."""
        broker.calibrated(self.broker, "tgpu", *([] if makers else ["radeon"]))
        for make in makers or (lambda: gpus.tgpu(TGPU_VRAM), lambda: gpus.radeon(RADEON_VRAM)):
            with make() as buffer, self.broker.signals("PlacementsInvalidated") as changes:
                changes.until(lambda: self.place(buffer).details["home-memory"] != "unknown")

    def place(self, buffer, **hints):
        """Asks, and has the kernel say that nothing moved and nothing is attached."""
        self.have_the_flag_tried()
        moved = kernel.moves()[1]
        answer = self.broker.explain(buffer, fresh=True, **hints)
        self.assertEqual(kernel.moves()[1], moved)
        return answer

    def have_the_flag_tried(self):
        """With a buffer of its own that may move, once by each daemon, before its first answer."""
        if Case.tried_by != broker.pid():
            with gpus.plain() as plain:
                self.broker.place(plain)
            Case.tried_by = broker.pid()

    def put_tgpus_to_sleep(self):
        """Until the test ends, or their power/control is on again."""
        for gpu in gpus.gpus("tgpu"):
            self.addCleanup(gpu.attribute, "power/control", "on")
            gpu.attribute("power/autosuspend_delay_ms", 0)
            gpu.attribute("power/control", "auto")
            kernel.until(lambda: gpu.attribute("power/runtime_status") == "suspended", "it sleeps")

    def log(self):
        broker.command("journalctl", "--sync")
        return broker.command("journalctl", "-q", "-o", "cat", f"_PID={broker.pid()}")

    def drop_in(self, unit, text):
        directory = pathlib.Path("/run/systemd/system", f"{unit}.d")
        directory.mkdir(exist_ok=True)
        (directory / "test.conf").write_text(text)
        self.addCleanup(broker.command, "systemctl", "daemon-reload")
        self.addCleanup((directory / "test.conf").unlink, missing_ok=True)
        broker.command("systemctl", "daemon-reload")

    def wait_for(self, sources):
        with self.broker.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: self.sources() == sources)

    def wait_for_line(self, text):
        kernel.until(lambda: text in self.log(), f"the log says {text}", 60)


class Answers(Case):
    """On a kernel that ignores NO_MOVE. One daemon answers all: to start and to measure takes most of the time."""
    asked = None

    def start(self):
        if Answers.asked == broker.pid():
            self.broker = Client()
            self.addCleanup(self.broker.close)
            return
        super().start()
        self.wait_for(SOURCES)
        self.believed()
        Answers.asked = broker.pid()

    def setUp(self):
        super().setUp()
        self.primary = gpus.gpu("virtio_gpu", 1)

    def expect(self, buffer, device, access, home, memory, confidence):
        answer = self.place(buffer, primary_device=self.primary.number)
        context = buffer.name, answer.details
        self.assertEqual((answer.device, answer.access), (device.number, access), context)
        self.assertEqual(answer.details.get("home"), home and home.number, context)
        self.assertEqual(answer.details["home-memory"], memory, context)
        self.assertEqual(answer.confidence, confidence, context)
        self.assertIn("kernel introspection", " ".join(answer.details["evidence"]), context)
        return answer

    def test_dedicated_memory(self):
        for make in (lambda: gpus.tgpu(TGPU_VRAM, 0), lambda: gpus.tgpu(TGPU_VRAM, 1),
                     lambda: gpus.radeon(RADEON_VRAM)):
            with make() as buffer:
                before = kernel.moves()
                self.expect(buffer, buffer.exporter, NATIVE, buffer.exporter, "dedicated", INTENT)
                self.assertEqual(kernel.moved_since(before), (0, 0))

    def test_evicted(self):
        for index in (0, 1):
            with gpus.tgpu(TGPU_VRAM, index) as buffer:
                gpus.evict(buffer)
                answer = self.expect(buffer, buffer.exporter, NATIVE, buffer.exporter, "dedicated", INTENT)
                self.assertEqual(answer.details["residency"], "system")

    def test_radeon_evicted_under_pressure(self):
        with contextlib.ExitStack() as stack:
            buffer = stack.enter_context(gpus.radeon(RADEON_VRAM, 1 << 20))
            for _ in range(20):
                stack.enter_context(gpus.radeon(RADEON_VRAM, 1 << 20))
            before = kernel.moves()
            answer = self.expect(buffer, buffer.exporter, NATIVE, buffer.exporter, "dedicated", INTENT)
            self.assertEqual(answer.details["residency"], "system")
            self.assertEqual(kernel.moved_since(before), (0, 0))

    def test_system_memory_of_a_device_that_has_both(self):
        for make in (lambda: gpus.radeon(RADEON_GTT), lambda: gpus.tgpu(TGPU_SYSTEM, 1)):
            with make() as buffer:
                self.expect(buffer, buffer.exporter, NATIVE, buffer.exporter, "system", INTENT)

    def test_importers_are_counted(self):
        with gpus.dumb(gpus.gpu("vgem")) as buffer:
            self.assertEqual(self.place(buffer).details["attachments"], 0)
            node = gpus.gpu("vkms").open()
            try:
                gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
                self.assertEqual(self.place(buffer).details["attachments"], 1)
            finally:
                os.close(node)

    def test_a_peer_is_told(self):
        """An importer that uses the buffer in video memory, over the bus."""
        peer = gpus.gpu("tgpu", 1)
        peer.attribute("peers", 1 << 0)
        self.addCleanup(peer.attribute, "peers", 0)
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.assertFalse(self.has_peer(buffer))
            node = peer.open()
            self.addCleanup(os.close, node)
            gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
            self.assertTrue(self.has_peer(buffer))

    def has_peer(self, buffer):
        details = self.place(buffer).details
        self.assertEqual(details["residency"], "dedicated")
        return any("peer to peer" in line for line in details["evidence"])

    def test_of_no_device(self):
        for make in gpus.of_no_device():
            with make() as buffer:
                answer = self.place(buffer, primary_device=gpus.gpu("tgpu").number)
                self.assertEqual((answer.device, answer.access), (gpus.gpu("tgpu").number, IN_PLACE), answer.details)
                self.assertNotIn("home", answer.details)

    def test_system_only_drivers(self):
        """Known to be of vgem alone, the buffer may be tried everywhere: nothing can move it."""
        with gpus.dumb(gpus.gpu("vgem")) as buffer:
            answer = self.place(buffer, primary_device=gpus.gpu("tgpu").number)
            self.assertEqual((answer.device, answer.access), (gpus.gpu("tgpu").number, IN_PLACE), answer.details)
            self.assertEqual(answer.details["home"], gpus.gpu("vgem").number)

    def test_unplugged_exporter(self):
        gpus.tgpu_parameter("add", 9)
        subprocess.run(["udevadm", "settle"], check=True)
        index = next(i for i, gpu in enumerate(gpus.gpus("tgpu")) if gpu.sysfs.name == "tgpu.9")
        with gpus.tgpu(TGPU_VRAM, index) as buffer:
            gone = buffer.exporter.number
            gpus.tgpu_parameter("remove", 9)
            subprocess.run(["udevadm", "settle"], check=True)
            answer = self.place(buffer, primary_device=self.primary.number)
            self.assertNotEqual(answer.device, gone)
            self.assertNotIn("home", answer.details)
            # Another device takes its numbers: it has not exported the buffer.
            gpus.tgpu_parameter("add", 8)
            subprocess.run(["udevadm", "settle"], check=True)
            self.addCleanup(gpus.tgpu_parameter, "remove", 8)
            answer = self.place(buffer, primary_device=self.primary.number)
            self.assertNotIn("home", answer.details)

    def test_who_sleeps_is_believed_when_another_driver_comes(self):
        """Another program is loaded then, and buffers of a device that sleeps can't be made to try it with."""
        monitor = machine.Monitor()
        self.addCleanup(monitor.close)
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.put_tgpus_to_sleep()
            resumes, awake = kernel.tgpu_count("resumes"), gpus.gpu("radeon").number
            with self.broker.signals("PlacementsInvalidated") as changes:
                machine.plug_bochs(monitor, 1)
                self.addCleanup(machine.pull_bochs, monitor, 1)
                changes.wait(lambda _, devices: awake in devices)   # another program: of all devices
            self.expect(buffer, buffer.exporter, NATIVE, buffer.exporter, "dedicated", INTENT)
            self.assertEqual(kernel.tgpu_count("resumes"), resumes)

    def test_a_driver_that_is_loaded_later(self):
        """Without a layout of it, the exporter; with one, all."""
        # vkms needs none: what comes here is tgpu, unloaded for it.
        gpus.tgpu_parameter("remove", 0)
        gpus.tgpu_parameter("remove", 1)
        broker.command("udevadm", "settle")
        # primed's workers close what they have of them soon after they have gone.
        used = pathlib.Path("/sys/module/tgpu/refcnt")
        kernel.until(lambda: used.read_text().strip() == "0", "nobody uses the module", 20)
        broker.command("rmmod", "tgpu")
        super().start()
        self.wait_for(SOURCES)
        self.assertNotIn("tgpu", self.log())
        subprocess.run(["load-drivers", "tgpu"], check=True)
        gpus.tgpu_parameter("mode", "ignored")
        self.believed(lambda: gpus.tgpu(TGPU_VRAM))
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.expect(buffer, buffer.exporter, NATIVE, buffer.exporter, "dedicated", INTENT)


class Calibration(Case):
    """What imports do here, measured with buffers of primed's own."""

    def test_rows_are_what_the_kernel_counts(self):
        """And clients' buffers stay where they are, with nothing attached."""
        broker.command("systemctl", "stop", "primed.service")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(make()) for make in (
                lambda: gpus.tgpu(TGPU_VRAM), lambda: gpus.tgpu(TGPU_VRAM, 1), lambda: gpus.radeon(RADEON_VRAM))]
            before = [kernel.tgpu_info(buffer) for buffer in clients[:2]]
            moves = kernel.tgpu_moves()
            self.start()
            pairs = broker.calibrated(self.broker, "tgpu", "radeon")
            rows = broker.measured(self.broker)
            self.assertEqual(rows.keys(), pairs)
            moved = [pair for pair, (attach, _) in rows.items() if attach == "moves"]
            self.assertEqual(kernel.tgpu_moves() - moves, len([pair for pair in moved if pair[0] == "tgpu"]))
            self.assertEqual([kernel.tgpu_info(buffer) for buffer in clients[:2]], before)
            attached = kernel.attachments()
            self.assertEqual([attached[buffer.inode] for buffer in clients], [0, 0, 0])
            kernel.wait_for_closes(broker.pid())
            for pair in pairs:
                self.assertEqual(rows[pair], self.by_hand(*pair), pair)

    def by_hand(self, exporter, importer):
        """The row as an import by the test tells it, by the kernel's counters."""
        with (gpus.tgpu(TGPU_VRAM) if exporter == "tgpu" else gpus.radeon(RADEON_VRAM)) as buffer:
            counter = {"tgpu": kernel.tgpu_moves, "radeon": kernel.radeon_bytes_moved}[exporter]
            node = next(gpu for gpu in gpus.gpus(importer) if gpu.render).open()
            before = counter()
            try:
                gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
                is_refused = False
            except OSError:
                is_refused = True
            finally:
                has_moved = counter() > before
                os.close(node)
        if has_moved:
            return "moves", "fails" if is_refused else "unknown"
        return "fails" if is_refused else "nothing", "unknown"

    def test_measured_rows_agree_with_the_table(self):
        broker.calibrated(self.broker, "tgpu", "radeon")
        rows = self.broker.get("Pairs")
        table = [row for row in rows if row[6] == "table" and kernel.is_in(row[5])]
        compared = set()
        for (exporter, importer), (attach, _) in broker.measured(self.broker).items():
            held = [row for row in table if row[0] in (exporter, f"{exporter}:dedicated")
                    and row[1] in ("*", "others", importer)]
            if held:   # nothing is told of tgpu
                self.assertEqual(attach, held[0][2], (exporter, importer, held[0]))
                compared.add(importer)
        self.assertEqual(compared, {gpu.driver for gpu in gpus.gpus() if gpu.render} - {"radeon"})

    def test_radeon_moves_to_vgem(self):
        broker.calibrated(self.broker, "radeon")
        self.assertEqual(broker.measured(self.broker)["radeon", "vgem"], ("moves", "unknown"))
        shown = broker.command("primectl", "pairs", "--running")
        release = re.escape(os.uname().release)
        self.assertRegex(shown, rf"radeon:dedicated +vgem +moves .* measured +measured on {release}, radeon")

    def test_who_sleeps_is_not_woken(self):
        broker.command("systemctl", "stop", "primed.service")
        self.put_tgpus_to_sleep()
        resumes, moves = kernel.tgpu_count("resumes"), kernel.tgpu_moves()
        self.start()
        awake = {gpu.driver for gpu in gpus.gpus() if gpu.render} - {"tgpu", "radeon"}
        with self.broker.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: {("radeon", importer) for importer in awake} <= broker.measured(self.broker).keys())
        self.assertEqual([pair for pair in broker.measured(self.broker) if "tgpu" in pair], [])
        self.assertEqual((kernel.tgpu_count("resumes"), kernel.tgpu_moves()), (resumes, moves))
        # Its time comes when it is seen awake.
        for gpu in gpus.gpus("tgpu"):
            gpu.attribute("power/control", "on")
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.place(buffer)
        broker.calibrated(self.broker, "tgpu", "radeon")

    def test_own_rows_are_shown_apart(self):
        own = pathlib.Path("/etc/primed/pairs")
        own.parent.mkdir(exist_ok=True)
        own.write_text("radeon vgem nothing nothing hangs  # mine\n")
        self.addCleanup(own.unlink)
        self.start()
        with self.broker.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: ("radeon", "virtio_gpu") in broker.measured(self.broker))
        broker.calibrated(self.broker, "tgpu")
        rows = self.broker.get("Pairs")
        self.assertEqual(rows[0][:3] + rows[0][4:7], ("radeon", "vgem", "nothing", "hangs", "", "own"))
        self.assertNotIn(("radeon", "vgem"), broker.measured(self.broker), "who is said to hang is not tried")


class Lacking(Case):
    """Whatever is wrong with it, the rest works and the log says it in one line."""

    def check_without(self, line):
        self.wait_for_line("introspection is off")
        lines = [text for text in self.log().splitlines() if "introspection is" in text]
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], line)
        self.assertEqual(self.sources(), WITHOUT)
        # Known to be of system memory by their exporters' names.
        for make in (lambda: gpus.dumb(gpus.gpu("virtio_gpu")), *gpus.of_no_device()):
            with make() as buffer:
                self.assertEqual(self.place(buffer, primary_device=gpus.gpu("tgpu").number).access, IN_PLACE)
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.assertEqual(self.place(buffer).details["home-memory"], "unknown")
        rows = self.broker.get("Pairs")
        self.assertEqual({row[6] for row in rows}, {"table"}, "nobody to witness, nothing measured")


class Without(Lacking):
    def test_not_there(self):
        broker.command("systemctl", "stop", broker.INTROSPECTION)
        broker.command("systemctl", "mask", "--runtime", broker.INTROSPECTION)
        self.addCleanup(broker.command, "systemctl", "unmask", "--runtime", broker.INTROSPECTION)
        self.start()
        self.check_without("No such file or directory")

    def test_one_capability_missing(self):
        for held, missing in (("CAP_BPF", "CAP_PERFMON"), ("CAP_PERFMON", "CAP_BPF")):
            with self.subTest(missing=missing):
                self.drop_in(LOADER, f"[Service]\nAmbientCapabilities=\nAmbientCapabilities={held}\n"
                                     f"CapabilityBoundingSet=\nCapabilityBoundingSet={held}\n")
                self.start()
                self.check_without(f"without {missing}")

    def test_killed(self):
        self.drop_in(LOADER, "[Service]\nExecStart=\nExecStart=/bin/sh -c 'kill -KILL $$$$'\n")
        self.start()
        self.check_without("without a word")

    def test_not_to_be_run(self):
        """The daemon's own sandbox without bpf(2)."""
        self.drop_in(UNIT, "[Service]\nSystemCallFilter=~bpf\n")
        self.start()
        # It is run first at a buffer of no device, where this kernel can make one.
        self.check_without("can't be run: Operation not permitted" if gpus.of_no_device() else "no udmabuf to try it")

    def test_a_layout_that_lies(self):
        """Switched on, and off again once a buffer of primed's own is told wrongly."""
        data = pathlib.Path("/sys/kernel/btf/tgpu").read_bytes()
        # The daemon's sandbox sees no /tmp of others: /run is everyone's.
        with tempfile.TemporaryDirectory(dir="/run") as directory:
            os.chmod(directory, 0o755)
            introspection.types(directory, tgpu=introspection.moved_member(data, "tgpu_bo", "preferred", 64))
            self.drop_in(LOADER, f"[Service]\nExecStart=\nExecStart={introspection.LOADER} --btf {directory}\n")
            self.start()
            self.wait_for_line("introspection is off, since it is wrong about primed's own buffer on /dev/dri/render")
            self.assertEqual(self.sources(), WITHOUT)
            self.assertEqual({row[6] for row in self.broker.get("Pairs")}, {"table"})
            with gpus.tgpu(TGPU_VRAM) as buffer:
                self.assertEqual(self.place(buffer).details["home-memory"], "unknown")
        # For good, whatever comes.
        gpus.tgpu_parameter("add", 9)
        self.addCleanup(gpus.tgpu_parameter, "remove", 9)
        subprocess.run(["udevadm", "settle"], check=True)
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.place(buffer)
        self.assertEqual(self.sources(), WITHOUT)


class Unrecognised(Case):
    def test_a_drivers_buffers(self):
        """DRM core's types as of another kernel: no evidence of any driver, which is no lie."""
        data = pathlib.Path("/sys/kernel/btf/drm").read_bytes()
        with tempfile.TemporaryDirectory(dir="/run") as directory:
            os.chmod(directory, 0o755)
            introspection.types(directory, drm=introspection.moved_member(data, "drm_gem_object", "resv", 64))
            self.drop_in(LOADER, f"[Service]\nExecStart=\nExecStart={introspection.LOADER} --btf {directory}\n")
            self.start()
            for driver in ("radeon", "tgpu"):
                self.wait_for_line(f"introspection doesn't recognise buffers of {driver} and tells nothing of them")
            self.assertNotIn("lies", self.log())
            # It waits for a truth where there is no buffer of no device to tell one of.
            self.assertEqual(self.sources(), SOURCES if gpus.of_no_device() else WITHOUT)
            with gpus.tgpu(TGPU_VRAM) as buffer:
                self.assertEqual(self.place(buffer).details["home-memory"], "unknown")

    def test_a_release_function_of_the_drivers_own(self):
        """As xe's on Linux 7: primed's own buffers on it are recognised, and so are its clients'."""
        gpus.tgpu_parameter("own_release", "Y")
        self.addCleanup(gpus.tgpu_parameter, "own_release", "N")
        self.start()
        self.wait_for(SOURCES)
        self.believed()
        with gpus.tgpu(TGPU_VRAM) as buffer:
            answer = self.place(buffer, primary_device=gpus.gpu("virtio_gpu").number)
            self.assertEqual((answer.device, answer.access, answer.confidence),
                             (buffer.exporter.number, NATIVE, INTENT), answer.details)
        self.assertNotIn("recognise", self.log())


class Sandbox(unittest.TestCase):
    EXPOSURE = 13   # tenths, of both units

    def test_exposure(self):
        for unit in (UNIT, "primed-introspect@x.service"):
            broker.command("systemd-analyze", "security", "--no-pager", f"--threshold={self.EXPOSURE}", unit)

    def test_nobody_stays_behind(self):
        """The loader has ended, and only the program is left."""
        broker.restart()
        client = Client()
        with client.signals("PropertiesChanged", PROPERTIES) as changes:
            changes.until(lambda: "introspection" in client.get("Evidence"))
        kernel.until(lambda: subprocess.run(["pgrep", "-x", "primed-introspe"]).returncode == 1, "it ended")
        self.assertIn("anon_inode:bpf-prog", kernel.descriptors(broker.pid()))
        self.assertEqual([name for name in kernel.descriptors(broker.pid()) if "bpf-map" in name], [])


class WithoutInLockdown(Lacking):
    """Last of all by its name: a lockdown ends with the machine."""

    def test_lockdown(self):
        """Integrity lets it be; confidentiality refuses to load, and what was loaded goes on."""
        self.wait_for(SOURCES)
        self.lock_down("integrity")
        self.start()
        self.wait_for(SOURCES)
        self.believed()
        self.lock_down("confidentiality")
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.assertEqual(self.place(buffer).details["home-memory"], "dedicated")
        self.start()
        self.check_without(r"locked down \(confidentiality\)")

    @staticmethod
    def lock_down(level):
        pathlib.Path("/sys/kernel/security/lockdown").write_text(level)
