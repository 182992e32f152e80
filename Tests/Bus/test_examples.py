"""The client library and the examples, against a running primed."""
import pathlib
import signal
import subprocess
import threading

import harness
from client import MAY_MOVE, NATIVE
from harness import DGPU, IGPU, PROJECT, BusTest, laptop

LIBRARY = PROJECT / "Sources/CPrimedClient"
EXAMPLES = PROJECT / "Tests/Examples"


class Examples(BusTest):
    leaves_daemon_running = False
    scenario = laptop(steps=[{"unplug": "dgpu"}])

    def run_example(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.splitlines()

    def built(self):
        """The C example, with the library's sources compiled as C99 without a warning."""
        program = f"{self.folder}/place"
        flags = self.run_example("pkg-config", "--cflags", "--libs", "libsystemd")[0].split()
        self.run_example("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-o", program,
                         f"-I{LIBRARY}/include", EXAMPLES / "place.c", *sorted(LIBRARY.glob("*.c")), *flags)
        return program

    def test_c(self):
        lines = self.run_example(self.built(), self.bus.address, IGPU, "game", "terminal")
        self.assertEqual(lines, [
            f"game {DGPU} {NATIVE} asked", f"game {DGPU} {NATIVE} cached",
            f"terminal {IGPU} {NATIVE} asked", f"terminal {IGPU} {NATIVE} cached"])

    def installed(self, libdir):
        """The library with all the rest, below a folder, as a distribution installs it."""
        programs, root = pathlib.Path(self.folder, "bin"), pathlib.Path(self.folder, "root")
        self.run_example(PROJECT / "systemd/build-client", programs)
        for name in ("primed", "primectl", "primed-introspect"):
            (programs / name).symlink_to(harness.primed.with_name(name))
        self.run_example("env", f"DESTDIR={root}", "PREFIX=/usr", f"LIBDIR={libdir}", PROJECT / "systemd/install",
                         "--bin", programs)
        return root

    def test_c_by_pkg_config(self):
        """As a compositor's build finds the installed library."""
        libdir = "/usr/lib/some-triplet"
        root = self.installed(libdir)
        flags = self.run_example("env", f"PKG_CONFIG_SYSROOT_DIR={root}", f"PKG_CONFIG_PATH={root}{libdir}/pkgconfig",
                                 "pkg-config", "--cflags", "--libs", "primed-client")[0].split()
        self.assertIn(f"-L{root}{libdir}", flags)
        self.run_example("gcc", "-std=c99", "-o", f"{self.folder}/linked", EXAMPLES / "place.c", *flags,
                         f"-Wl,-rpath,{root}{libdir}")
        lines = self.run_example(f"{self.folder}/linked", self.bus.address, IGPU, "game")
        self.assertEqual(lines, [f"game {DGPU} {NATIVE} asked", f"game {DGPU} {NATIVE} cached"])

    def test_c_without_primed(self):
        self.daemon.stop()
        lines = self.run_example(self.built(), self.bus.address, IGPU, "game")
        self.assertEqual(lines, [f"game {IGPU} {MAY_MOVE} default"] * 2)

    def test_c_leaks_nothing(self):
        checked = ("valgrind", "-q", "--leak-check=full", "--error-exitcode=9", "--track-fds=no")
        self.run_example(*checked, self.built(), self.bus.address, IGPU, "game")

    def test_python(self):
        lines = self.run_example("/usr/bin/python3", EXAMPLES / "place.py", self.bus.address, "game", "terminal")
        self.assertEqual(lines, [f"game {DGPU} {NATIVE}", f"terminal {IGPU} {NATIVE}"])

    def built_with(self, source, *packages, compiler=("gcc", "-std=gnu11")):
        program = f"{self.folder}/{source}.out"
        flags = self.run_example("pkg-config", "--cflags", "--libs", "libsystemd", *packages)[0].split()
        objects = [f"{self.folder}/{file.stem}.o" for file in sorted(LIBRARY.glob("*.c"))]
        for file, made in zip(sorted(LIBRARY.glob("*.c")), objects):
            self.run_example("gcc", "-std=c99", "-c", "-o", made, f"-I{LIBRARY}/include", file)
        self.run_example(*compiler, "-Wall", "-Wextra", "-Werror", "-fPIC", "-o", program, f"-I{LIBRARY}/include",
                         EXAMPLES / source, *objects, *flags)
        return program

    def test_wayland(self):
        program = self.built_with("wayland.c", "wayland-server")
        lines = self.run_example(program, self.bus.address, IGPU, "game")
        self.assertEqual(lines, [f"game {DGPU} {NATIVE} primed"])
        self.daemon.stop()
        self.assertEqual(self.run_example(program, self.bus.address, IGPU, "game"), [f"game {IGPU} {MAY_MOVE} default"])

    def test_glib(self):
        lines = self.run_example(self.built_with("glib.c", "glib-2.0"), self.bus.address, IGPU, "game")
        self.assertEqual(lines, [f"game {DGPU} {NATIVE} primed"])

    def test_qt(self):
        program = self.built_with("qt.cpp", "Qt5DBus", compiler=("g++", "-std=c++17"))
        lines = self.run_example(program, self.bus.address, IGPU, "game")
        self.assertEqual(lines, [f"library game {DGPU} {NATIVE}", f"qtdbus game {DGPU} {NATIVE}"])

    def test_by_hand(self):
        lines = self.run_example("/usr/bin/python3", EXAMPLES / "wire.py", self.bus.address, "game")
        self.assertEqual(lines[-1], f"game {DGPU} {NATIVE}")

    def test_swift(self):
        program = harness.primed.parent / "PlaceExample"
        lines = self.run_example(program, self.bus.address, IGPU, "game", "terminal")
        self.assertEqual(lines, [
            f"game {DGPU} {NATIVE} asked", f"game {DGPU} {NATIVE} cached",
            f"terminal {IGPU} {NATIVE} asked", f"terminal {IGPU} {NATIVE} cached"])

    def test_swift_explains(self):
        lines = self.run_example(harness.primed.parent / "PlaceExample", self.bus.address, IGPU, "--explain", "game")
        self.assertIn("rule: home-dedicated", lines)

    def test_swift_takes_a_question_back(self):
        """Of a primed that is stopped, and does not answer."""
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            lines = self.run_example(harness.primed.parent / "PlaceExample", self.bus.address, IGPU, "--cancel", "game")
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(lines, ["game cancelled"])

    def test_swift_hears_of_changes(self):
        program = harness.primed.parent / "PlaceExample"
        with subprocess.Popen([program, self.bus.address, str(IGPU), "--follow", "game"], text=True,
                              stdout=subprocess.PIPE) as process:
            timer = threading.Timer(60, process.kill)
            timer.start()
            self.assertEqual([process.stdout.readline().split()[1] for _ in range(2)], [str(DGPU)] * 2)
            self.assertEqual(process.stdout.readline(), "following\n")
            self.daemon.happen("unplug dgpu")
            last = process.stdout.read().splitlines()[-1]
            timer.cancel()
        self.assertEqual(process.returncode, 0)
        self.assertEqual(last.split()[:2], ["game", str(IGPU)])

    def test_swift_without_primed(self):
        self.daemon.stop()
        program = harness.primed.parent / "PlaceExample"
        lines = self.run_example(program, self.bus.address, IGPU, "game")
        self.assertEqual(lines, [f"game {IGPU} {MAY_MOVE} default"] * 2)
