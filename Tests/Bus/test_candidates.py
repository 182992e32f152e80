"""The hints candidates and verdicts, and Advise, as a foreign client uses them: their types and bounds."""
from gi.repository import GLib

from client import ERROR, IN_PLACE, NAME, NATIVE, UNKNOWN, UNREACHABLE
from harness import DGPU, IGPU, BusTest, dev_t

NOBODY = dev_t(77)


class Types(BusTest):
    """What is refused, and says how to mend it."""

    def test_more_candidates_than_may_be(self):
        self.client.place("game", candidates=[DGPU] * 64)
        with self.refused("InvalidArgument", "more than 64"):
            self.client.place("game", candidates=[DGPU] * 65)
        with self.refused("InvalidArgument", "more than 64"):
            self.client.set_defaults(candidates=[dev_t(n) for n in range(65)])

    def test_wrong_types(self):
        for hint, value in (("candidates", GLib.Variant("au", [1])), ("candidates", GLib.Variant("t", DGPU)),
                            ("candidates", GLib.Variant("as", ["renderD128"])), ("candidates", GLib.Variant("av", [])),
                            ("verdicts", GLib.Variant("u", 1)), ("verdicts", GLib.Variant("s", "true"))):
            wanted = f"hint {hint} must have the type {'at' if hint == 'candidates' else 'b'}, not "
            with self.subTest(hint, value=value), self.refused("InvalidArgument", wanted):
                self.client.place("game", **{hint: value})
            with self.subTest(f"default {hint}", value=value), self.refused("InvalidArgument", wanted):
                self.client.set_defaults(**{hint: value})
            with self.subTest(f"Advise, {hint}", value=value), self.refused("InvalidArgument", wanted):
                self.client.advise((DGPU, 1), **{hint: value})
        self.assertEqual(self.client.place("game").details, {}, "a refused call changes nothing")

    def test_one_item_with_too_many_fails_alone(self):
        wrong, good = self.client.place_many(
            (["game"], {"candidates": [DGPU] * 65}), (["game"], {"candidates": [DGPU]}))
        self.assertTrue(wrong.details["error"].startswith(ERROR + "InvalidArgument: hint candidates"), wrong)
        self.assertEqual(good.device, DGPU)

    def test_a_million_candidates_cost_nothing(self):
        with self.refused("InvalidArgument", "more than 64"):
            self.client.place("game", candidates=[DGPU] * 1_000_000)


class Advise(BusTest):
    def test_reply(self):
        places, generation, details = self.client.advise((DGPU, 1), (IGPU, 0))
        self.assertEqual(generation, self.client.get("Generation"))
        self.assertEqual(details, {}, "a plain answer is as small as can be")
        for device, memory, accesses in places:
            self.assertIn(device, (IGPU, DGPU))
            self.assertIn(memory, ("dedicated", "system"))
            self.assertEqual(len(accesses), 2)
        self.assertIsInstance(self.client.advise((DGPU, 1), explain=True)[2]["evidence"], list)

    def test_number_of_users(self):
        with self.refused("InvalidArgument", "no user"):
            self.client.advise()
        self.client.advise(*[(DGPU, 1)] * 8)
        with self.refused("InvalidArgument", "more than 8"):
            self.client.advise(*[(DGPU, 1)] * 9)

    def test_a_user_that_is_no_device(self):
        with self.refused("UnknownDevice", f"no DRM device has the number {NOBODY} (226:77)"):
            self.client.advise((DGPU, 1), (NOBODY, 1))
        with self.refused("UnknownDevice", "the number 0 "):
            self.client.advise((0, 1))

    def test_either_node_names_the_user(self):
        self.assertEqual(self.client.advise((DGPU, 1)), self.client.advise((dev_t(0), 1)))

    def test_unknown_bits_are_passed_over(self):
        self.assertEqual(self.client.advise((DGPU, 1)), self.client.advise((DGPU, 0xfffffff9)))

    def test_wrong_signature(self):
        for signature, values in (("a(tu)", [[]]), ("ata{sv}", [[DGPU], {}]), ("a(tt)a{sv}", [[(DGPU, 1)], {}])):
            with self.subTest(signature), self.refused("org.freedesktop.DBus.Error.InvalidArgs"):
                self.client.call(NAME, "Advise", signature, *values)

    def test_other_hints_are_passed_over(self):
        plain = self.client.advise((DGPU, 1))
        self.assertEqual(plain, self.client.advise(
            (DGPU, 1), usage=["capture"], fresh=True, verdicts=True, of_tomorrow=GLib.Variant("s", "x")))

    def test_nothing_is_looked_at(self):
        looks = self.client.get("Statistics")["looks"]
        self.client.advise((DGPU, 7), (IGPU, 7))
        self.assertEqual(self.client.get("Statistics")["looks"], looks)


class Candidates(BusTest):
    """On the laptop: the discrete GPU's game is in its memory; the terminal is the integrated GPU's."""

    def test_none_but_these_is_named(self):
        self.assertEqual(self.client.place("game", candidates=[DGPU]).device, DGPU)
        only = self.client.place("game", candidates=[IGPU])
        self.assertIn(only.device, (0, IGPU))
        self.assertNotEqual(only.access, NATIVE)
        self.assertEqual(self.client.place("terminal", candidates=[DGPU, IGPU]).device, IGPU)
        self.assertEqual(self.client.place("terminal", candidates=[dev_t(1)]).device, IGPU)

    def test_numbers_of_no_device_are_dropped(self):
        self.assertEqual(self.client.place("game", candidates=[NOBODY, DGPU, NOBODY]).device, DGPU)

    def test_no_candidate(self):
        for candidates in ([], [NOBODY]):
            with self.subTest(candidates):
                answer = self.client.place("game", candidates=candidates, explain=True)
                self.assertEqual((answer.device, answer.details["rule"]), (0, "no-candidate"))
                self.assertIn(answer.access, (UNKNOWN, UNREACHABLE))

    def test_a_calls_list_replaces_the_default_whole(self):
        self.client.set_defaults(candidates=[IGPU], verdicts=True)
        self.assertNotEqual(self.client.place("game").device, DGPU)
        self.assertIn("verdicts", self.client.place("game").details)
        self.assertEqual(self.client.place("game", candidates=[DGPU]).device, DGPU)
        self.assertEqual(self.client.place("game", candidates=[]).device, 0)
        self.assertEqual(self.client.place("game", candidates=[DGPU], verdicts=False).details, {})

    def test_place_many(self):
        first, second = self.client.place_many(
            (["game"], {"candidates": [DGPU], "verdicts": True}), (["game"], {"candidates": []}))
        self.assertEqual((first.device, second.device), (DGPU, 0))
        self.assertEqual(set(first.details), {"verdicts", "home", "home-memory"})


class Verdicts(BusTest):
    def verdicts(self, *buffers, **hints):
        details = self.client.place(*buffers, verdicts=True, **hints).details
        return {device: (access, can) for device, access, can in details["verdicts"]}, details

    def test_every_device_whatever_the_candidates(self):
        told, details = self.verdicts("game", candidates=[IGPU])
        self.assertEqual(set(told), {IGPU, DGPU})
        self.assertEqual(told[DGPU][0], NATIVE)
        self.assertTrue(told[DGPU][1] & 1)
        self.assertEqual((details["home"], details["home-memory"]), (DGPU, "dedicated"))

    def test_bits_only_where_it_reaches(self):
        for buffer in ("game", "terminal", "heap"):
            for access, can in self.verdicts(buffer)[0].values():
                self.assertTrue(access in (NATIVE, IN_PLACE) or can == 0)

    def test_of_no_device(self):
        told, details = self.verdicts("heap")
        self.assertNotIn("home", details)
        self.assertEqual(details["home-memory"], "system")
        self.assertNotIn(NATIVE, [access for access, _ in told.values()])

    def test_explain_tells_them_too(self):
        details = self.client.place("game", explain=True).details
        self.assertEqual(sorted(details["verdicts"]), sorted(self.verdicts("game")[1]["verdicts"]))

    def test_not_asked_for(self):
        self.assertEqual(self.client.place("game", verdicts=False).details, {})


class Advice(BusTest):
    def test_the_exporters_own_memory_first(self):
        places = self.client.advise((DGPU, 1))[0]
        self.assertEqual(places[0], (DGPU, "dedicated", [NATIVE]))

    def test_what_both_reach(self):
        places = self.client.advise((DGPU, 4), (IGPU, 1))[0]
        self.assertTrue(places)
        for _, _, accesses in places:
            self.assertTrue(all(access in (UNKNOWN, NATIVE, IN_PLACE) for access in accesses), places)

    def test_candidates_only(self):
        for device, _, _ in self.client.advise((DGPU, 1), (IGPU, 1), candidates=[IGPU])[0]:
            self.assertEqual(device, IGPU)
        self.assertEqual(self.client.advise((DGPU, 1), candidates=[])[0], [])

    def test_defaults_do_not_apply(self):
        plain = self.client.advise((DGPU, 1))
        self.client.set_defaults(candidates=[], verdicts=True)
        self.assertEqual(self.client.advise((DGPU, 1)), plain)
