"""The C client library: every word of the contract, as it is sent and as it is understood; a primed that is too old to
know it is noticed."""
from jeepney import new_error, new_method_return

from client_library import ANSWER, OLD, ClientLibrary
from client import IN_PLACE, MOVES, NAME, NATIVE
from harness import DGPU, IGPU, dev_t

SAMPLE, SCANOUT, CAPTURE = 1, 2, 4
VERDICTS = {"verdicts": ("a(tuu)", [(DGPU, NATIVE, SAMPLE | CAPTURE), (IGPU, MOVES, 0)]), "home": ("t", DGPU),
            "home-memory": ("s", "dedicated")}
STRANGER = dev_t(140)


class Hints(ClientLibrary):
    def sent(self, *hints):
        """The hints of the call, without the compositor's own default."""
        name = hints[0].split("=")[0]
        self.ask(name, *hints)
        call = self.server.next_call()
        self.server.answer_call(call, DGPU)
        self.says(f"{name} {DGPU} {NATIVE} asked")
        sent = dict(call.body[1])
        self.assertEqual(sent.pop("primary-device"), ("t", IGPU))
        return sent

    def test_each(self):
        for hint, word in (
                ("verdicts", ("b", True)), ("wake", ("b", True)), ("fresh", ("b", True)), ("format=7", ("u", 7)),
                ("modifier=0", ("t", 0)), ("usage=6", ("as", ["scanout", "capture"])), ("client=9", ("u", 9))):
            with self.subTest(hint):
                self.assertEqual(self.sent(hint), {hint.split("=")[0]: word})

    def test_candidates(self):
        self.assertEqual(self.sent(f"candidates={DGPU},{IGPU}"), {"candidates": ("at", [DGPU, IGPU])})

    def test_no_candidate(self):
        self.ask("game", "candidates=")
        call = self.server.next_call()
        self.assertEqual(dict(call.body[1])["candidates"], ("at", []))
        self.server.answer_call(call, 0, 5)
        self.says("game 0 5 asked")

    def test_a_pidfd(self):
        sent = self.sent("pidfd")
        self.assertEqual(sent["client"][0], "h")

    def test_unlike_questions_have_unlike_answers(self):
        self.learns()
        for hint in ("verdicts", "wake", "modifier=0", "usage=2", f"candidates={DGPU}", f"candidates={IGPU},{DGPU}"):
            with self.subTest(hint):
                self.ask("game", hint)
                self.server.answer(DGPU)
                self.says(f"game {DGPU} {NATIVE} asked")
        self.knows()


class Candidates(ClientLibrary):
    """What is named is a candidate, or the target for scan-out; an older primed heeds no candidates."""

    def test_an_old_primed(self):
        self.ask("game", f"candidates={IGPU}")
        self.server.answer(DGPU)
        self.says(f"game {OLD}")
        self.ask("1000", "game", f"candidates={IGPU}", command="times")
        self.says("times 1000")
        self.assertIsNone(self.server.next_call(timeout=0))

    def test_a_candidate(self):
        self.ask("game", f"candidates={IGPU},{DGPU}")
        self.server.answer(DGPU)
        self.says(f"game {DGPU} {NATIVE} asked")

    def test_a_candidate_that_is_called_by_its_card(self):
        self.ask("game", f"candidates={dev_t(0)}")
        self.server.answer(DGPU)
        self.says(f"game {DGPU} {NATIVE} asked")

    def test_the_target(self):
        self.ask("game", f"candidates={IGPU}", f"target={DGPU}", "usage=2")
        self.server.answer(DGPU)
        self.says(f"game {DGPU} {NATIVE} asked")

    def test_the_target_without_scanout(self):
        self.ask("game", f"candidates={IGPU}", f"target={DGPU}")
        self.server.answer(DGPU)
        self.says(f"game {OLD}")


class Access(ClientLibrary):
    def access(self, device, *hints):
        self.driver.tell("access", str(device), "game", *hints)
        return self.driver.line().removeprefix("game access ")

    def learns_verdicts(self, **details):
        self.ask("game", "verdicts")
        self.server.answer(DGPU, **details)
        self.says(f"game {DGPU} {NATIVE} asked")

    def test_from_the_cache(self):
        self.assertEqual(self.access(DGPU), "none")
        self.learns_verdicts(**VERDICTS)
        self.assertEqual(self.access(DGPU), f"{NATIVE} 5")
        self.assertEqual(self.access(dev_t(0)), f"{NATIVE} 5")
        self.assertEqual(self.access(IGPU), f"{MOVES} 0")
        self.assertEqual(self.access(STRANGER), "ENODEV")
        self.assertEqual(self.access(DGPU, "usage=2"), "none")
        self.ask("game", "verdicts", command="home")
        self.says(f"game home {DGPU} 1")

    def test_of_a_primed_that_gives_none(self):
        self.learns_verdicts()
        self.assertEqual(self.access(DGPU), "EOPNOTSUPP")

    def test_of_a_machine_without_devices(self):
        self.learns_verdicts(verdicts=("a(tuu)", []))
        self.assertEqual(self.access(DGPU), "ENODEV")

    def test_of_a_default(self):
        self.ask("game", "verdicts")
        self.server.refuse()
        self.driver.line()
        self.assertEqual(self.access(DGPU), "none")

    def test_another_verdict_is_a_change(self):
        soon = {"recheck": ("u", 1)}
        self.ask("game", "verdicts")
        self.server.answer(DGPU, **VERDICTS, **soon)
        self.says(f"game {DGPU} {NATIVE} asked")
        while not (call := self.server.next_call(timeout=0)):
            self.ask("game", "verdicts")
            self.says(f"game {DGPU} {NATIVE} known")
        better = {**VERDICTS, "verdicts": ("a(tuu)", [(DGPU, NATIVE, 5), (IGPU, IN_PLACE, 1)])}
        self.server.answer_call(call, DGPU, **better)
        self.says("changed 77")
        self.assertEqual(self.access(IGPU), f"{IN_PLACE} 1")


class Advice(ClientLibrary):
    def advised(self, *users):
        self.driver.tell("advise", *users)
        return self.server.next_call("Advise")

    def answer(self, call, *places):
        self.server.bus.send(new_method_return(call, "a(tsau)ta{sv}", (list(places), 5, {})))

    def test_where_to_allocate(self):
        call = self.advised(f"{DGPU}:4", f"{IGPU}:3")
        self.assertEqual(call.body, ([(DGPU, 4), (IGPU, 3)], {}))
        self.answer(call, (DGPU, "system", [NATIVE, IN_PLACE]), (IGPU, "dedicated", [IN_PLACE, NATIVE]))
        self.says(f"advice {DGPU} 2 {NATIVE} {IN_PLACE} {IGPU} 1 {IN_PLACE} {NATIVE}")

    def test_nowhere(self):
        self.answer(self.advised(f"{DGPU}:0"))
        self.says("advice")

    def test_refusals(self):
        self.server.bus.send(new_error(self.advised(f"{STRANGER}:0"), f"{NAME}.Error.UnknownDevice", "s", ("?",)))
        self.says("advice ENODEV")
        unknown = "org.freedesktop.DBus.Error.UnknownMethod"
        self.server.bus.send(new_error(self.advised(f"{DGPU}:0"), unknown, "s", ("old",)))
        self.says("advice EOPNOTSUPP")
        self.driver.tell("advise")
        self.driver.tell("advise", *[f"{DGPU}:0"] * 9)
        self.says("advice EINVAL", "advice EINVAL")

    def test_what_makes_no_sense(self):
        self.answer(self.advised(f"{DGPU}:0"), (DGPU, "system", [NATIVE, NATIVE]))
        self.says("advice EPROTO")
        self.answer(self.advised(f"{DGPU}:0"), *[(DGPU, "system", [NATIVE])] * 1000)
        self.says("advice EPROTO")
        self.server.bus.send(new_method_return(self.advised(f"{DGPU}:0"), "s", ("x",)))
        self.says("advice EPROTO")


class Reasons(ClientLibrary):
    def test_all_that_is_known(self):
        self.ask("game", command="explain")
        call = self.server.next_call()
        self.assertEqual(dict(call.body[1])["explain"], ("b", True))
        self.server.bus.send(new_method_return(call, ANSWER, (DGPU, NATIVE, 3, 77, 5, {
            "rule": ("s", "home-dedicated"), "cached": ("b", True), "home": ("t", DGPU), "attachments": ("u", 2),
            "evidence": ("as", ["one", "two"]), "devices": ("a(tus)", [(DGPU, NATIVE, "exported it")])})))
        self.says("device: 226:129", "access: native", "confidence: 3", "buffer: 77", "generation: 5",
                  "rule: home-dedicated", "cached: yes", "home: 226:129", "attachments: 2", "evidence: ", "  one", "  two",
                  "devices: ", f"  226:129, {NATIVE}, exported it", "explained 0")

    def test_a_refusal(self):
        self.ask("game", command="explain")
        self.server.refuse()
        self.says("explained EIO")
