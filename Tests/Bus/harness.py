"""What the tests speak of: a simulated machine, and primed on a private bus.

Everything waits for an event with a deadline; nothing sleeps. A test's primed must end with the fds
that it began with.
"""
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import private_bus
from client import ERROR, PATIENCE, Client, Refused

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent

# Set by the runner.
primed = PROJECT / ".build/debug/primed"
bus_kind = private_bus.Daemon

STRANGER = 65534


def measures(test):
    """Marks a test, or a class of them, that judges primed's memory or time: they are not those of a program that is
    built with a sanitizer."""
    test.measures = True
    return test


def dev_t(minor):
    return os.makedev(226, minor)


IGPU, DGPU = dev_t(128), dev_t(129)


WARM_UP = {"id": "warm-up", "exporter": "igpu", "home": "system", "residency": "system"}


def laptop(**changes):
    """The scenario that most tests run on; node numbers as IGPU and DGPU say."""
    return {
        "name": "laptop",
        "kernel": {"noMove": "honoured"},
        "devices": [
            {"id": "igpu", "driver": "i915", "card": 1, "render": 128, "bootVGA": True,
             "connectors": ["eDP-1"]},
            {"id": "dgpu", "driver": "amdgpu", "card": 0, "render": 129, "dedicated": 8 << 30}],
        "reaches": [["igpu", "dgpu", "system"], ["dgpu", "igpu", "system"]],
        "buffers": [
            {"id": "game", "exporter": "dgpu", "home": "dedicated", "residency": "dedicated"},
            {"id": "terminal", "exporter": "igpu", "home": "system", "residency": "system"},
            {"id": "video", "exporter": "igpu", "home": "system", "residency": "system", "planes": 2},
            {"id": "heap", "exporter": None, "home": "system", "residency": "system"},
            WARM_UP],
        **changes}


class Primed:
    """A running daemon, of a simulated machine (a scenario, or a name of one) or, with None, of this one."""

    def __init__(self, address, folder, simulate, limits=(), wait=True, options=()):
        self.folder = pathlib.Path(folder)
        if isinstance(simulate, dict):
            scenario = self.folder / "scenario.json"
            scenario.write_text(json.dumps(simulate))
            simulate = str(scenario)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(f"{self.folder}/notify-{time.monotonic_ns()}")
        self._notify.settimeout(PATIENCE)
        machine = ["--simulate", simulate] if simulate else []
        reading, writing = os.pipe()
        environment = {k: v for k, v in os.environ.items() if k not in ("JOURNAL_STREAM", "WATCHDOG_USEC")}
        self.process = subprocess.Popen(
            [*limits, str(primed), "--bus", address, *machine, "--log-level", "info", *options],
            env={**environment, "NOTIFY_SOCKET": self._notify.getsockname()},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writing)
        os.close(writing)
        self._stderr = reading
        self.log = ""
        if wait:
            self._wait_until_ready()

    def _wait_until_ready(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            ready = select.select([self._notify, self._stderr], [], [], deadline - time.monotonic())[0]
            if self._notify in ready:
                if b"READY=1" in self._notify.recv(4096):
                    return
                continue
            text = os.read(self._stderr, 65536) if ready else b""
            self.log += text.decode()
            if not text:
                self.process.kill()
                raise RuntimeError(f"primed did not start:\n{self.log}")

    def read_log(self, until=None):
        """Reads what is there; with `until`, waits for a line with this text."""
        deadline = time.monotonic() + PATIENCE
        while True:
            left = max(0, deadline - time.monotonic()) if until and until not in self.log else 0
            if not select.select([self._stderr], [], [], left)[0]:
                break
            text = os.read(self._stderr, 65536)
            if not text:
                break
            self.log += text.decode()
        if until and until not in self.log:
            raise AssertionError(f"primed did not log {until!r}")

    def happen(self, what):
        """The next event of the scenario, which must be `what`."""
        self.process.send_signal(signal.SIGUSR1)
        self.read_log(until=f"simulated: {what}\n")

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def wait_for_notice(self, word, seconds=PATIENCE):
        """Until primed says this to the service manager, or said it before."""
        self._notify.settimeout(seconds)
        while word.encode() not in self._notify.recv(4096):
            pass

    def forget_notices(self):
        while select.select([self._notify], [], [], 0)[0]:
            self._notify.recv(4096)

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def wait_for_threads(self, count):
        deadline = time.monotonic() + PATIENCE
        while self.threads() != count:
            assert time.monotonic() < deadline, f"primed has {self.threads()} threads, not {count}"
            select.select([], [], [], 0.01)

    def wait_for_fds(self, count=None):
        """Until so many are open; without a count, until none of a test's buffers is. The fds that came in a
        message are closed soon after its answer, and not before it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            links = self.links()
            if len(links) == count or count is None and not any(one.startswith("/memfd:") for one in links):
                return len(links)
        raise AssertionError(f"primed's open fds, not {count}:\n" + "\n".join(links))

    def wait_for_no(self, start, seconds=PATIENCE):
        """Until no fd is open whose link begins so."""
        deadline = time.monotonic() + seconds
        while any(link.startswith(start) for link in self.links()):
            assert time.monotonic() < deadline, f"primed has {start} open"

    def links(self):
        """What the open fds are."""
        folder, links = f"/proc/{self.process.pid}/fd", []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"{folder}/{name}"))
        return links

    def exit_code(self):
        return self.process.wait(PATIENCE)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._stderr is not None:
            self.read_log()
            os.close(self._stderr)
            self._notify.close()
            self._stderr = None


class BusTest(unittest.TestCase):
    """A bus, primed on `scenario`, and `client`."""

    scenario = laptop()
    limits = ()
    options = ()
    # Of the scenario; asked about before the test begins, so that what primed opens once is open.
    known_buffer = "warm-up"
    # A test that ends its daemon checks its exit, not its fds.
    leaves_daemon_running = True

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="primed-bus-"))
        os.chmod(self.folder, 0o755)
        self.bus_log = self.enterContext(open(f"{self.folder}/bus.log", "w+"))
        self.bus = self.start_bus()
        self.addCleanup(lambda: self.bus.stop())
        self.clients = []
        self.addCleanup(lambda: [client.close() for client in self.clients])
        self.daemon = Primed(self.bus.address, self.folder, self.scenario, self.limits, options=self.options)
        self.addCleanup(self.daemon.stop)
        self.client = self.connect()
        self.client.place(self.known_buffer)
        self.client.settle()
        self.fds_at_start = self.daemon.wait_for_fds()

    def start_bus(self):
        return bus_kind(self.folder, self.bus_log)

    def as_stranger(self, *command, **how):
        """Runs it as a user who is neither root nor primed's."""
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, user=STRANGER,
                              group=STRANGER, extra_groups=[], stdin=subprocess.DEVNULL, **how)

    def connect(self):
        client = Client(self.bus.address)
        self.clients.append(client)
        return client

    def tearDown(self):
        if self.leaves_daemon_running:
            self.client.settle()
            self.assertIsNone(self.daemon.process.poll(), "primed ended")
            # What is looked at again behind an answer holds its buffer until it is known.
            deadline = time.monotonic() + PATIENCE
            while self.client.get("Statistics")["pending-queries"]:
                self.assertLess(time.monotonic(), deadline, "queries are under way for ever")
            self.daemon.wait_for_fds(self.fds_at_start)

    def evidence(self):
        """For a failed test."""
        if self.daemon.process.poll() is None:
            self.daemon.read_log()
        self.bus_log.seek(0)
        return self.daemon.log + self.bus_log.read()

    @contextlib.contextmanager
    def refused(self, word, text=""):
        with self.assertRaises(Refused) as caught:
            yield
        self.assertEqual(caught.exception.name, word if "." in word else ERROR + word)
        self.assertIn(text, caught.exception.message)
