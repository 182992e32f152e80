"""libprimed-guard.so in a program (guard_host.c) over a driver that succeeds (fake_drm.c), with a primed that is played
here: what is imported, and that the program is not disturbed."""
import contextlib
import os
import pathlib
import re
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from jeepney import HeaderFields

import harness
from client_library import Server
from client import DEVICE, IN_PLACE, MAY_MOVE, MOVES, NATIVE, PATIENCE, UNKNOWN, UNREACHABLE
from harness import DGPU, IGPU, PROJECT, STRANGER
from slow_bus import SlowBus

HERE = pathlib.Path(__file__).resolve().parent
# What an import of each on the igpu does.
VERDICTS = {"own": NATIVE, "copy": IN_PLACE, "game": MOVES, "deadly": UNREACHABLE, "strange": UNKNOWN, "unsure": MAY_MOVE}
FLAGGED = {"own": "100", "copy": "100", "game": "EINVAL", "deadly": "EINVAL", "strange": "EINVAL", "unsure": "EINVAL"}
PLAIN = {"own": "100", "copy": "100", "game": "EINVAL", "deadly": "EINVAL", "strange": "100", "unsure": "100"}
UNGUARDED = dict.fromkeys(VERDICTS, "100")


class Player(threading.Thread):
    """A primed that answers by itself, and counts."""

    def __init__(self, address, objects=None):
        super().__init__(daemon=True)
        self.server = Server(address)
        if objects:
            self.server.objects = objects
        self.asked = []
        self.start()

    def run(self):
        try:
            while True:
                call = self.server.next_call(timeout=PATIENCE * 6)
                if call is None:
                    return
                plane = call.body[0][0]
                name = re.search("primed:([^ ]+)", os.readlink(f"/proc/self/fd/{plane.fileno()}"))[1]
                plane.close()
                self.asked.append((call.header.fields[HeaderFields.sender], name))
                access = VERDICTS[name]
                self.server.answer_call(call, DGPU, buffer=1 + list(VERDICTS).index(name), home=("t", DGPU), verdicts=(
                    "a(tuu)", [(DGPU, NATIVE, 1), (IGPU, access, int(access in (NATIVE, IN_PLACE)))]))
        except (OSError, ValueError, ConnectionError):
            return   # closed

    def close(self):
        self.server.close()


class Guarded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="primed-guard-")))
        cls.built.chmod(0o755)
        run = lambda *words: subprocess.run([str(word) for word in words], check=True)
        run(PROJECT / "systemd/build-client", cls.built)
        run("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", cls.built / "fake_drm.so",
            HERE / "fake_drm.c", "-ldl")
        cls.build_host("host")

    @classmethod
    def build_host(cls, name, *flags):
        subprocess.run(["gcc", "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", *flags, "-o", cls.built / name,
                        HERE / "guard_host.c", "-lsystemd", "-pthread"], check=True)

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="primed-bus-")))
        self.folder.chmod(0o755)
        log = self.enterContext(open(self.folder / "bus.log", "w+"))
        self.bus = harness.bus_kind(self.folder, log)
        self.addCleanup(lambda: self.bus.stop())
        self.player = Player(self.bus.address)
        self.addCleanup(lambda: self.player.close())
        self.node = self.folder / "renderD128"
        os.mknod(self.node, 0o666 | stat.S_IFCHR, IGPU)

    def environment(self, *, all=True, log=False, guard=True, more=()):
        preloaded = ([self.built / "libprimed-guard.so"] if guard else []) + [self.built / "fake_drm.so"]
        return {**os.environ, "LD_PRELOAD": ":".join(map(str, preloaded)), "PRIMED_GUARD_BUS": self.bus.address,
                "PRIMED_GUARD_ALL": "1" if all else "", "PRIMED_GUARD_LOG": "1" if log else "", **dict(more)}

    def run_host(self, mode, *buffers, program="host", wrapper=(), status=0, node=None, **how):
        """(lines of output, standard error)"""
        done = subprocess.run([*wrapper, self.built / program, mode, node or self.node, *buffers], capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL, env=self.environment(**how))
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout.splitlines(), done.stderr

    def imports(self, mode, *buffers, **how):
        lines, _ = self.run_host(mode, *(buffers or VERDICTS), **how)
        return dict(line.split() for line in lines)


class Imports(Guarded):
    def test_with_the_flag(self):
        self.assertEqual(self.imports("flag", all=False), FLAGGED)
        self.assertEqual(self.imports("flag"), FLAGGED)

    def test_without_the_flag(self):
        self.assertEqual(self.imports("plain"), PLAIN)

    def test_without_the_flag_and_without_all(self):
        self.assertEqual(self.imports("plain", all=False), UNGUARDED)
        self.assertEqual(self.player.asked, [])

    def test_other_flags_are_the_kernels(self):
        self.assertEqual(self.imports("bits", "own"), {"own": "104"})

    def test_where_the_kernel_heeds_the_flag_it_is_the_kernels(self):
        self.player.close()
        self.player = Player(self.bus.address, {"/d": {DEVICE: {
            "RenderDevice": ("t", IGPU), "PrimaryDevice": ("t", 0), "NoMove": ("s", "honoured")}}})
        self.assertEqual(self.imports("flag", "game"), {"game": "101"})
        self.assertEqual(self.imports("plain", "game"), {"game": "EINVAL"})

    def test_one_question_a_buffer(self):
        self.run_host("twice", *VERDICTS)
        self.assertEqual([name for _, name in self.player.asked], list(VERDICTS))

    def test_what_is_no_drm_node_is_not_asked_about(self):
        self.assertEqual(self.imports("flag", "game", node="/dev/null"), {"game": "101"})
        self.assertEqual(self.player.asked, [])

    def test_without_primed(self):
        self.player.close()
        lines, said = self.run_host("plain", *VERDICTS)
        self.assertEqual(dict(line.split() for line in lines), UNGUARDED)
        self.assertIn("primed-guard: primed can't be asked (primed does not run", said)
        self.assertEqual(set(self.imports("flag").values()), {"EINVAL"})

    def test_without_a_bus(self):
        for bus, why in (("unix:path=/nonexistent", "no bus: No such file"), ("session", "")):
            lines, said = self.run_host("plain", *VERDICTS, more={"PRIMED_GUARD_BUS": bus})
            self.assertEqual(dict(line.split() for line in lines), UNGUARDED)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertRegex(said, rf"^primed-guard: primed can't be asked \({why}.+\): imports with the flag fail")

    def test_primed_that_comes_and_goes(self):
        self.player.close()
        with subprocess.Popen([self.built / "host", "wait", self.node, "game"], env=self.environment(), text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
            def until(answer):
                for _ in range(1000):
                    host.stdin.write("\n")
                    host.stdin.flush()
                    if host.stdout.readline() == answer:
                        return
                self.fail(f"never {answer}")
            self.assertEqual(host.stdout.readline(), "game 100\n")
            self.player = Player(self.bus.address)
            until("game EINVAL\n")
            self.player.close()
            until("game 100\n")
            host.stdin.close()
        self.assertEqual(host.returncode, 0)

    @contextlib.contextmanager
    def waiting_host(self, bus):
        """A function that has a program on that bus import once more, and returns what came of it."""
        with subprocess.Popen([self.built / "host", "wait", self.node, "game"], text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=self.environment(more={"PRIMED_GUARD_BUS": bus})) as host:
            def again():
                host.stdin.write("\n")
                host.stdin.flush()
                return host.stdout.readline().split()[1]
            self.first = host.stdout.readline().split()[1]
            yield again
            host.stdin.close()
        self.assertEqual(host.returncode, 0)

    def slow_bus(self):
        slow = SlowBus(self.folder, self.bus)
        self.addCleanup(slow.close)
        return slow

    def test_a_bus_that_authenticates_late(self):
        """The first import does not wait for it longer than its time; the first after it has finds primed there."""
        slow = self.slow_bus()
        with self.waiting_host(slow.address) as again:
            self.assertEqual(self.first, "100")
            slow.let_go()
            self.assertEqual(again(), "EINVAL")

    def test_a_bus_that_hangs_up_while_it_authenticates(self):
        """The import that connects anew finds primed there."""
        slow = self.slow_bus()
        with self.waiting_host(slow.address) as again:
            self.assertEqual(self.first, "100")
            slow.hang_up()
            slow.held = False
            for _ in range(100_000):
                came = again()
                if slow.count == 2:
                    break
                self.assertEqual(came, "100")
            self.assertEqual(came, "EINVAL")

    def test_a_bus_that_never_authenticates_costs_the_first_import_its_time(self):
        with self.waiting_host(self.slow_bus().address) as again:
            since = time.monotonic()
            self.assertEqual({again() for _ in range(100)}, {"100"})
            self.assertLess(time.monotonic() - since, 5)

    def test_a_deadline_for_its_host_is_not_its_own(self):
        """Of sd-bus, for all calls: what is asked by the guard is read when the program imports next."""
        self.assertEqual(self.imports("plain", more={"SYSTEMD_BUS_TIMEOUT": "1us"}), PLAIN)

    def test_log(self):
        _, said = self.run_host("twice", "game", "own", log=True)
        self.assertEqual(said.splitlines(), [
            "primed-guard: renderD128 imports a buffer of renderD129: moves, refused, 4096 bytes stay",
            "primed-guard: renderD128 imports a buffer of renderD129: native, let through, 4096 bytes stay"] * 2 + [
            "primed-guard: 4 imports",
            "DEVICE       EXPORTER     ACCESS       DONE            COUNT          BYTES         STAYED",
            "renderD128   renderD129   moves        refused             2           8192           8192",
            "renderD128   renderD129   native       let through         2           8192           8192"])

    def test_log_alone_refuses_nothing(self):
        """It shows what imports do; of the flag it makes what it always makes."""
        lines, said = self.run_host("plain", *VERDICTS, all=False, log=True)
        self.assertEqual(dict(line.split() for line in lines), UNGUARDED)
        ends = dict(own="4096", copy="4096", game="0", deadly="?", strange="?", unsure="?")
        rows = said.splitlines()[-len(VERDICTS):]
        self.assertEqual([row.split()[-1] for row in rows], list(ends.values()), said)
        self.assertIn("moves, let through, 4096 bytes move\n", said)
        self.assertIn("unknown, let through, 4096 bytes may move\n", said)
        lines, said = self.run_host("flag", *VERDICTS, all=False, log=True)
        self.assertEqual(dict(line.split() for line in lines), FLAGGED)


class Host(Guarded):
    """It is not disturbed."""

    def test_threads(self):
        lines, _ = self.run_host("threads", *VERDICTS)
        mine = sum(PLAIN[name] == "100" for _, name in zip(range(100), list(VERDICTS) * 100))
        self.assertEqual(lines, [str(8 * mine)])
        self.assertEqual(len(self.player.asked), len(VERDICTS))

    def test_fork(self):
        lines, _ = self.run_host("fork", "game", "own")
        self.assertEqual(sorted(lines), ["game EINVAL"] * 4 + ["own 100"] * 4)
        self.assertEqual(len({sender for sender, _ in self.player.asked}), 2)

    def test_exec(self):
        lines, _ = self.run_host("exec", "game")
        self.assertEqual((lines[0], lines[2]), ("game EINVAL", "fds"))

    def test_fds_are_high(self):
        lines, _ = self.run_host("exec", "game")
        fds = [int(fd) for fd in lines[1].split()[1:]]
        self.assertEqual(len(fds), 4)
        self.assertTrue(all(fd >= 900 for fd in fds), fds)

    def test_few_fds(self):
        lines, _ = self.run_host("exec", "game", wrapper=("prlimit", "--nofile=64"))
        fds = [int(fd) for fd in lines[1].split()[1:]]
        self.assertTrue(fds and all(32 <= fd < 64 for fd in fds), fds)

    def test_signals(self):
        self.assertEqual(self.run_host("signals", "own")[0], ["done"])

    def test_a_host_that_closes_all(self):
        lines, _ = self.run_host("closed", "game", "own")
        self.assertEqual(lines, ["game EINVAL", "own 100"] * 2 + ["empty"])

    def test_a_filter(self):
        lines, said = self.run_host("seccomp", "game")
        self.assertEqual(lines, ["game EINVAL", "game 100", "game 100"])
        self.assertEqual(said.count("system call filter"), 1)

    def test_a_filter_that_ends_a_program_for_calls_that_are_not_its_own(self):
        for setter in ("prctl", "syscall"):
            with self.subTest(setter):
                lines, said = self.run_host("strict", "game", more={"SETTER": setter})
                self.assertEqual(lines, ["game EINVAL", "game 100", "game 100"])
                self.assertEqual(said.count("system call filter"), 1)

    def test_a_filter_that_was_there_before(self):
        """As in a container: primectl guard says whether the program begins below one."""
        lines, said = self.run_host("below", "game", more={"PRIMED_GUARD_FILTERED": "1"})
        self.assertEqual((lines, said), (["game EINVAL"], ""))
        lines, said = self.run_host("below", "game")
        self.assertEqual(lines, ["game 100"])
        self.assertEqual(said.count("system call filter"), 1)

    def test_a_host_with_a_bus_of_its_own(self):
        self.assertEqual(self.run_host("bus", "game", "own")[0], ["game EINVAL", "own 100"] * 2)

    def test_a_setuid_program(self):
        """It is not loaded there: the linker takes no paths from others' environments."""
        program = self.built / "setuid"
        program.write_bytes((self.built / "host").read_bytes())
        program.chmod(0o4755)
        done = subprocess.run([program, "plain", "/dev/null", "game"], user=STRANGER, group=STRANGER, extra_groups=[],
                              env=self.environment(), capture_output=True, text=True)
        self.assertEqual(done.stdout, "game EBADF\n")
        done = subprocess.run([self.built / "host", "plain", "/dev/null", "game"], user=STRANGER, group=STRANGER,
                              extra_groups=[], env=self.environment(), capture_output=True, text=True)
        self.assertEqual(done.stdout, "game 100\n")

    def test_valgrind(self):
        """It has nothing to say; that slow an answer may come too late, which is no error."""
        for mode in ("plain", "fork", "threads"):
            self.run_host(mode, "game", "own", wrapper=("valgrind", "-q", "--error-exitcode=9"))

    def test_the_address_sanitizer(self):
        self.build_host("asan", "-fsanitize=address")
        lines, _ = self.run_host("fork", "game", program="asan", more={"ASAN_OPTIONS": "verify_asan_link_order=0"})
        self.assertEqual(lines, ["game EINVAL"] * 4)

    def test_symbols(self):
        guard = self.built / "libprimed-guard.so"
        names = subprocess.run(["nm", "-D", "--defined-only", guard], capture_output=True, text=True, check=True).stdout
        self.assertEqual([line.split()[-1] for line in names.splitlines()], ["ioctl", "prctl", "syscall"])

    def test_no_constructor_of_its_own(self):
        """What runs when it is loaded is the compiler's alone."""
        objects = subprocess.run(["readelf", "-SW", self.built / "libprimed-guard.so"], capture_output=True, text=True,
                                 check=True).stdout
        size = re.search(r"\.init_array\s+INIT_ARRAY\s+\w+\s+\w+\s+(\w+)", objects)[1]
        self.assertEqual(int(size, 16), 8, "frame_dummy, and no more")
        self.run_host("fds", "game")
        self.assertEqual(self.player.asked, [])

    def test_other_ioctls_take_no_time(self):
        """20 ns more at most."""
        least = {guard: float(self.run_host("time", guard=guard)[0][0]) for guard in (True, False)}
        print(f"      another ioctl: {least[True] - least[False]:.1f} ns more with the guard", flush=True)
        self.assertLessEqual(least[True] - least[False], 20)

    def test_other_ioctls_cost_nothing(self):
        """In instructions, which are the same on every machine."""
        def count(times, guard):
            file = self.folder / f"out-{times}-{guard}"
            self.run_host("ioctls", node=str(times), guard=guard,
                          wrapper=("valgrind", "--tool=callgrind", f"--callgrind-out-file={file}"))
            return int(re.search(r"^(?:totals|summary): (\d+)", file.read_text(), re.M)[1])
        each = {guard: (count(11_000, guard) - count(1_000, guard)) / 10_000 for guard in (True, False)}
        self.assertLessEqual(each[True] - each[False], 40)
