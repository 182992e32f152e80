"""What the tests speak of: a simulated machine, primed on a private bus, and clients of it.

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
from typing import NamedTuple

from gi.repository import Gio, GLib

import private_bus

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
NAME = "org.primed.Broker1"
PATH = "/org/primed/Broker1"
DEVICE = "org.primed.Broker1.Device"
ERROR = "org.primed.Broker1.Error."
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"
# Seconds; only a failing test ever waits so long.
PATIENCE = 10

# Set by the runner.
primed = PROJECT / ".build/debug/primed"
bus_kind = private_bus.Daemon

STRANGER = 65534

UNKNOWN, NATIVE, IN_PLACE, MAY_MOVE, MOVES, UNREACHABLE = range(6)
GUESS, STATE, STABLE, INTENT = range(4)


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


def buffer(name):
    """An fd that a simulated machine takes for the dma-buf `name` ("video.1": its plane 1)."""
    return os.memfd_create(f"primed:{name}")


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


class Answer(NamedTuple):
    device: int
    access: int
    confidence: int
    buffer: int
    generation: int
    details: dict


class Refused(Exception):
    """An error reply: its D-Bus name and message."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


class Client:
    """One connection, by GLib."""

    def __init__(self, address):
        flags = Gio.DBusConnectionFlags
        self.bus = Gio.DBusConnection.new_for_address_sync(
            address, flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)
        self.bus.set_exit_on_close(False)
        self.signals = []

    def call(self, interface, member, signature, *values, fds=(), path=PATH, name=NAME, reply_fds=False):
        """The reply's values; borrows fds. A body's `h` is an index into `fds`."""
        body = GLib.Variant(f"({signature})", values) if signature else None
        try:
            reply, received = self.bus.call_with_unix_fd_list_sync(
                name, path, interface, member, body, None, Gio.DBusCallFlags.NO_AUTO_START,
                PATIENCE * 1000, Gio.UnixFDList.new_from_array([os.dup(fd) for fd in fds]), None)
        except GLib.Error as error:
            remote = Gio.DBusError.get_remote_error(error)
            Gio.DBusError.strip_remote_error(error)
            raise Refused(remote or error.domain, error.message) from None
        if reply_fds:
            return received.steal_fds()
        return reply.unpack()

    def place(self, *buffers, **hints):
        """Buffers by name or as fds; hints by name with _ for -, values as variants or plain ones."""
        with opened(buffers) as fds:
            return Answer(*self.call(
                NAME, "Place", "aha{sv}", list(range(len(fds))), variants(hints), fds=fds))

    def place_many_later(self, buffers, then):
        """One PlaceMany, an item a buffer; `then` gets the list of answers."""
        def replied(bus, result):
            if bus.is_closed():
                return
            reply, _ = bus.call_with_unix_fd_list_finish(result)
            then([Answer(*one) for one in reply.unpack()[0]])
        with opened(buffers) as fds:
            body = [([index], {}) for index in range(len(fds))]
            self.bus.call_with_unix_fd_list(
                NAME, PATH, NAME, "PlaceMany", GLib.Variant("(a(aha{sv}))", (body,)), None,
                Gio.DBusCallFlags.NO_AUTO_START, PATIENCE * 1000,
                Gio.UnixFDList.new_from_array([os.dup(fd) for fd in fds]), None, replied)

    def place_many(self, *items):
        """Items are (buffers, hints)."""
        with contextlib.ExitStack() as stack:
            fds, body = [], []
            for buffers, hints in items:
                mine = stack.enter_context(opened(buffers))
                body.append((list(range(len(fds), len(fds) + len(mine))), variants(hints)))
                fds += mine
            return [Answer(*one) for one in self.call(NAME, "PlaceMany", "a(aha{sv})", body, fds=fds)[0]]

    def set_defaults(self, **hints):
        self.call(NAME, "SetDefaults", "a{sv}", variants(hints))

    def release(self, device, why="test"):
        """The guard's fd, the caller's to close."""
        return self.call(NAME, "ReleaseDevice", "ts", device, why, reply_fds=True)[0]

    def get(self, name, interface=NAME, path=PATH):
        return self.call(PROPERTIES, "Get", "ss", interface, name, path=path)[0]

    def get_all(self, interface=NAME, path=PATH):
        return self.call(PROPERTIES, "GetAll", "s", interface, path=path)[0]

    def objects(self):
        return self.call(MANAGER, "GetManagedObjects", "")[0]

    def ping(self):
        self.call("org.freedesktop.DBus.Peer", "Ping", "")

    def listen(self):
        """From now on `signals` collects (path, member, values) of primed."""
        self.bus.signal_subscribe(
            None, None, None, None, None, Gio.DBusSignalFlags.NONE,
            lambda bus, sender, path, interface, member, body: self.signals.append(
                (path, member, body.unpack())) if path.startswith("/org/primed") else None)
        # The match is in force once the bus has answered something sent after it.
        self.call("org.freedesktop.DBus", "GetId", "", name="org.freedesktop.DBus", path="/org/freedesktop/DBus")

    def wait_for(self, member, count=1):
        """The values of the `count`th signal `member` since `listen`."""
        wait_until(lambda: len(self.named(member)) >= count, f"{count} signal(s) {member}")
        return self.named(member)[count - 1]

    def named(self, member):
        return [values for _, name, values in self.signals if name == member]

    def settle(self):
        """Whatever primed sent before now has arrived."""
        self.ping()
        while GLib.MainContext.default().iteration(False):
            pass

    def close(self):
        if not self.bus.is_closed():
            self.bus.close_sync(None)


@contextlib.contextmanager
def opened(buffers):
    fds = [buffer(one) if isinstance(one, str) else os.dup(one) for one in buffers]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def variants(hints):
    types = {"usage": "as", "format": "u", "client": "u", "wake": "b", "fresh": "b", "explain": "b"}
    return {key.replace("_", "-"): value if isinstance(value, GLib.Variant)
            else GLib.Variant(types.get(key, "t"), value) for key, value in hints.items()}


def wait_until(condition, what):
    """Runs the main loop until `condition` holds."""
    context = GLib.MainContext.default()
    late = []
    timer = GLib.timeout_add_seconds(PATIENCE, lambda: late.append(True))
    while not condition():
        if late:
            raise AssertionError(f"waited in vain for {what}")
        context.iteration(True)
    if not late:
        GLib.source_remove(timer)


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
        self.fds_at_start = self.daemon.fds()

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
            self.assertEqual(self.daemon.fds(), self.fds_at_start, "primed's open fds")

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
