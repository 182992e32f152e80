"""One user at its limit changes nothing for another: neither answers nor, beyond what the bus and the CPU
that they share cost, their times. All times of a comparison are of one run, with the flood and without."""
import contextlib
import json
import pathlib
import pwd
import subprocess
import sys
import unittest

import broker
import gpus
import victim
from client import Client

PROGRAM = pathlib.Path(__file__).with_name("victim.py")
DROP_IN = pathlib.Path("/run/systemd/system/primed.service.d/quotas.conf")
FLOODER, VICTIM = "nobody", "games"
# What logind writes of users who sit at the machine: others can't have a known buffer looked at again.
SEAT = pathlib.Path("/run/systemd/seats/seat0")
CACHE = 64          # buffers
# Of the flooder: more buffers than fit in the cache, each asked about anew; all of them pile up at a device
# that takes DELAY ms for an import.
BUFFERS, WINDOW = 100, 30
DELAY = 4
ROUNDS, QUESTIONS = 1, 60


def setUpModule():
    subprocess.run(["load-drivers", "tgpu", "vgem"], check=True)
    broker.unpack_without_introspection()
    SEAT.parent.mkdir(parents=True, exist_ok=True)
    SEAT.write_text("ACTIVE_UID=" + " ".join(str(pwd.getpwnam(user).pw_uid) for user in (FLOODER, VICTIM)) + "\n")
    unittest.addModuleCleanup(SEAT.unlink, missing_ok=True)
    pathlib.Path("/parcel").chmod(0o755)   # others read the tests, too
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text(f"[Service]\nExecStart=\nExecStart=/usr/local/bin/primed --cache {CACHE}\n")
    broker.command("systemctl", "daemon-reload")
    broker.restart()


def run_as(user, *words, buffers, **how):
    fds = [buffer.fd for buffer in buffers]
    return subprocess.Popen([sys.executable, "-B", PROGRAM, *map(str, words), *map(str, fds)], pass_fds=fds,
                            user=user, group="nogroup", extra_groups=[], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, **how)


class Flood(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.theirs = [stack.enter_context(gpus.plain()) for _ in range(BUFFERS)]
        cls.mine = [stack.enter_context(gpus.tgpu(gpus.TGPU_VRAM)), stack.enter_context(gpus.plain())]
        slow = gpus.gpu("tgpu", 1)
        slow.attribute("import_delay_ms", DELAY)
        stack.callback(slow.attribute, "import_delay_ms", 0)
        cls.quiet, cls.flooded, cls.statistics = [], [], []
        for _ in range(ROUNDS):
            cls.quiet.append(cls.ask())
            with cls.flood():
                cls.flooded.append(cls.ask())
                cls.statistics.append(Client().get("Statistics"))

    @classmethod
    def ask(cls):
        out, _ = run_as(VICTIM, "ask", QUESTIONS, buffers=cls.mine).communicate(timeout=150)
        return json.loads(out)

    @classmethod
    @contextlib.contextmanager
    def flood(cls):
        flooder = run_as(FLOODER, "flood", WINDOW, buffers=cls.theirs)
        assert flooder.stdout.readline() == "flooding\n", "no flood"
        yield
        flooder.communicate(timeout=60)
        assert flooder.returncode == 0, "the flood ended early"

    def test_the_flood_was_one(self):
        for counters in self.statistics:
            self.assertEqual(counters["cached-buffers"], CACHE)
        self.assertGreater(max(counters["pending-queries"] for counters in self.statistics), 10)

    def test_answers_are_the_same(self):
        for seen in (*self.quiet, *self.flooded):
            self.assertEqual(seen["changed"], [])
        self.assertEqual({device["State"] for device in Client().devices().values()}, {"ready"})

    def test_nothing_is_forgotten(self):
        self.assertEqual([seen["forgotten"] for seen in self.flooded], [0] * ROUNDS)

    def times(self, rounds, kind):
        """(p50, p90) in seconds, of Pings and of this kind of question: of so few, the slowest one is the guest's chance."""
        found = []
        for name in ("ping", kind):
            each = sorted(one for seen in rounds for one in seen[name])
            found.append((each[len(each) // 2], each[len(each) * 9 // 10]))
        print(f"      {kind}, p50 p90 in ms: Ping", *(f"{one * 1e3:.2f}" for one in found[0]),
              "Place", *(f"{one * 1e3:.2f}" for one in found[1]))
        return found

    def test_times_of_what_is_known(self):
        """At most what the flood adds to a Ping, which is the bus's and the CPU's; and nine of ten come no later
        than what is not known comes without a flood, which is to say that they wait for nobody's import."""
        (ping, quiet), (flooded_ping, flooded) = (self.times(rounds, "warm") for rounds in (self.quiet, self.flooded))
        self.assertLess(flooded[0], 1.5 * quiet[0] * max(1, flooded_ping[0] / ping[0]))
        _, cold = self.times(self.quiet, "cold")
        self.assertLess(flooded[1], cold[0] * max(1, flooded_ping[1] / ping[1]))

    def test_times_of_what_is_not(self):
        """Each import waits for one of the flooder's, which may just have begun, and not for all that wait: as a
        rule, and nine of ten no longer than everybody would if it did."""
        (_, quiet), (ping, flooded) = (self.times(rounds, "cold") for rounds in (self.quiet, self.flooded))
        all_that_wait = victim.CONNECTIONS * WINDOW * DELAY / 1000
        self.assertLess(flooded[0], quiet[0] + all_that_wait / 4)
        self.assertLess(flooded[1], quiet[1] + all_that_wait + ping[1])
