"""primed and the compositors: it never takes a card that is theirs, and opens only what it must."""
import ctypes
import os
import pathlib
import random
import struct
import subprocess
import threading
import unittest

import askers
import broker
import gpus
import kernel
import procs

# What can go wrong is one race: primed has the card open, and is its master, between its open and its
# DROP_MASTER. So clients make primed open that very card without a pause, dozens of times a start.
PACE = "real"
STARTS = 50


def setUpModule():
    broker.install()
    subprocess.run(["load-drivers", "tgpu", "vkms", "virtio-gpu"], check=True)
    broker.start()
    pathlib.Path("/run/user/0").mkdir(mode=0o700, parents=True, exist_ok=True)


class Opens:
    """Names of the nodes in /dev/dri that are opened, by anyone."""

    IN_OPEN, IN_CLOSE = 0x20, 0x18

    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        # The kernel makes one event of several that are alike: closes keep the opens apart.
        if libc.inotify_add_watch(self.fd, b"/dev/dri", self.IN_OPEN | self.IN_CLOSE) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def names(self):
        data = b""
        while True:
            try:
                data += os.read(self.fd, 65536)
            except BlockingIOError:
                break
        found = []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            if mask & self.IN_OPEN:
                found.append(data[16:16 + length].rstrip(b"\0").decode())
            data = data[16 + length:]
        return found

    def close(self):
        os.close(self.fd)


class Polite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = broker.Broker()

    def setUp(self):
        self.vkms = gpus.gpu("vkms")

    def test_card_nodes_only_where_there_is_no_render_node(self):
        broker.restart()
        opens = Opens()
        self.addCleanup(opens.close)
        with gpus.udmabuf() as buffer:
            for _ in range(20):
                self.broker.place(buffer, fresh=True)
        names = set(opens.names())
        self.assertIn(os.path.basename(self.vkms.card), names)
        self.assertIn(os.path.basename(gpus.gpu("tgpu").render), names)
        with_render = {os.path.basename(gpu.card) for gpu in gpus.gpus() if gpu.render}
        self.assertEqual(names & with_render, set())
        self.assertNotIn(self.vkms.card, procs.drm_nodes(broker.pid()))

    def test_weston_gets_its_card(self):
        opens = Opens()
        self.addCleanup(opens.close)
        name, opened = os.path.basename(self.vkms.card), 0
        with askers.Askers(2, "udmabuf", fresh=True) as crowd:
            for i in range(STARTS):
                # The moment is random by itself, and by a random number of opens that go before.
                kernel.until(lambda: opens.names().count(name) > 0, "primed opens the card")
                for _ in range(random.randrange(2000)):
                    os.sched_yield()
                with self.subTest(start=i):
                    self.start_weston(i)
                opened += opens.names().count(name)
        crowd.check(self)
        print(f"      {STARTS} starts of weston during {opened} opens of its card")
        self.assertGreater(opened, STARTS * 20)

    def start_weston(self, i):
        words = ["weston", "--backend=drm-backend.so", "--use-pixman", f"--drm-device={os.path.basename(self.vkms.card)}",
                 "--continue-without-input", "--tty=2", f"--socket=wl-{i}", "--idle-time=0"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env=dict(os.environ, XDG_RUNTIME_DIR="/run/user/0"))
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if "Output 'Virtual" in line and "enabled" in line:
                    return
            self.fail("weston did not get its card:\n" + "".join(lines))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_a_node_that_cannot_be_opened_is_no_crash(self):
        pid, mode = broker.pid(), os.stat(self.vkms.card).st_mode
        number = self.vkms.number
        hidden = pathlib.Path(self.vkms.card + ".hidden")

        def forbid(): os.chmod(self.vkms.card, 0)
        def permit(): os.chmod(self.vkms.card, mode & 0o777)
        def hide(): os.rename(self.vkms.card, hidden)
        def show(): os.rename(hidden, self.vkms.card)

        for spoil, mend in ((forbid, permit), (hide, show)):
            broker.restart()
            pid = broker.pid()
            spoil()
            try:
                with gpus.udmabuf() as buffer:
                    answer = self.broker.explain(buffer)
                    lines = {line[0]: line[1] for line in answer.details["devices"]}
                    self.assertEqual(lines[number], broker.UNKNOWN)
                    self.assertEqual(lines[gpus.gpu("tgpu").number], broker.IN_PLACE)
            finally:
                mend()
            with gpus.udmabuf() as buffer:
                answer = self.broker.explain(buffer)
                self.assertEqual({line[0]: line[1] for line in answer.details["devices"]}[number], broker.IN_PLACE)
            self.assertEqual(broker.pid(), pid)
