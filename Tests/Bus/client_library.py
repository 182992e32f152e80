"""What the tests of the C client library speak of: a server that is played here, so that it can be slow, wrong and
hostile, and a program on the library (client_driver.c) under the address sanitizer."""
import os
import pathlib
import select
import subprocess
import tempfile
import time
import unittest

from jeepney import DBusAddress, HeaderFields, MessageType, message_bus, new_error, new_method_return, new_signal
from jeepney.io.blocking import open_dbus_connection

import harness
from client import MAY_MOVE, NAME, NATIVE, PATH, PATIENCE
from harness import DGPU, IGPU, PROJECT, dev_t

LIBRARY = PROJECT / "Sources/CPrimedClient"
BROKER = DBusAddress(PATH, interface=NAME)
DRIVER = DBusAddress("/org/freedesktop/DBus", interface="org.freedesktop.DBus")
ANSWER = "tuutta{sv}"
ABSENT, REFUSED, LATE, SENSELESS, OLD, CLOSED = (
    f"{IGPU} {MAY_MOVE} default {error}" for error in
    ("ENOTCONN", "EIO", "ETIMEDOUT", "EPROTO", "EOPNOTSUPP", "ECANCELED"))
MANAGER = "org.freedesktop.DBus.ObjectManager"
OBJECTS = {f"{PATH}/device/{name}": {f"{NAME}.Device": {
    "RenderDevice": ("t", render), "PrimaryDevice": ("t", card), "NoMove": ("s", no_move), "Driver": ("s", "x")}}
    for name, render, card, no_move in (("igpu", IGPU, dev_t(1), "ignored"), ("dgpu", DGPU, dev_t(0), "unknown"))}


class Server:
    """Owns primed's name; does what it is told."""

    objects = OBJECTS

    def __init__(self, address):
        self.bus = open_dbus_connection(address, enable_fds=True)
        self.bus.send_and_get_reply(message_bus.RequestName(NAME), timeout=PATIENCE)

    def next_call(self, member="Place", timeout=PATIENCE):
        """The next that is not for the list of devices, which is given; with `timeout`, None if there is none."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self.bus.receive(timeout=max(0, deadline - time.monotonic()))
            except TimeoutError:
                if timeout == PATIENCE:
                    raise
                return None
            if message.header.message_type != MessageType.method_call:
                continue
            if message.header.fields[HeaderFields.interface] == MANAGER:
                self.bus.send(new_method_return(message, "a{oa{sa{sv}}}", (self.objects,)))
                continue
            assert message.header.fields[HeaderFields.member] == member, message
            return message

    def answer(self, device, access=NATIVE, generation=5, buffer=77, **details):
        self.answer_call(self.next_call(), device, access, generation, buffer, **details)

    def answer_call(self, call, device, access=NATIVE, generation=5, buffer=77, **details):
        self.bus.send(new_method_return(call, ANSWER, (device, access, 3, buffer, generation, details)))

    def reply(self, signature, body):
        """To the next call."""
        self.bus.send(new_method_return(self.next_call(), signature, body))

    def refuse(self, error=NAME + ".Error.Failed", text="no"):
        self.bus.send(new_error(self.next_call(), error, "s", (text,)))

    def tell(self, member, signature, *values, to=None, source=BROKER):
        signal = new_signal(source, member, signature, values)
        if to:
            signal.header.fields[HeaderFields.destination] = to
        self.bus.send(signal)

    def invalidate(self, generation, to=None):
        self.tell("PlacementsInvalidated", "tat", generation, [], to=to)

    def close(self):
        self.bus.close()


class Driver:
    """Tests/Bus/client_driver.c, running."""

    def __init__(self, program, address, timeout, *more, log=False, environment=()):
        self.process = subprocess.Popen(
            [program, address, str(IGPU), str(timeout), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **({"LOG": "1"} if log else {}), **dict(environment)})
        self.rest = b""

    def tell(self, *words):
        self.process.stdin.write((" ".join(words) + "\n").encode())
        self.process.stdin.flush()

    def line(self):
        """The next that it prints."""
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError("the driver says nothing")
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise AssertionError(f"the driver ended: {self.process.stderr.read().decode()}")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()


class ClientLibrary(unittest.TestCase):
    timeout = 10_000
    # Further words of client_driver.c.
    more = ()
    log = False
    environment = ()
    objects = OBJECTS
    # Whether the server is there when a test begins.
    runs = True

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="primed-client-"))
        cls.program = f"{folder}/driver"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libsystemd"], capture_output=True, text=True,
                               check=True).stdout.split()
        subprocess.run(["gcc", "-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
                        "-fno-sanitize-recover", "-o", cls.program, f"-I{LIBRARY}/include",
                        pathlib.Path(__file__).with_name("client_driver.c"), *sorted(LIBRARY.glob("*.c")), *flags],
                       check=True)

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="primed-bus-"))
        log = self.enterContext(open(f"{self.folder}/bus.log", "w+"))
        self.bus = harness.bus_kind(self.folder, log)
        self.addCleanup(lambda: self.bus.stop())
        self.server = Server(self.bus.address) if self.runs else None
        if self.server:
            self.server.objects = self.objects
        self.addCleanup(lambda: self.server and self.server.close())
        self.driver = self.start(self.bus.address)

    def start(self, address):
        driver = Driver(self.program, address, self.timeout, *self.more, log=self.log, environment=self.environment)
        self.addCleanup(driver.process.kill)
        return driver

    def tearDown(self):
        """It ends by itself, with nothing left open and nothing for the sanitizer to say."""
        rest, errors = self.driver.process.communicate(b"end\n", timeout=PATIENCE)
        self.assertEqual(self.driver.process.returncode, 0, errors.decode())
        self.assertEqual((self.driver.rest + rest).decode().splitlines()[-1], "fds 0", (self.driver.rest + rest).decode())

    def ask(self, name="game", *hints, command="ask"):
        self.driver.tell(command, name, *hints)

    def says(self, *lines):
        self.assertEqual([self.driver.line() for _ in lines], list(lines))

    def learns(self, device=DGPU, **answer):
        """Asks about `game`, and keeps the answer."""
        self.ask()
        self.server.answer(device, **answer)
        self.says(f"game {device} {NATIVE} asked")

    def knows(self, device=DGPU):
        self.ask()
        self.says(f"game {device} {NATIVE} known")

    def until_asked_again(self, says, name="game"):
        """Asks until the server has got the question, too; each time it says `says`."""
        deadline = time.monotonic() + PATIENCE
        while not select.select([self.server.bus.sock], [], [], 0)[0]:
            self.assertLess(time.monotonic(), deadline, "never asked again")
            self.ask(name)
            self.says(f"{name} {says}")

    def client_name(self):
        """The driver's unique name, from a call of it."""
        self.ask("whoever")
        call = self.server.next_call()
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 78, 5, {})))
        self.says(f"whoever {DGPU} {NATIVE} asked")
        return call.header.fields[HeaderFields.sender]
