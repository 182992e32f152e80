"""A buffer that is not where it belongs when primed first looks at it: the state is not the intention (Michel
Dänzer, dri-devel, 2024-10-13).

Where the flag works the answers must come to the exporter's own device, `stable`, once the buffer was seen
at home. Where it is ignored nothing is known of tgpu's buffers, and nothing may keep them from going home.
Waits are those that the answers themselves ask for (`recheck`).
"""
import subprocess
import time
import unittest

import broker
import gpus
import kernel
from client import GUESS, IN_PLACE, MAY_MOVE, NATIVE, STABLE, STATE, Client
from gpus import RADEON_GTT, TGPU_SYSTEM, TGPU_VRAM

MOST_LOOKS = 12


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    broker.unpack_without_introspection()


def until_recheck(answer):
    """The pause that the contract asks for: no event ends it, and who asks earlier gets the same answer without a
    look."""
    time.sleep(answer.details["recheck"] / 1000)


class Case(unittest.TestCase):
    mode = None

    @classmethod
    def setUpClass(cls):
        gpus.tgpu_parameter("mode", cls.mode)
        broker.restart()

    def setUp(self):
        self.broker = Client()
        self.owner, self.primary = gpus.gpus("tgpu")
        self.buffer = gpus.tgpu(TGPU_VRAM)
        self.addCleanup(self.broker.close)
        self.addCleanup(self.buffer.close)
        with gpus.plain() as buffer:   # primed has tried the flag when this is answered
            self.broker.place(buffer)

    def restore(self):
        # radeon, as an importer, detaches a little after the close, and holds the buffer until then.
        kernel.until(lambda: kernel.tgpu_info(self.buffer)[3] == 0, "no attachment")
        gpus.restore(self.buffer)

    def evict_or_restore(self, turn):
        self.restore() if turn % 2 else gpus.evict(self.buffer)

    def place(self):
        return self.broker.explain(self.buffer, primary_device=self.primary.number)

    def place_until_settled(self):
        """Asks again whenever the answers say so, until one is settled."""
        answers = [self.place()]
        while "recheck" in answers[-1].details:
            self.assertLess(len(answers), MOST_LOOKS, [answer.confidence for answer in answers])
            until_recheck(answers[-1])
            answers.append(self.place())
        return answers


class FlagWorks(Case):
    def test_asked_first_while_evicted(self):
        gpus.evict(self.buffer)
        first = self.place()
        self.assertEqual((first.device, first.access), (self.primary.number, IN_PLACE), first.details)
        self.assertLessEqual(first.confidence, STATE)
        self.assertIn("recheck", first.details)

        self.restore()
        until_recheck(first)
        second = self.place_until_settled()[-1]
        self.assertEqual((second.device, second.access), (self.owner.number, NATIVE), second.details)
        self.assertEqual(second.confidence, STABLE, second.details)
        self.assertEqual(second.buffer, first.buffer)

    def test_the_first_look_after_the_return_is_right(self):
        gpus.evict(self.buffer)
        first = self.place()
        self.restore()
        until_recheck(first)
        changed = self.broker.signals("PlacementChanged")
        self.addCleanup(changed.close)
        second = self.place()
        if second.device != self.owner.number:   # answered at once, and looked at behind
            _, device, access, _ = changed.wait(lambda buffer, *_: buffer == first.buffer)
            self.assertEqual((device, access), (self.owner.number, NATIVE))

    def test_asked_first_while_at_home(self):
        first = self.place_until_settled()
        self.assertEqual((first[-1].device, first[-1].confidence), (self.owner.number, STABLE), first[-1].details)
        gpus.evict(self.buffer)
        second = self.broker.explain(self.buffer, primary_device=self.primary.number, fresh=True)
        self.assertEqual((second.device, second.access), (self.owner.number, NATIVE), second.details)
        self.assertGreaterEqual(second.confidence, STABLE)

    def test_ping_pong_settles_on_its_home(self):
        for turn in range(100):
            self.evict_or_restore(turn)
            answer = self.broker.explain(self.buffer, primary_device=self.primary.number, fresh=True)
            if turn:
                self.assertEqual((answer.device, answer.access), (self.owner.number, NATIVE), (turn, answer.details))
        settled = self.place()
        self.assertEqual((settled.device, settled.access, settled.confidence), (self.owner.number, NATIVE, STABLE))
        self.assertNotIn("recheck", settled.details)
        self.assertEqual(kernel.tgpu_info(self.buffer)[0], TGPU_VRAM, "where the last turn brought it")

    def test_a_linear_copy_in_system_memory_is_for_the_other_device(self):
        """DRI_PRIME. With tgpu here the flag shows only the state: test_pairs has the record's word."""
        for make in (lambda: gpus.radeon(RADEON_GTT), lambda: gpus.tgpu(TGPU_SYSTEM)):
            with make() as copy:
                answer = self.broker.explain(copy, primary_device=self.primary.number)
                self.assertEqual((answer.device, answer.access), (self.primary.number, IN_PLACE), answer.details)
                self.assertEqual((answer.confidence, answer.details["residency"]), (STATE, "system"))


class Honoured(FlagWorks):
    mode = "honoured"


class Validated(FlagWorks):
    mode = "validated"


class Ignored(Case):
    """Mainline."""
    mode = "ignored"

    def test_nothing_is_tried_and_the_way_home_stays_free(self):
        for turn in range(10):
            self.evict_or_restore(turn)
            before = kernel.tgpu_count("attempts")
            answer = self.broker.explain(self.buffer, primary_device=self.primary.number, fresh=True)
            self.assertEqual(kernel.tgpu_count("attempts"), before)
            self.assertEqual((answer.device, answer.access, answer.confidence),
                             (self.primary.number, MAY_MOVE, GUESS), answer.details)
            self.assertEqual(answer.details["rule"], "fallback")
        self.assertEqual(kernel.tgpu_info(self.buffer)[0], TGPU_VRAM)
        self.assertEqual(kernel.tgpu_info(self.buffer)[3], 0, "nobody is attached")


del FlagWorks, Case   # only what names a mode is run
