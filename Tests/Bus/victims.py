"""A victim of attacks, and what it waits for: Places of a known buffer, measured against Pings to a service that does
nothing, which takes what the bus and the CPU take at that moment."""
import os
import pathlib
import subprocess
import time

from harness import DGPU, BusTest

IDLE = pathlib.Path(__file__).with_name("idle_service.c")
# A pause of the host's comes by chance, and one of primed's in every pass: what most of the passes show counts.
PASSES = 5
# Seconds by which the slowest Place may be slower than the slowest Ping.
MARGIN = 0.05


def median(times):
    return sorted(times)[len(times) // 2]


def milliseconds(times):
    return f"{median(times) * 1e3:.2f} {max(times) * 1e3:.1f}"


class VictimTest(BusTest):
    """`client` is the victim; "test.Idle" does nothing."""

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

    def ping(self):
        since = time.monotonic()
        self.client.call("org.freedesktop.DBus.Peer", "Ping", "", name="test.Idle", path="/")
        return time.monotonic() - since

    def place(self, **hints):
        since = time.monotonic()
        self.assertEqual(self.client.place("game", **hints).device, DGPU)   # a refusal is an error
        return time.monotonic() - since

    def measure(self, rounds):
        """Seconds that so many Pings and Places took, by turns."""
        pings, places = [], []
        for _ in range(rounds):
            pings.append(self.ping())
            places.append(self.place())
        return pings, places

    def assert_undisturbed(self, quiet, rounds, check=lambda: None):
        """Most passes show a median within twice what it is without the attack, or what a Ping's has become, and no
        Place that is slower by more than MARGIN than the slowest Ping, or than what the host did without the attack.
        `quiet`: `measure` without the attack."""
        pause = max(*quiet[0], *quiet[1])
        good = bad = 0
        while max(good, bad) <= PASSES // 2:
            pings, places = self.measure(rounds)
            slower = max(1, median(pings) / median(quiet[0]))
            print(f"      median, max in ms: Ping {milliseconds(pings)}, Place {milliseconds(places)};"
                  f" without: {milliseconds(quiet[0])}, {milliseconds(quiet[1])}", flush=True)
            is_good = median(places) < 2 * slower * median(quiet[1]) and max(places) < max(pause, *pings) + MARGIN
            good, bad = good + is_good, bad + (not is_good)
            check()
        self.assertGreater(good, bad, "the victim waits")
