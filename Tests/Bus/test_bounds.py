"""Whatever one user does, another one's known buffer is answered in about the time that the bus takes, and nothing of
the attack stays. The bus's queue for fds to primed (dbus-daemon: 64) is never so full that it refuses."""
import os
import pathlib
import select
import subprocess
import time

from client import NAME, PATIENCE
from harness import STRANGER, measures
from victims import VictimTest

ROUNDS = 200   # of a pass
# kB: tables that have grown to the attack's size, and pages of which a part is in use.
GROWTH = 512
ATTACKS = pathlib.Path(__file__).with_name("attacks.py")


@measures
class Bounds(VictimTest):
    def wait_for_memory(self, limit):
        """Until it has no more kB of its own: it gives them back a second after the last fd is closed."""
        deadline = time.monotonic() + PATIENCE
        while self.anonymous() > limit:
            self.assertLess(time.monotonic(), deadline, f"{self.anonymous()} kB of its own")
            select.select([], [], [], 0.05)

    def anonymous(self):
        return next(int(line.split()[1]) for line in open(f"/proc/{self.daemon.process.pid}/status")
                    if line.startswith("RssAnon"))

    def attack(self, kind, name):
        attacker = subprocess.Popen(
            ["/usr/bin/python3", "-c", ATTACKS.read_text(), kind, self.bus.address, name], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=STRANGER, group=STRANGER,
            extra_groups=[])
        self.assertEqual(attacker.stdout.readline(), "attacking\n")
        os.set_blocking(attacker.stdout.fileno(), False)
        return attacker

    def answers(self, attackers):
        """How many each had since this was asked last."""
        found = []
        for attacker in attackers:
            found.append(0)
            while select.select([attacker.stdout], [], [], 0)[0]:
                dots = os.read(attacker.stdout.fileno(), 65536)
                if not dots:
                    break
                found[-1] += len(dots)
        return found

    def attacked(self, kind):
        quiet, resident = self.measure(ROUNDS), self.anonymous()
        attackers = [self.attack(kind, name) for name in (NAME, "test.Idle")]
        self.answers(attackers)

        def was_attacked():
            meanwhile = self.answers(attackers)
            print(f"      attackers' answers: {meanwhile}", flush=True)
            return min(meanwhile) > 0

        self.assert_undisturbed(quiet, ROUNDS, was_attacked)
        for attacker in attackers:
            self.assertIsNone(attacker.poll(), "the attack ended early")
            self.assertEqual(attacker.communicate("")[1], "")
        self.daemon.wait_for_fds(self.fds_at_start)
        self.daemon.wait_for_threads(1)
        self.wait_for_memory(resident + GROWTH)

    def test_fresh_looks(self):
        self.attacked("fresh")

    def test_many_at_once(self):
        self.attacked("many")

    def test_nonsense(self):
        self.attacked("nonsense")

    def test_fds_that_no_body_names(self):
        self.attacked("unnamed")

    def test_properties(self):
        self.attacked("properties")

    def test_connections_that_come_and_go(self):
        self.attacked("come_and_go")
