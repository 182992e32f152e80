"""A victim of attacks, and what it waits for: Places of a known buffer, measured against Pings to a service that does
nothing, which takes what the bus and the CPU take at that moment."""
import os
import pathlib
import subprocess
import time
from typing import NamedTuple

from client import PATIENCE
from harness import DGPU, BusTest

IDLE = pathlib.Path(__file__).with_name("idle_service.c")
# A pause of the host's comes by chance, and one of primed's in every pass: what most of the passes show counts.
PASSES = 5
# Seconds by which the slowest Place may be slower than the slowest Ping.
MARGIN = 0.05


class Times(NamedTuple):
    """Seconds that each Ping and each Place took; processes that ran or waited for a core beside us."""

    pings: list
    places: list
    running: list

    def crowd(self):
        """How many processes share a core, if it is more than one: a busy machine's compilers, for example."""
        return max(1, (1 + sum(self.running) / len(self.running)) / os.cpu_count())

    def __str__(self):
        return f"Ping {milliseconds(self.pings)}, Place {milliseconds(self.places)}"


def running():
    return int(pathlib.Path("/proc/loadavg").read_text().split()[3].split("/")[0]) - 1


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
        """So many Pings and Places, by turns."""
        times = Times([], [], [])
        for _ in range(rounds):
            times.running.append(running())
            times.pings.append(self.ping())
            times.places.append(self.place())
        return times

    def assert_undisturbed(self, quiet, rounds, was_attacked=lambda: True):
        """Most passes show a median within twice what it is without the attack, or what a Ping's has become, and no
        Place that is slower by more than MARGIN than the slowest Ping, or than what the host did without the attack.
        Where processes that are not ours share the cores it is as many times as much. `quiet`: `measure` without the
        attack. A pass in which nobody attacked, since the host let none, is no pass."""
        deadline = time.monotonic() + PATIENCE
        crowd, pause = quiet.crowd(), max(quiet.pings + quiet.places)
        print(f"      median, max in ms, without the attack: {quiet}; {crowd:.1f} processes a core", flush=True)
        good = bad = 0
        while max(good, bad) <= PASSES // 2:
            now = self.measure(rounds)
            slower = max(crowd, median(now.pings) / median(quiet.pings))
            is_good = (median(now.places) < 2 * slower * median(quiet.places)
                       and max(now.places) < max(pause, *now.pings) + MARGIN * crowd)
            print(f"      under attack: {now}: {'good' if is_good else 'bad'}", flush=True)
            if was_attacked():
                good, bad = good + is_good, bad + (not is_good)
            else:
                self.assertLess(time.monotonic(), deadline, "there was no attack")
        self.assertGreater(good, bad, "the victim waits")
