"""What the BPF program says of buffers of every exporter in the guest: right device and memory, nothing moved,
attached or held by 10,000 looks; and nothing wrong under churn, with layouts that lie, or without privileges.
"""
import contextlib
import ctypes
import errno
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import broker
import gpus
import introspection
import kernel
from gpus import RADEON_GTT, RADEON_VRAM, TGPU_SYSTEM, TGPU_VRAM
from introspection import (CHANGED, DEDICATED, DEVICE, INCONSISTENT, NO_DEVICE, NO_FD, NONE, SYSTEM, UNKNOWN,
                           UNKNOWN_MEMORY)

PACE = "free"   # no answer here depends on time
LOOKS = 10_000
PROGRAM = None


def setUpModule():
    global PROGRAM
    PROGRAM = introspection.set_up()


def exporters():
    """(maker, residency, preferred) of a buffer of every exporter that there is."""
    nothing = UNKNOWN_MEMORY, UNKNOWN_MEMORY   # of this driver nothing is read but the device
    return [(lambda: gpus.radeon(RADEON_VRAM), DEDICATED, DEDICATED),
            (lambda: gpus.radeon(RADEON_GTT), SYSTEM, SYSTEM),
            (lambda: gpus.tgpu(TGPU_VRAM, 0), DEDICATED, DEDICATED),
            (lambda: gpus.tgpu(TGPU_VRAM, 1), DEDICATED, DEDICATED),
            (lambda: gpus.tgpu(TGPU_SYSTEM, 0), SYSTEM, SYSTEM),
            (lambda: gpus.tgpu(TGPU_SYSTEM, 1), SYSTEM, SYSTEM),
            *((lambda name=name, index=index: gpus.dumb(gpus.gpu(name, index)), *nothing)
              for name, index in (("vgem", 0), ("vkms", 0), ("cirrus", 0), ("qxl", 0), ("virtio_gpu", 0),
                                    ("virtio_gpu", 1))),
            *((make, SYSTEM, SYSTEM) for make in gpus.of_no_device())]


class Case(unittest.TestCase):
    def assertSeen(self, look, buffer, residency, preferred, attached=0, registered=1, peers=0):
        self.assertEqual(look.status, DEVICE if buffer.exporter else NO_DEVICE, (buffer.name, look))
        card, render = introspection.node(look.card), introspection.node(look.render)
        gpu = buffer.exporter
        if gpu:
            self.assertEqual(card, gpu.card_number, buffer.name)
            self.assertEqual(render, gpu.number if gpu.render else None, buffer.name)
        else:
            self.assertEqual((card, render), (None, None), buffer.name)
        self.assertEqual((look.residency, look.preferred, look.attached, look.peers, look.registered),
                         (residency, preferred, attached, peers, registered), (buffer.name, look))


class Truth(Case):
    def test_what_there_is_to_look_at(self):
        self.assertEqual(len(gpus.of_no_device()), 0 if os.uname().release.startswith("6.1.") else 2)

    def test_layouts_of_the_drivers_that_are_loaded(self):
        self.assertEqual(sorted(PROGRAM.drivers), ["radeon", "tgpu"])

    def test_every_exporter(self):
        for make, residency, preferred in exporters():
            with make() as buffer, self.subTest(buffer=buffer.name):
                self.assertSeen(PROGRAM.look_at(buffer), buffer, residency, preferred)

    def test_a_driver_with_a_release_function_of_its_own(self):
        """As xe and msm have on Linux 7: what a GEM object is doesn't depend on who releases it."""
        gpus.tgpu_parameter("own_release", "Y")
        self.addCleanup(gpus.tgpu_parameter, "own_release", "N")
        for preferred, memory in ((TGPU_VRAM, DEDICATED), (TGPU_SYSTEM, SYSTEM)):
            with gpus.tgpu(preferred) as buffer:
                self.assertSeen(PROGRAM.look_at(buffer), buffer, memory, memory)

    def test_after_the_exporters_last_handle(self):
        """It then no longer points to the DMA-BUF (drm_gem_object_exported_dma_buf_free())."""
        for make, residency, preferred in exporters():
            with make() as buffer, self.subTest(buffer=buffer.name):
                if buffer.exporter:
                    gpus.close_handle(buffer)
                    self.assertSeen(PROGRAM.look_at(buffer), buffer, residency, preferred)

    def test_evicted_and_back(self):
        for index in (0, 1):
            with gpus.tgpu(TGPU_VRAM, index) as buffer:
                gpus.evict(buffer)
                self.assertSeen(PROGRAM.look_at(buffer), buffer, SYSTEM, DEDICATED)
                gpus.restore(buffer)
                self.assertSeen(PROGRAM.look_at(buffer), buffer, DEDICATED, DEDICATED)

    def test_radeon_evicted_under_pressure(self):
        with evicted_radeon() as buffer:
            self.assertSeen(PROGRAM.look_at(buffer), buffer, SYSTEM, DEDICATED)

    def test_moved_by_an_import(self):
        """The witness of the other tests: what an import does is seen."""
        for make in (lambda: gpus.radeon(RADEON_VRAM), lambda: gpus.tgpu(TGPU_VRAM)):
            with make() as buffer, imported(buffer, "vgem"):
                self.assertSeen(PROGRAM.look_at(buffer), buffer, SYSTEM, DEDICATED, attached=1)

    def test_attachments_are_counted(self):
        with gpus.plain() as buffer, contextlib.ExitStack() as stack:
            for count, name in enumerate(("vkms", "cirrus", "tgpu", "radeon"), 1):
                stack.enter_context(imported(buffer, name))
                self.assertEqual(PROGRAM.look_at(buffer).attached, count)

    def test_who_reaches_it_peer_to_peer(self):
        """An attachment that can use VRAM in place, one that can't, and both."""
        a, b = gpus.gpus("tgpu")
        b.attribute("peers", 1 << 0)
        self.addCleanup(b.attribute, "peers", 0)
        with gpus.tgpu(TGPU_VRAM) as buffer:
            with imported(buffer, "tgpu", 1):
                self.assertSeen(PROGRAM.look_at(buffer), buffer, DEDICATED, DEDICATED, attached=1, peers=1)
                with imported(buffer, "vgem"):
                    self.assertSeen(PROGRAM.look_at(buffer), buffer, SYSTEM, DEDICATED, attached=2, peers=1)
            self.assertSeen(PROGRAM.look_at(buffer), buffer, SYSTEM, DEDICATED)

    def test_unplugged_exporter(self):
        gpus.tgpu_parameter("add", 9)
        subprocess.run(["udevadm", "settle"], check=True)
        index = next(i for i, gpu in enumerate(gpus.gpus("tgpu")) if gpu.sysfs.name == "tgpu.9")
        with gpus.tgpu(TGPU_VRAM, index) as buffer:
            numbers = buffer.exporter.card_number, buffer.exporter.number
            gpus.tgpu_parameter("remove", 9)
            look = PROGRAM.look_at(buffer)
            self.assertEqual((look.status, look.registered), (DEVICE, 0))
            self.assertEqual((introspection.node(look.card), introspection.node(look.render)), numbers)

    def test_what_is_no_dma_buf(self):
        reading, writing = os.pipe()
        memory = os.memfd_create("memory")
        node = gpus.gpu("tgpu").open()
        path = os.open("/etc/passwd", os.O_PATH)
        for fd in (reading, writing, memory, node, path):
            with self.subTest(fd=os.readlink(f"/proc/self/fd/{fd}")):
                self.assertEqual(PROGRAM.look(fd, os.fstat(fd).st_ino).status, NONE)
            os.close(fd)
        for fd in (reading, -1, 1 << 20, 2**31 - 1, -2**31):
            with self.subTest(fd=fd):
                self.assertEqual(PROGRAM.look(fd, 0).status, NO_FD)

    def test_another_inode_than_was_asked_about(self):
        with gpus.tgpu(TGPU_VRAM) as buffer, gpus.plain() as other:
            self.assertEqual(PROGRAM.look(buffer.fd, other.inode), (CHANGED, *[0] * 7))


@contextlib.contextmanager
def imported(buffer, driver, index=0):
    node = gpus.gpu(driver, index).open()
    gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, 0, buffer.fd)
    try:
        yield
    finally:
        os.close(node)


@contextlib.contextmanager
def evicted_radeon():
    """A buffer made for radeon's 16 MiB of VRAM that others have pushed out of it."""
    with contextlib.ExitStack() as stack:
        buffer = stack.enter_context(gpus.radeon(RADEON_VRAM, 1 << 20))
        for _ in range(40):
            stack.enter_context(gpus.radeon(RADEON_VRAM, 1 << 20))
            if PROGRAM.look_at(buffer).residency == SYSTEM:
                break
        yield buffer


class NothingHappens(Case):
    def test_ten_thousand_looks(self):
        """What a buffer's own counters, all others' of the kernel, and bufinfo say is the same after it."""
        with contextlib.ExitStack() as stack:
            buffers = [(stack.enter_context(make()), *rest) for make, *rest in exporters()]
            stack.enter_context(imported(buffers[-1][0], "vkms"))
            gpus.evict(buffers[3][0])
            before, bufinfo = self.witnesses(), self.bufinfo()
            each = LOOKS // len(buffers) + 1
            with kernel.attaching() as attached:
                for buffer, *_ in buffers:
                    first = PROGRAM.look_at(buffer)
                    for _ in range(each):
                        self.assertEqual(PROGRAM.look_at(buffer), first)
                self.assertEqual(attached(), [])
            self.assertEqual(self.bufinfo(), bufinfo)
            self.assertEqual(self.witnesses(), before)

    @staticmethod
    def bufinfo():
        """Of every buffer: size, flags, references of its file, exporter, inode, fences and attachments."""
        return pathlib.Path("/sys/kernel/debug/dma_buf/bufinfo").read_bytes()

    @staticmethod
    def witnesses():
        counters = [kernel.tgpu_count(name) for name in ("opens", "attempts", "imports", "moves", "resumes")]
        return kernel.moves(), counters

    def test_a_sleeping_device_sleeps_on(self):
        gpu = gpus.gpu("tgpu")
        with gpus.tgpu(TGPU_VRAM) as buffer:
            os.close(buffer.node)
            buffer.node = None
            gpu.attribute("power/control", "auto")
            self.addCleanup(gpu.attribute, "power/control", "on")
            kernel.until(lambda: gpu.attribute("power/runtime_status") == "suspended", "it sleeps")
            resumes = kernel.tgpu_count("resumes")
            for _ in range(100):
                self.assertSeen(PROGRAM.look_at(buffer), buffer, DEDICATED, DEDICATED)
            self.assertEqual(gpu.attribute("power/runtime_status"), "suspended")
            self.assertEqual(kernel.tgpu_count("resumes"), resumes)


class ByTheCompilerAtHand(Truth, NothingHappens):
    """The program that the committed source gives by whatever clang builds primed, prepare_introspection."""

    @classmethod
    def setUpClass(cls):
        global PROGRAM
        committed, PROGRAM = PROGRAM, introspection.load("--program", "/parcel/bin/dmabuf.bpf.o")
        cls.addClassCleanup(cls.go_back, committed)

    @staticmethod
    def go_back(committed):
        global PROGRAM
        PROGRAM.close()
        PROGRAM = committed


class Privileges(Case):
    """Who may load, who may run, and what can be changed by whom."""

    BPF, PERFMON, SYS_ADMIN = "+bpf", "+perfmon", "+sys_admin"

    @staticmethod
    def with_capabilities(*capabilities):
        caps = ",".join(("-all", *capabilities))
        return ["setpriv", "--reuid=nobody", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}",
                f"--bounding-set={caps}"]

    def test_loading_takes_both(self):
        with introspection.load(run=self.with_capabilities(self.BPF, self.PERFMON)) as program, \
                gpus.tgpu(TGPU_VRAM) as buffer:
            self.assertSeen(program.look_at(buffer), buffer, DEDICATED, DEDICATED)
        for capabilities, without in (((self.BPF,), "CAP_PERFMON"), ((self.PERFMON,), "CAP_BPF"),
                                      ((), "CAP_PERFMON and CAP_BPF")):
            with self.subTest(without=without), self.assertRaisesRegex(introspection.Refused, f"without {without}"):
                introspection.load(run=self.with_capabilities(*capabilities))

    def test_root_of_a_user_namespace_is_not_enough(self):
        with self.assertRaises(introspection.Refused):
            introspection.load(run=["unshare", "--user", "--map-root-user", "--keep-caps"])

    def unprivileged(self, function):
        """Runs it in a child without capabilities, as nobody; returns what it returned, a number up to 200."""
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            try:
                os._exit(function())
            except OSError as error:
                os._exit(200 - error.errno)
            finally:
                os._exit(199)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def test_running_takes_none(self):
        with gpus.tgpu(TGPU_VRAM) as buffer:
            inode = buffer.inode
            self.assertEqual(self.unprivileged(lambda: PROGRAM.look(buffer.fd, inode).status), DEVICE)

    GET_MAP_BY_ID, GET_INFO, UPDATE, LOOKUP, DELETE, FREEZE = 14, 15, 2, 1, 3, 22

    def maps(self):
        """{name: id} of the program's maps, as its descriptor tells."""
        ids = ctypes.create_string_buffer(4 * 16)
        info = bytearray(256)
        struct.pack_into("IQ", info, 52 - 4 + 4, 0, 0)
        # struct bpf_prog_info: nr_map_ids at 52, map_ids at 56
        struct.pack_into("I", info, 52, 16)
        struct.pack_into("Q", info, 56, ctypes.addressof(ids))
        buffer = (ctypes.c_char * len(info)).from_buffer(info)
        introspection.bpf(self.GET_INFO, struct.pack("IIQ", PROGRAM.fd, len(info), ctypes.addressof(buffer)))
        count = struct.unpack_from("I", info, 52)[0]
        return struct.unpack_from(f"{count}I", ids.raw)

    def open_map(self, identity):
        return introspection.bpf(self.GET_MAP_BY_ID, struct.pack("III", identity, 0, 0))[0]

    def test_layouts_are_out_of_the_daemons_reach(self):
        """Its user, with the program's descriptor: which maps there are it can learn, but open none."""
        identities = self.maps()
        self.assertEqual(len(identities), 3)
        for identity in identities:
            self.assertEqual(self.unprivileged(lambda: self.open_map(identity)), 200 - errno.EPERM)

    def test_layouts_cant_be_changed_by_root_either(self):
        key, value = ctypes.create_string_buffer(b"tgpu", 64), ctypes.create_string_buffer(512)
        for identity in self.maps():
            descriptor = self.open_map(identity)
            arguments = struct.pack("IIQQQ", descriptor, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
            for command in (self.UPDATE, self.DELETE):
                with self.subTest(map=identity, command=command), self.assertRaises(OSError) as refused:
                    introspection.bpf(command, arguments if command == self.UPDATE else arguments[:16])
                self.assertEqual(refused.exception.errno, errno.EPERM)
            os.close(descriptor)

    def test_only_primed_may_ask(self):
        status = os.stat(introspection.SOCKET)
        user = int(broker.command("id", "-u", "primed"))
        self.assertEqual((status.st_uid, status.st_mode & 0o777), (user, 0o600))
        script = f"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('{introspection.SOCKET}')"
        done = subprocess.run(["runuser", "-u", "nobody", "--", "python3", "-c", script], stderr=subprocess.PIPE,
                              text=True)
        self.assertIn("PermissionError", done.stderr)


class WrongLayouts(Case):
    """Type data that lies: never another device, never an oops (which would end this machine), and of the
    memory nothing that can't be.
    """

    def mutations(self, name, members):
        """Copies of a module's type data, each with one member elsewhere."""
        data = pathlib.Path("/sys/kernel/btf", name).read_bytes()
        for structure, member in members:
            for offset in (-64, 64, 1 << 20):
                changed = introspection.moved_member(data, structure, member, offset)
                self.assertNotEqual(changed, data, (structure, member))
                yield (structure, member, offset), changed

    def check(self, module, members, buffers):
        for what, changed in self.mutations(module, members):
            with self.subTest(wrong=what), tempfile.TemporaryDirectory() as directory:
                introspection.types(directory, **{module: changed})
                try:
                    program = introspection.load("--btf", directory)
                except introspection.Refused:
                    continue
                with program:
                    for buffer in buffers:
                        self.check_look(program.look_at(buffer), buffer)

    def check_look(self, look, buffer):
        self.assertIn(look.status, (DEVICE, UNKNOWN, INCONSISTENT, CHANGED), (buffer.name, look))
        if look.status == DEVICE:
            nodes = introspection.node(look.card), introspection.node(look.render)
            self.assertLessEqual(set(nodes) - {None}, {buffer.exporter.card_number, buffer.exporter.number},
                                 (buffer.name, look))

    def test_drm_cores(self):
        with gpus.radeon(RADEON_VRAM) as one, gpus.tgpu(TGPU_VRAM) as other:
            self.check("drm", [("drm_gem_object", "dev"), ("drm_gem_object", "resv"), ("drm_gem_object", "size"),
                               ("drm_device", "primary"), ("drm_device", "render"), ("drm_minor", "kdev"),
                               ("drm_minor", "dev")], [one, other])

    def test_a_drivers(self):
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.check("tgpu", [("tgpu_bo", "base"), ("tgpu_bo", "placement"), ("tgpu_bo", "preferred")], [buffer])

    def test_ttms(self):
        with gpus.radeon(RADEON_VRAM) as buffer:
            self.check("radeon", [("ttm_buffer_object", "resource"), ("radeon_bo", "tbo"),
                                  ("radeon_bo", "initial_domain")], [buffer])


class Missing(Case):
    """Without the kernel's type data, or some of it."""

    def load(self, **changed):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        introspection.types(directory.name, **changed)
        program = introspection.load("--btf", directory.name)
        self.addCleanup(program.close)
        return program

    def test_a_driver_without_it_names_its_device(self):
        program = self.load(tgpu=None)
        self.assertEqual(program.drivers, ["radeon"])
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.assertSeen(program.look_at(buffer), buffer, UNKNOWN_MEMORY, UNKNOWN_MEMORY)

    def test_a_driver_with_garbage_names_its_device(self):
        program = self.load(tgpu=b"\x9f\xeb\x01" + bytes(500))
        self.assertEqual(program.drivers, ["radeon"])

    def test_another_build_of_the_driver_names_its_device(self):
        """Its layouts were read of a module of this name that is no longer the one that is loaded."""
        data = pathlib.Path("/sys/kernel/btf/tgpu").read_bytes()
        program = self.load(tgpu=data + bytes(4))
        self.assertIn("tgpu", program.drivers)
        with gpus.tgpu(TGPU_VRAM) as buffer:
            self.assertSeen(program.look_at(buffer), buffer, UNKNOWN_MEMORY, UNKNOWN_MEMORY)

    def test_no_drm(self):
        with self.assertRaisesRegex(introspection.Refused, "DRM is not loaded"):
            self.load(drm=None)

    def test_no_kernel(self):
        for kernels in (None, b"", b"\x9f\xeb\x01\x00"):
            with self.subTest(kernels=kernels), self.assertRaisesRegex(introspection.Refused, "no layouts"):
                self.load(vmlinux=kernels)
