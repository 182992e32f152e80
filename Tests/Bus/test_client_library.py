"""The C client library: answers, changes and restarts, against a server that is played here."""
import os
import socket
import tempfile

from jeepney import HeaderFields, message_bus, new_method_return
from jeepney.io.blocking import open_dbus_connection

import hung_files
from client_library import (ABSENT, ANSWER, CLOSED, DRIVER, LATE, REFUSED, SENSELESS, ClientLibrary, Server)
from client import MAY_MOVE, NAME, NATIVE, PATIENCE
from harness import DGPU, IGPU


class HungFiles(ClientLibrary):
    def test_a_file_is_no_buffer_and_is_not_asked(self):
        """A Wayland client's: its file system never answers whoever looks at it, or closes it."""
        with tempfile.TemporaryDirectory(prefix="primed-hung-") as folder:
            files = hung_files.HungFiles(f"{folder}/hung", self.driver.process.pid)
            file = files.open()
            self.driver.tell("file", str(os.getpid()), str(file))
            try:
                self.says("file error EBADF")
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

    def test_an_error_is_the_default(self):
        self.ask()
        self.server.refuse()
        self.says(f"game {REFUSED}")

    def test_what_makes_no_sense_is_the_default(self):
        for number, (signature, body) in enumerate((("s", ("hello",)), ("", ()), ("tuut", (DGPU, 1, 3, 77)),
                                ("suutta{sv}", ("x", 1, 3, 77, 5, {})), ("tuutta{ss}", (DGPU, 1, 3, 77, 5, {"a": "b"})),
                                (ANSWER, (DGPU, 1, 3, 77, 5, {"recheck": ("s", "soon")})),
                                (ANSWER, (DGPU, 1, 3, 77, 5, {"verdicts": ("a(tu)", [(DGPU, 1)])})),
                                (ANSWER, (DGPU, 1, 3, 77, 5, {"home": ("s", "here")})),
                                # About no buffer.
                                (ANSWER, (DGPU, 1, 3, 0, 5, {})))):
            with self.subTest(signature):
                self.ask(f"b{number}")
                self.server.reply(signature, body)
                self.says(f"b{number} {SENSELESS}")

    def test_what_is_unknown_is_passed_over(self):
        self.ask()
        self.server.answer(DGPU, 4_000_000_000, generation=2**64 - 1, buffer=2**64 - 1,
                           colour=("av", [("a{sv}", {"x": ("ay", b"y" * 10_000)})]), recheck=("u", 2**32 - 1))
        self.says(f"game {DGPU} 4000000000 asked")
        self.ask()
        self.says(f"game {DGPU} 4000000000 known")

    def test_who_asks_again_at_the_end_gets_the_default(self):
        self.ask(command="insist")
        self.server.next_call()
        self.driver.tell("end")
        self.says(f"game {CLOSED}", f"game {ABSENT}")


class Rechecks(ClientLibrary):
    """Answers that are due after a millisecond."""

    SOON = {"recheck": ("u", 1)}

    def knows_until_it_is_due(self):
        self.until_asked_again(f"{DGPU} {NATIVE} known")

    def test_an_unsettled_answer_is_asked_for_again_behind(self):
        self.learns(**self.SOON)
        self.knows_until_it_is_due()
        self.knows()
        self.server.answer(IGPU)
        self.says("changed 77")
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
        self.says("changed 77")
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
        self.says(f"other {ABSENT}")
        self.ask()
        self.says(f"game {ABSENT}")
        self.server = Server(self.bus.address)
        self.says("changed")
        self.learns()

    def test_of_the_bus(self):
        self.learns()
        self.ask("other")
        self.server.next_call()
        self.bus.stop()
        self.says(f"other {ABSENT}", "changed", "lost")
        self.ask()
        self.says(f"game {ABSENT}")
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
                self.says(f"game {ABSENT}")


class Silence(ClientLibrary):
    timeout = 50

    def test_the_default_comes_in_time(self):
        self.ask()
        call = self.server.next_call()
        self.says(f"game {LATE}")
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 77, 5, {})))
        self.ask(command="peek")
        self.says(f"game {LATE}")
