"""The C client library where the bus or primed is absent, refuses, hangs, or comes later: it costs nothing, and what
was taken back stays so."""
import os
import pathlib
import socket
import subprocess
import tempfile

from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

import private_bus
from client_library import ABSENT, LATE, REFUSED, ClientLibrary, Server
from client import MAY_MOVE, NAME, NATIVE, PATIENCE
from harness import DGPU, IGPU

MONITORING = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus.Monitoring")
BUSY = f"{IGPU} {MAY_MOVE} default ENOBUFS"


class Opening(ClientLibrary):
    """Without a bus, and with one that lets nobody in."""

    timeout = 200

    def test_without_a_bus(self):
        with tempfile.TemporaryDirectory(prefix="primed-bus-") as folder, open(f"{folder}/bus.log", "w+") as log:
            self.driver.process.communicate()
            self.driver = self.start(f"unix:path={folder}/bus")
            self.ask()
            self.says(f"game {ABSENT}")
            bus = private_bus.Daemon(folder, log)
            server = Server(bus.address)
            try:
                self.says("changed")
                self.ask()
                server.answer(DGPU)
                self.says(f"game {DGPU} {NATIVE} asked")
            finally:
                server.close()
                bus.stop()
            self.says("changed", "lost")

    def test_a_bus_that_accepts_and_is_silent(self):
        self.driver.process.communicate()
        with tempfile.TemporaryDirectory(prefix="primed-bus-") as folder, socket.socket(socket.AF_UNIX) as silent:
            silent.bind(f"{folder}/bus")
            silent.listen()
            self.driver = self.start(f"unix:path={folder}/bus")
            self.ask()
            self.says(f"game {LATE}")
            self.ask()
            self.says(f"game {ABSENT}")

    def test_a_wrong_address_is_refused(self):
        self.driver.process.communicate()
        driver = self.start("unix:path")
        self.assertEqual(driver.process.wait(PATIENCE), 1)
        self.driver = self.start(self.bus.address)


class Absent(ClientLibrary):
    runs = False

    def test_nobody_is_asked(self):
        with open_dbus_connection(self.bus.address, enable_fds=True) as monitor:
            monitor.send_and_get_reply(new_method_call(MONITORING, "BecomeMonitor", "asu", ([], 0)), timeout=PATIENCE)
            self.ask()
            self.says(f"game {ABSENT}")
            self.ask("1000", "game", command="times")
            self.says("times 1000")
            self.server = Server(self.bus.address)
            self.says("changed")
            self.learns()
            members = []
            while "Place" not in members:
                message = monitor.receive(timeout=PATIENCE).header
                if (message.message_type == MessageType.method_call and
                        message.fields.get(HeaderFields.destination) == NAME):
                    members.append(message.fields[HeaderFields.member])
            self.assertEqual(members, ["GetManagedObjects", "Place"])

    def test_advice_and_reasons_are_refused(self):
        self.ask()
        self.says(f"game {ABSENT}")
        self.driver.tell("advise", f"{IGPU}:1")
        self.driver.tell("explain", "game")
        self.says("advice ENOTCONN", "explained ENOTCONN")


class Refused(ClientLibrary):
    def test_a_thousand_frames_of_one_buffer_ask_twice_at_most(self):
        self.ask()
        self.server.refuse()
        self.says(f"game {REFUSED}")
        for _ in range(2):
            self.ask("1000", "game", command="times")
            self.says("times 1000")
            if call := self.server.next_call(timeout=0):
                self.fail(f"asked again at once: {call}")
            if _ == 0:
                self.until_asked_again(REFUSED)
                self.server.refuse()

    def test_it_is_asked_again_and_told(self):
        self.ask()
        self.server.refuse("org.freedesktop.DBus.Error.LimitsExceeded")
        self.says(f"game {BUSY}")
        self.until_asked_again(BUSY)
        self.server.answer(DGPU)
        self.says("changed 77")
        self.knows()

    def test_of_the_limit_of_primed(self):
        self.ask()
        self.server.refuse(NAME + ".Error.LimitsExceeded")
        self.says(f"game {BUSY}")

    def test_a_change_is_a_reason_to_ask(self):
        self.ask()
        self.server.refuse()
        self.says(f"game {REFUSED}")
        self.server.invalidate(6)
        self.says("changed")
        self.learns(generation=6)


class UnderWay(ClientLibrary):
    def test_the_same_question_is_asked_once(self):
        for _ in range(3):
            self.ask()
        self.ask("nobody", command="cancel")   # said when all three have been asked
        self.says("nobody cancelled 0")
        self.server.answer(DGPU)
        self.says(*[f"game {DGPU} {NATIVE} asked"] * 3)
        self.knows()
        self.assertIsNone(self.server.next_call(timeout=0))

    def test_another_question_on_the_buffer_is_asked(self):
        self.ask()
        self.ask("game", "usage=2")
        for _ in range(2):
            self.server.answer(DGPU)
        self.says(*[f"game {DGPU} {NATIVE} asked"] * 2)

    def test_what_is_taken_back_is_not_told(self):
        for name in ("game", "game", "other"):
            self.ask(name)
        self.ask(command="cancel")
        self.says("game cancelled 2")
        self.server.answer(DGPU)
        self.server.answer(DGPU, buffer=78)
        self.says(f"other {DGPU} {NATIVE} asked")
        self.knows()

    def test_a_buffer_that_goes_takes_its_fence_along(self):
        self.ask(command="fence")
        self.server.next_call()
        self.ask(command="cancel")
        self.says("game cancelled 1")

    def test_an_fd_becomes_readable_with_the_answer(self):
        self.ask(command="fence")
        self.server.answer(DGPU)
        self.says("game readable", f"game {DGPU} {NATIVE} known")
        self.ask(command="fence")
        self.says(f"game {DGPU} {NATIVE} known")

    def test_an_fd_becomes_readable_when_primed_goes(self):
        self.ask(command="fence")
        self.server.next_call()
        self.server.close()
        self.says("game readable", f"game {ABSENT}")


class Hung(ClientLibrary):
    timeout = 2000

    def test_one_question_finds_out(self):
        """The first buffer waits, no other; one question at a time shows when primed is back."""
        self.ask()
        self.says(f"game {LATE}")
        for number in range(8):
            self.ask(f"b{number}")
            self.says(f"b{number} {LATE}")
        self.server.next_call()
        probe = self.server.next_call()
        self.assertIsNone(self.server.next_call(timeout=0))
        self.server.answer_call(probe, DGPU, buffer=78)
        self.says("changed")
        self.learns()


class Stalled(ClientLibrary):
    """A loop that is kept from its work for longer than the timeout, or a program that dispatches but when it asks."""

    timeout = 500

    def test_an_answer_that_came_in_time_is_taken(self):
        self.ask("before")
        self.server.answer(DGPU, buffer=76)
        self.says(f"before {DGPU} {NATIVE} asked")
        self.ask()
        call = self.server.next_call()
        self.driver.tell("stall")
        self.server.answer_call(call, DGPU)
        self.says(f"game {DGPU} {NATIVE} asked")
        self.knows()

    def test_primed_that_hung_is_found_to_answer(self):
        self.ask()
        self.says(f"game {LATE}")
        self.server.next_call()
        self.ask("other")
        self.driver.tell("stall")
        self.says(f"other {LATE}")
        self.server.answer(DGPU, buffer=78)
        self.says("changed")
        self.learns()


def libsystemd():
    told = subprocess.run(["pkg-config", "--modversion", "libsystemd"], capture_output=True, text=True, check=True)
    return int(told.stdout.split(".")[0].split("~")[0])


class HighFds(ClientLibrary):
    more = ("300",)

    def test_its_fds_are_out_of_the_way(self):
        self.learns()
        self.ask("other", command="fence")
        self.server.next_call()
        self.driver.tell("fds")
        self.assertEqual(self.driver.line(), "lowest 3")
        folder = pathlib.Path(f"/proc/{self.driver.process.pid}/fd")
        fds = {int(fd.name): os.readlink(fd) for fd in folder.iterdir()}
        # The buffers are the driver's own; the bus' pidfd, libsystemd's from version 256 on.
        buffers = {fd for fd, name in fds.items() if "primed:" in name}
        low = [name for fd, name in fds.items() if 3 <= fd < 300 and fd not in buffers]
        self.assertLessEqual(len(low), libsystemd() >= 256, low)
        self.assertTrue(all("pidfd" in name for name in low), low)
        self.assertEqual(len([fd for fd in fds if fd >= 300]), 5)
        for fd in fds.keys() - buffers:
            if fd > 2:
                with open(f"/proc/{self.driver.process.pid}/fdinfo/{fd}") as info:
                    flags = int(info.read().split("flags:")[1].split()[0], 8)
                self.assertTrue(flags & os.O_CLOEXEC, fd)


class Logs(ClientLibrary):
    log = True

    def test_the_reason_is_said_once(self):
        self.ask()
        self.server.refuse(text="the driver said so")
        self.says(f"log primed: {NAME}.Error.Failed: the driver said so", f"game {REFUSED}")
        self.ask("other")
        self.server.refuse(text="the driver said so")
        self.says(f"other {REFUSED}")
        self.server.close()
        self.says("log primed has gone")
        self.server = Server(self.bus.address)
        self.says("log primed is there", "changed")


class FewMatches(ClientLibrary):
    """A bus that lets nobody listen enough: without being told of changes, no answer is kept, and none is asked for."""

    def test_a_bus_that_refuses_a_match(self):
        self.driver.process.communicate()
        with tempfile.TemporaryDirectory(prefix="primed-bus-") as folder, open(f"{folder}/bus.log", "w+") as log:
            bus = private_bus.Daemon(folder, log, max_match_rules_per_connection=1)
            server = Server(bus.address)
            try:
                self.driver = self.start(bus.address)
                self.says("changed", "lost")
                self.ask()
                self.says(f"game {ABSENT}")
            finally:
                server.close()
                self.driver.process.stdin.close()
                self.driver.process.wait()
                bus.stop()
            self.driver = self.start(self.bus.address)
