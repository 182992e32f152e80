"""A buffer that is not where it belongs when primed first looks at it: the state is not the intention.

The answers must come to the exporter's own device, `stable`, once the buffer was seen at home. Waits are
those that the answers themselves ask for (`recheck`).
"""
import subprocess
import time
import unittest

import broker
import gpus
from broker import IN_PLACE, NATIVE, STABLE, STATE
from gpus import TGPU_VRAM

MOST_LOOKS = 12


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    gpus.tgpu_parameter("mode", "honoured")
    broker.install()


class Eviction(unittest.TestCase):
    def setUp(self):
        self.broker = broker.Broker()
        self.owner, self.primary = gpus.gpus("tgpu")
        self.buffer = gpus.tgpu(TGPU_VRAM)
        self.addCleanup(self.broker.close)
        self.addCleanup(self.buffer.close)

    def place(self):
        return self.broker.explain(self.buffer, primary_device=self.primary.number)

    def place_until_settled(self):
        """Asks again whenever the answers say so, until one is settled."""
        answers = [self.place()]
        while "recheck" in answers[-1].details:
            self.assertLess(len(answers), MOST_LOOKS, [answer.confidence for answer in answers])
            time.sleep(int(answers[-1].details["recheck"]) / 1000)
            answers.append(self.place())
        return answers

    def test_asked_first_while_evicted(self):
        gpus.evict(self.buffer)
        first = self.place()
        self.assertEqual((first.device, first.access), (self.primary.number, IN_PLACE), first.details)
        self.assertLessEqual(first.confidence, STATE)
        self.assertIn("recheck", first.details)

        gpus.restore(self.buffer)
        time.sleep(int(first.details["recheck"]) / 1000)
        second = self.place_until_settled()[-1]
        self.assertEqual((second.device, second.access), (self.owner.number, NATIVE), second.details)
        self.assertEqual(second.confidence, STABLE, second.details)
        self.assertEqual(second.buffer, first.buffer)

    def test_the_first_look_after_the_return_is_right(self):
        gpus.evict(self.buffer)
        first = self.place()
        gpus.restore(self.buffer)
        time.sleep(int(first.details["recheck"]) / 1000)
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
            (gpus.evict if turn % 2 == 0 else gpus.restore)(self.buffer)
            answer = self.broker.explain(self.buffer, primary_device=self.primary.number, fresh=True)
            if turn:
                self.assertEqual((answer.device, answer.access), (self.owner.number, NATIVE), (turn, answer.details))
