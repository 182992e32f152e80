"""Whatever one user does, another one's known buffer is answered in about the time that the bus takes, and nothing of
the attack stays. The measure is what a service that does nothing takes, under the same attack: the bus and the CPU are
everybody's. The bus's queue for fds to primed (dbus-daemon: 64) is never so full that it refuses."""
import os
import pathlib
import select
import subprocess
import time

from client import NAME, PATIENCE
from harness import DGPU, STRANGER, BusTest

ROUNDS = 400
# The host's pauses come by chance, and primed's at every attempt.
ATTEMPTS = 3
# Wanted of a Place: its p50 within twice what it is without the attack, and its p99 within 50 ms of a Ping's. PlaceMany of
# 64 items from all of a user's connections is beyond that, by as much as is reached here: seconds, p50 and p99.
BEYOND = {"many": (0.05, 0.3)}
ATTACKS = pathlib.Path(__file__).with_name("attacks.py")
IDLE = pathlib.Path(__file__).with_name("idle_service.c")


class Bounds(BusTest):
    def setUp(self):
        super().setUp()
        program = f"{self.folder}/idle"
        words = subprocess.run(["pkg-config", "--cflags", "--libs", "libsystemd"], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.split()
        subprocess.run(["cc", "-o", program, IDLE, *words], check=True)
        idle = subprocess.Popen([program, self.bus.address], stdout=subprocess.PIPE, text=True)
        self.addCleanup(idle.stdout.close)
        self.addCleanup(idle.wait)
        self.addCleanup(idle.kill)
        self.assertEqual(idle.stdout.readline(), "there\n")

    def times(self):
        """((p50, p99) of a Ping to who does nothing, of a Place of a known buffer): seconds."""
        ping, place = [], []
        for _ in range(ROUNDS):
            since = time.monotonic()
            self.client.call("org.freedesktop.DBus.Peer", "Ping", "", name="test.Idle", path="/")
            ping.append(time.monotonic() - since)
            since = time.monotonic()
            self.assertEqual(self.client.place("game").device, DGPU)   # a refusal is an error
            place.append(time.monotonic() - since)
        return [(sorted(one)[ROUNDS // 2], sorted(one)[ROUNDS * 99 // 100]) for one in (ping, place)]

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
        (quiet_ping, _), (quiet, _) = self.times()
        resident = self.anonymous()
        attackers = [self.attack(kind, name) for name in (NAME, "test.Idle")]
        for _ in range(ATTEMPTS):
            self.answers(attackers)
            (ping, longest_ping), (place, longest) = self.times()
            meanwhile = self.answers(attackers)
            print(f"      p50 p99 in ms: Ping {ping * 1e3:.2f} {longest_ping * 1e3:.1f}, Place {place * 1e3:.2f}"
                  f" {longest * 1e3:.1f}; without: {quiet_ping * 1e3:.2f}, {quiet * 1e3:.2f};"
                  f" attackers' answers: {meanwhile}")
            self.assertGreater(min(meanwhile), 0, "there was no attack")
            most, most_at_worst = BEYOND.get(kind, (2 * quiet * max(1, ping / quiet_ping), longest_ping + 0.05))
            is_bound = place < most and longest < most_at_worst
            if is_bound:
                break
        for attacker in attackers:
            self.assertIsNone(attacker.poll(), "the attack ended early")
            self.assertEqual(attacker.communicate("")[1], "")
        self.assertTrue(is_bound, "the victim waits")
        self.daemon.wait_for_fds(self.fds_at_start)
        self.daemon.wait_for_threads(1)
        self.wait_for_memory(resident + 1024)

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
