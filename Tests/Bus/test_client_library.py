"""The C client library against a server that is played here, so that it can be slow, wrong and hostile; under
the address sanitizer."""
import errno
import os
import pathlib
import select
import socket
import subprocess
import tempfile
import time
import unittest

from jeepney import DBusAddress, HeaderFields, MessageType, message_bus, new_error, new_method_return, new_signal
from jeepney.io.blocking import open_dbus_connection

import harness
import hung_files
from harness import DGPU, IGPU, MAY_MOVE, NAME, NATIVE, PATH, PATIENCE, PROJECT

LIBRARY = PROJECT / "Sources/CPrimedClient"
BROKER = DBusAddress(PATH, interface=NAME)
DRIVER = DBusAddress("/org/freedesktop/DBus", interface="org.freedesktop.DBus")
ANSWER = "tuutta{sv}"
FALLBACK = f"{IGPU} {MAY_MOVE} default"


class Server:
    """Owns primed's name; does what it is told."""

    def __init__(self, address):
        self.bus = open_dbus_connection(address, enable_fds=True)
        self.bus.send_and_get_reply(message_bus.RequestName(NAME), timeout=PATIENCE)

    def next_call(self, member="Place"):
        while True:
            message = self.bus.receive(timeout=PATIENCE)
            if message.header.message_type == MessageType.method_call:
                assert message.header.fields[HeaderFields.member] == member, message
                return message

    def answer(self, device, access=NATIVE, generation=5, buffer=77, **details):
        self.reply(ANSWER, (device, access, 3, buffer, generation, details))

    def reply(self, signature, body):
        """To the next call."""
        self.bus.send(new_method_return(self.next_call(), signature, body))

    def refuse(self):
        self.bus.send(new_error(self.next_call(), NAME + ".Error.Failed", "s", ("no",)))

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

    def __init__(self, program, address, timeout):
        self.process = subprocess.Popen(
            [program, address, str(IGPU), str(timeout)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
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
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="primed-bus-"))
        log = self.enterContext(open(f"{folder}/bus.log", "w+"))
        self.bus = harness.bus_kind(folder, log)
        self.addCleanup(lambda: self.bus.stop())
        self.server = Server(self.bus.address)
        self.addCleanup(lambda: self.server.close())
        self.driver = Driver(self.program, self.bus.address, self.timeout)
        self.addCleanup(self.driver.process.kill)

    def tearDown(self):
        """It ends by itself, with nothing left open and nothing for the sanitizer to say."""
        rest, errors = self.driver.process.communicate(b"end\n", timeout=PATIENCE)
        self.assertEqual(self.driver.process.returncode, 0, errors.decode())
        self.assertEqual((self.driver.rest + rest).decode().splitlines()[-1], "fds 0")

    def ask(self, name="game", command="ask"):
        self.driver.tell(command, name)

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

    def client_name(self):
        """The driver's unique name, from a call of it."""
        self.ask("whoever")
        call = self.server.next_call()
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 78, 5, {})))
        self.says(f"whoever {DGPU} {NATIVE} asked")
        return call.header.fields[HeaderFields.sender]


class HungFiles(ClientLibrary):
    def test_a_file_is_no_buffer_and_is_not_asked(self):
        """A Wayland client's: its file system never answers whoever looks at it, or closes it."""
        with tempfile.TemporaryDirectory(prefix="primed-hung-") as folder:
            files = hung_files.HungFiles(f"{folder}/hung", self.driver.process.pid)
            file = files.open()
            self.driver.tell("file", str(os.getpid()), str(file))
            try:
                self.says(f"file error {errno.EBADF}")
            finally:
                os.close(file)
                files.end()


class Answers(ClientLibrary):
    def test_an_answer_is_kept(self):
        self.learns()
        self.knows()
        self.ask(command="peek")
        self.says(f"game {DGPU} {NATIVE} known")
        self.ask("other", command="peek")
        self.says("other none")

    def test_a_fallback_is_kept_like_any_answer(self):
        self.ask()
        self.server.answer(IGPU, MAY_MOVE)
        self.says(f"game {IGPU} {MAY_MOVE} asked")
        self.ask()
        self.says(f"game {IGPU} {MAY_MOVE} known")

    def test_an_error_is_the_default_and_not_kept(self):
        for _ in range(2):
            self.ask()
            self.server.refuse()
            self.says(f"game {FALLBACK}")

    def test_what_makes_no_sense_is_the_default(self):
        for signature, body in (("s", ("hello",)), ("", ()), ("tuut", (DGPU, 1, 3, 77)),
                                ("suutta{sv}", ("x", 1, 3, 77, 5, {})), ("tuutta{ss}", (DGPU, 1, 3, 77, 5, {"a": "b"})),
                                (ANSWER, (DGPU, 1, 3, 77, 5, {"recheck": ("s", "soon")}))):
            with self.subTest(signature):
                self.ask()
                self.server.reply(signature, body)
                self.says(f"game {FALLBACK}")

    def test_what_is_unknown_is_passed_over(self):
        self.ask()
        self.server.answer(DGPU, 4_000_000_000, generation=2**64 - 1, buffer=2**64 - 1,
                           colour=("av", [("a{sv}", {"x": ("ay", b"y" * 10_000)})]), recheck=("u", 2**32 - 1))
        self.says(f"game {DGPU} 4000000000 asked")
        self.ask()
        self.says(f"game {DGPU} 4000000000 known")

    def test_an_answer_about_no_buffer_is_not_kept(self):
        self.learns(buffer=0)
        self.learns()

    def test_who_asks_again_at_the_end_gets_the_default(self):
        self.ask(command="insist")
        self.server.next_call()
        self.driver.tell("end")
        self.says(f"game {FALLBACK}", f"game {FALLBACK}")


class Rechecks(ClientLibrary):
    """Answers that are due after a millisecond."""

    SOON = {"recheck": ("u", 1)}

    def knows_until_it_is_due(self):
        deadline = time.monotonic() + PATIENCE
        while not select.select([self.server.bus.sock], [], [], 0)[0]:
            self.assertLess(time.monotonic(), deadline, "never asked again")
            self.knows()

    def test_an_unsettled_answer_is_asked_for_again_behind(self):
        self.learns(**self.SOON)
        self.knows_until_it_is_due()
        self.knows()
        self.server.answer(IGPU)
        self.says("changed")
        self.knows(IGPU)

    def test_the_same_answer_is_no_change(self):
        self.learns(**self.SOON)
        for _ in range(2):
            self.knows_until_it_is_due()
            self.server.answer(DGPU, **self.SOON)

    def test_a_failure_behind_is_nobodys_business(self):
        self.learns(**self.SOON)
        self.knows_until_it_is_due()
        self.server.refuse()
        self.knows()


class Changes(ClientLibrary):
    def test_invalidated(self):
        self.learns()
        self.server.invalidate(6)
        self.says("changed")
        self.learns(IGPU, generation=6)
        self.knows(IGPU)

    def test_an_answer_from_before_a_change_is_given_and_not_kept(self):
        self.learns()
        self.ask("other")
        call = self.server.next_call()
        self.server.invalidate(6)
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 78, 5, {})))
        self.says("changed", f"other {DGPU} {NATIVE} asked")
        self.ask("other", command="peek")
        self.says("other none")

    def test_placement_changed(self):
        self.learns()
        self.server.tell("PlacementChanged", "ttuu", 77, IGPU, NATIVE, 3, to=self.client_name())
        self.says("changed")
        self.learns(IGPU)
        self.ask("whoever")
        self.says(f"whoever {DGPU} {NATIVE} known")

    def test_a_change_that_makes_no_sense_forgets_all(self):
        self.learns()
        self.server.tell("PlacementsInvalidated", "s", "x")
        self.says("changed")
        self.learns()

    def test_others_signals_are_not_primeds(self):
        """Anybody may send signals to one connection; none of them is believed."""
        self.learns()
        self.server.invalidate(6)
        self.says("changed")
        self.learns(generation=6)
        name = self.client_name_of_generation(6)
        with open_dbus_connection(self.bus.address) as stranger:
            forger = Server.__new__(Server)
            forger.bus = stranger
            for generation in (5, 7, 2**64 - 1):
                forger.invalidate(generation, to=name)
            forger.tell("PlacementChanged", "ttuu", 77, IGPU, NATIVE, 3, to=name)
            forger.tell("NameOwnerChanged", "sss", NAME, ":1.0", stranger.unique_name, to=name, source=DRIVER)
            stranger.send_and_get_reply(message_bus.GetId(), timeout=PATIENCE)
        self.knows()

    def client_name_of_generation(self, generation):
        self.ask("whoever")
        call = self.server.next_call()
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 78, generation, {})))
        self.says(f"whoever {DGPU} {NATIVE} asked")
        return call.header.fields[HeaderFields.sender]


class Restarts(ClientLibrary):
    def test_of_primed(self):
        self.learns()
        self.server.close()
        self.server = Server(self.bus.address)
        self.says("changed")
        self.learns(IGPU, generation=1)
        self.knows(IGPU)

    def test_in_the_middle_of_a_question(self):
        self.learns()
        self.ask("other")
        self.server.next_call()
        self.server.close()
        self.says(f"other {FALLBACK}")
        self.ask()
        self.says(f"game {FALLBACK}")
        self.server = Server(self.bus.address)
        self.says("changed")
        self.learns()

    def test_of_the_bus(self):
        self.learns()
        self.ask("other")
        self.server.next_call()
        self.bus.stop()
        self.says(f"other {FALLBACK}", "changed", "lost")
        self.ask()
        self.says(f"game {FALLBACK}")
        self.bus.start()
        self.server = Server(self.bus.address)
        self.says("changed")
        self.learns(IGPU)
        self.knows(IGPU)

    def test_a_bus_that_lets_nobody_in(self):
        self.learns()
        self.bus.stop()
        self.says("changed", "lost")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.settimeout(PATIENCE)
            silent.bind(str(self.bus.path))
            silent.listen()
            with silent.accept()[0]:
                self.ask()
                self.says(f"game {FALLBACK}")


class Silence(ClientLibrary):
    timeout = 50

    def test_the_default_comes_in_time(self):
        self.ask()
        call = self.server.next_call()
        self.says(f"game {FALLBACK}")
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 77, 5, {})))
        self.ask(command="peek")
        self.says("game none")
