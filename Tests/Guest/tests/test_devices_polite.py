"""primed and the compositors: it never takes a card that is theirs, and opens only what it must."""
import ctypes
import os
import pathlib
import random
import re
import struct
import subprocess
import unittest

import askers
import broker
import gpus
import kernel
import procs
from client import IN_PLACE, Client

# Weston may start at any moment of primed's.
PACE = "real"
MOST_SECONDS = 900   # of the host's time, which a busy one may take
STARTS = 50


def setUpModule():
    broker.unpack_without_introspection()
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


class Trace:
    """A process's opens and ioctls, as the kernel traces them."""

    TRACING = pathlib.Path("/sys/kernel/tracing")
    EVENTS = ("sys_enter_openat", "sys_enter_ioctl", "sys_exit_ioctl")
    LINE = re.compile(r"-(\d+) +\[\d+\] \S+ +(\d+\.\d+): (sys_\w+)(.*)")

    def __init__(self, pid):
        self.pid = pid

    def write(self, name, value):
        (self.TRACING / name).write_text(str(value))

    def __enter__(self):
        self.write("trace", "")
        self.write("buffer_size_kb", 4096)
        self.write("options/event-fork", 1)   # workers come and go
        self.write("set_event_pid", " ".join(os.listdir(f"/proc/{self.pid}/task")))
        for event in self.EVENTS:
            self.write(f"events/syscalls/{event}/enable", 1)
        return self

    def __exit__(self, *_):
        for event in self.EVENTS:
            self.write(f"events/syscalls/{event}/enable", 0)
        self.write("set_event_pid", "")

    def windows(self):
        """Seconds from each open to the end of the DROP_MASTER that follows it in the same thread."""
        opened, dropping, found = {}, set(), []
        for line in (self.TRACING / "trace").read_text().splitlines():
            if not (match := self.LINE.search(line)):
                continue
            thread, at, call, rest = match[1], float(match[2]), match[3], match[4]
            if call == "sys_openat" and rest.startswith("("):
                opened[thread] = at
            elif call == "sys_ioctl" and re.search(rf"cmd: (0x)?{gpus.DROP_MASTER:x}\b", rest):   # 0x: from Linux 7.0
                dropping.add(thread)
            elif call == "sys_ioctl" and rest.startswith(" ->") and thread in dropping:
                dropping.remove(thread)
                found.append(at - opened[thread])
        return found


class Polite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Client()

    def setUp(self):
        self.vkms = gpus.gpu("vkms")

    def test_card_nodes_are_opened_for_those_who_name_them(self):
        """And only where there is no render node; and closed when nobody asked for some seconds."""
        broker.restart()
        opens = Opens()
        self.addCleanup(opens.close)
        with gpus.plain() as buffer:
            for _ in range(20):
                self.broker.place(buffer, fresh=True)
            names = set(opens.names())
            self.assertIn(os.path.basename(gpus.gpu("tgpu").render), names)
            self.assertEqual({name for name in names if name.startswith("card")}, set())
            for gpu in gpus.gpus():
                self.broker.place(buffer, target_device=gpu.card_number, fresh=True)
        self.assertEqual({name for name in opens.names() if name.startswith("card")},
                         {os.path.basename(self.vkms.card)})
        kernel.until(lambda: self.vkms.card not in procs.drm_nodes(broker.pid()), "the card is closed", 20)

    def test_weston_gets_its_card(self):
        """Nobody but weston opens it meanwhile: there is no race that it could lose."""
        opens = Opens()
        self.addCleanup(opens.close)
        name = os.path.basename(self.vkms.card)
        self.start_weston("alone")
        alone = opens.names().count(name)
        imports = kernel.tgpu_count("imports")
        with askers.Askers(3, "plain", fresh=True) as crowd:
            for i in range(STARTS):
                # The moment is random by itself, and by a random number of turns.
                for _ in range(random.randrange(2000)):
                    os.sched_yield()
                with self.subTest(start=i):
                    self.start_weston(i)
                    self.assertEqual(opens.names().count(name), alone)
        crowd.check(self)
        imports = kernel.tgpu_count("imports") - imports
        print(f"      {STARTS} starts of weston during {imports} imports by primed")
        self.assertGreater(imports, STARTS * 20)

    def test_a_named_card_is_opened_once_in_some_seconds_and_given_back_at_once(self):
        """How long primed is its master: from before the open to after DROP_MASTER, as the kernel saw it. Whoever
        opens it while primed still has it open becomes its master."""
        broker.restart()
        self.broker.generation()
        with gpus.plain() as buffer:
            with Trace(broker.pid()) as trace:
                for _ in range(200):
                    self.broker.place(buffer, target_device=self.vkms.number, fresh=True)
            held = procs.drm_nodes(broker.pid())
            node = self.vkms.open()   # primed has let go of it
            self.addCleanup(os.close, node)
            gpus.ask(node, gpus.SET_MASTER, "")
            windows = trace.windows()
        self.assertIn(self.vkms.card, held)
        self.assertEqual(len(windows), 1, "opens for 200 questions without a pause")
        print(f"      master of a card without one for {windows[0] * 1e6:.0f} us")

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
        """It is left out, and tried again later."""
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
                self.assertNotIn("vkms (", self.tried(number))   # it is known by the table's row alone
            finally:
                mend()
            kernel.until(lambda: "vkms (" in self.tried(number), "it is tried again", 30)
            self.assertEqual(broker.pid(), pid)

    def tried(self, number):
        """The evidence of devices that reached a new buffer, of no device: tgpu is among them. vkms uses it where it
        lies, tried or not."""
        with gpus.plain() as buffer:
            details = self.broker.explain(buffer, target_device=number).details
        access = {line[0]: line[1] for line in details["devices"]}
        self.assertEqual([access[number], access[gpus.gpu("tgpu").number]], [IN_PLACE] * 2)
        line = next(line for line in details["evidence"] if line.startswith("reached at every look: "))
        self.assertIn("tgpu (", line)
        return line
