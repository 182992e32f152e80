"""Looks at buffers that change while they are looked at: an answer is right, or says that it can't be given."""
import collections
import contextlib
import os
import subprocess
import threading
import unittest

import gpus
import introspection
from gpus import RADEON_VRAM, TGPU_VRAM
from introspection import CHANGED, DEDICATED, DEVICE, NO_FD, NONE, SYSTEM, UNKNOWN_MEMORY

PACE = "real"
LOOKS = 200_000   # of each test

Answer = collections.namedtuple("Answer", "position status card render registered residency preferred")


def setUpModule():
    global PROGRAM
    PROGRAM = introspection.set_up()


class Churn:
    """Does something again and again in a thread, and counts."""

    def __init__(self, step):
        self.step, self.count, self.ending = step, 0, False
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ending:
            self.step()
            self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()


class Races(unittest.TestCase):
    def look(self, count, *words, fds):
        """{Answer: how often} of `count` looks."""
        done = subprocess.run(["/parcel/bin/looks", str(PROGRAM.fd), str(count), *words, *map(str, fds)],
                              pass_fds=[PROGRAM.fd, *fds], stdout=subprocess.PIPE, text=True, check=True)
        *lines, time = done.stdout.splitlines()
        found = {}
        for line in lines:
            *answer, often = map(int, line.split())
            found[Answer(*answer)] = found.get(Answer(*answer), 0) + often
        print(f"      {self.id().rsplit('.')[-1]}: {time}: {found}", flush=True)
        return found

    def check(self, found, buffers, residencies):
        """Each that is an answer is right; nearly all are."""
        good = 0
        for answer, often in found.items():
            if answer.status == CHANGED:
                continue
            good += often
            gpu = buffers[answer.position]
            self.assertEqual(answer.status, DEVICE, answer)
            self.assertEqual((introspection.node(answer.card), introspection.node(answer.render)),
                             (gpu.card_number, gpu.number), answer)
            self.assertIn(answer.residency, residencies, answer)
            self.assertEqual((answer.registered, answer.preferred), (1, DEDICATED), answer)
        return good

    def test_eviction(self):
        """tgpu buffers put out of their memory and back, radeon ones pushed out by others."""
        with contextlib.ExitStack() as stack:
            buffers = [stack.enter_context(make()) for make in
                       (lambda: gpus.tgpu(TGPU_VRAM, 0), lambda: gpus.tgpu(TGPU_VRAM, 1),
                        lambda: gpus.radeon(RADEON_VRAM, 1 << 20))]

            def evict():
                for buffer in buffers[:2]:
                    gpus.evict(buffer)
                    gpus.restore(buffer)

            def press():
                with contextlib.ExitStack() as pressure:
                    for _ in range(4):
                        pressure.enter_context(gpus.radeon(RADEON_VRAM, 4 << 20))
            with Churn(evict) as evicting, Churn(press) as pressing:
                found = self.look(LOOKS, fds=[buffer.fd for buffer in buffers])
            self.assertGreater(evicting.count, 100)
            self.assertGreater(pressing.count, 2)
            good = self.check(found, [buffer.exporter for buffer in buffers], (DEDICATED, SYSTEM, UNKNOWN_MEMORY))
            self.assertGreater(good, LOOKS * 0.95)
            seen = {(answer.position, answer.residency) for answer in found}
            self.assertLessEqual({(0, DEDICATED), (0, SYSTEM), (1, DEDICATED), (1, SYSTEM), (2, SYSTEM)}, seen)

    def test_attachments_come_and_go(self):
        with gpus.tgpu(TGPU_VRAM, 0) as one, gpus.tgpu(TGPU_VRAM, 1) as other:
            nodes = [gpus.gpu(name).open() for name in ("vgem", "vkms", "cirrus")]
            for node in nodes:
                self.addCleanup(os.close, node)

            def churn():
                for node in nodes:
                    gpus.try_import(node, one)
                    gpus.try_import(node, other)
            with Churn(churn) as churning:
                found = self.look(LOOKS, fds=[one.fd, other.fd])
            self.assertGreater(churning.count, 100)
            good = self.check(found, [one.exporter, other.exporter], (DEDICATED, SYSTEM))
            self.assertGreater(good, LOOKS * 0.95)

    def test_descriptors_are_closed_and_used_again(self):
        """The buffer that the fd names is freed, and another of another device is there, while it is looked at."""
        owners = gpus.gpus("tgpu")
        nodes = [gpu.open() for gpu in owners]
        for node in nodes:
            self.addCleanup(os.close, node)
        found = self.look(LOOKS, "reused", fds=nodes)
        # No inode: there was no buffer when it was asked for.
        absent = {answer: often for answer, often in found.items() if answer.status in (NO_FD, NONE)}
        rest = {answer: often for answer, often in found.items() if answer not in absent}
        self.assertGreater(self.check(rest, owners, (DEDICATED,)), 1000)
        self.assertIn(CHANGED, {answer.status for answer in rest})
        self.assertLessEqual({answer.status for answer in absent}, {NO_FD})
