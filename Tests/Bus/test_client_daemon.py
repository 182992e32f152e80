"""The C client library and the guard on a running primed of a simulated machine: candidates, verdicts, advice."""
import os
import pathlib
import stat
import subprocess
import tempfile

from client_library import LIBRARY, Driver
from client import IN_PLACE, MAY_MOVE, MOVES, NATIVE, PATIENCE, UNREACHABLE
from harness import DGPU, IGPU, PROJECT, BusTest, dev_t, laptop
from test_guard import HERE

SAMPLE, SCANOUT, CAPTURE = 1, 2, 4


class OnPrimed(BusTest):
    """A kernel without the flag."""

    scenario = laptop(kernel={"noMove": "ignored", "introspection": True}, steps=[{"unplug": "dgpu"}])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.built = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="primed-client-")))
        cls.built.chmod(0o755)
        subprocess.run(["gcc", "-std=c11", "-g", f"-I{LIBRARY}/include", "-fsanitize=address,undefined", "-o",
                        cls.built / "driver", HERE / "client_driver.c", *sorted(LIBRARY.glob("*.c")), "-lsystemd"],
                       check=True)
        subprocess.run([PROJECT / "systemd/build-client", cls.built], check=True)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", cls.built / "fake_drm.so", HERE / "fake_drm.c", "-ldl"],
                       check=True)
        subprocess.run(["gcc", "-std=gnu11", "-o", cls.built / "host", HERE / "guard_host.c", "-lsystemd", "-pthread"],
                       check=True)


class Library(OnPrimed):
    def setUp(self):
        super().setUp()
        self.driver = Driver(str(self.built / "driver"), self.bus.address, PATIENCE * 1000)
        self.addCleanup(self.driver.process.kill)

    def told(self, *words):
        self.driver.tell(*words)
        return self.driver.line()

    def access(self, device, name):
        """(access, bits)"""
        return tuple(map(int, self.told("access", str(device), name, "verdicts").split()[2:]))

    def test_verdicts(self):
        self.assertEqual(self.told("ask", "game", "verdicts"), f"game {DGPU} {NATIVE} asked")
        access, can = self.access(DGPU, "game")
        self.assertEqual((access, can & SAMPLE), (NATIVE, SAMPLE))
        self.assertEqual(self.access(dev_t(0), "game"), (access, can))
        access, can = self.access(IGPU, "game")
        self.assertIn(access, (MAY_MOVE, MOVES))
        self.assertEqual(can, 0)
        self.assertEqual(self.told("home", "game", "verdicts"), f"game home {DGPU} 1")

    def test_one_renderer(self):
        device, access = map(int, self.told("ask", "game", f"candidates={IGPU}").split()[1:3])
        self.assertEqual(device, IGPU)
        self.assertIn(access, (MAY_MOVE, MOVES))
        self.assertEqual(self.told("ask", "terminal", f"candidates={dev_t(1)}"), f"terminal {IGPU} {NATIVE} asked")

    def test_no_candidate(self):
        device, access = map(int, self.told("ask", "game", "candidates=").split()[1:3])
        self.assertEqual(device, 0)
        self.assertIn(access, (0, UNREACHABLE))

    def test_advice(self):
        words = self.told("advise", f"{DGPU}:{CAPTURE}", f"{IGPU}:{SAMPLE}").split()
        self.assertEqual(words[0], "advice")
        self.assertIn([words[3], words[4]], [[str(NATIVE), str(IN_PLACE)], [str(IN_PLACE), str(NATIVE)]])
        self.assertEqual(words[2], "2", "in system memory, where both reach it")

    def test_advice_about_a_stranger(self):
        self.assertEqual(self.told("advise", f"{dev_t(140)}:0"), "advice ENODEV")

    def test_a_device_that_goes_is_a_change(self):
        self.told("ask", "game", "verdicts")
        self.daemon.happen("unplug dgpu")
        self.assertEqual(self.driver.line(), "changed")


class Guard(OnPrimed):
    def imports(self, mode, *buffers):
        node = pathlib.Path(self.folder, "renderD128")
        if not node.exists():
            os.mknod(node, 0o666 | stat.S_IFCHR, IGPU)
        done = subprocess.run(
            [self.built / "host", mode, node, *buffers], capture_output=True, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, env={
                **os.environ, "LD_PRELOAD": f"{self.built}/libprimed-guard.so:{self.built}/fake_drm.so",
                "PRIMED_GUARD_BUS": self.bus.address, "PRIMED_GUARD_ALL": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_the_loop_of_the_flag(self):
        self.assertEqual(self.imports("flag", "game", "terminal", "heap"), ["game EINVAL", "terminal 100", "heap 100"])

    def test_programs_that_nobody_changed(self):
        self.assertEqual(self.imports("plain", "terminal", "heap"), ["terminal 100", "heap 100"])
