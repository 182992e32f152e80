"""README's code for a compositor compiles without a warning and does what README says."""
import pathlib
import re
import subprocess

from harness import DGPU, IGPU, PATIENCE, PROJECT, BusTest


class Readme(BusTest):
    leaves_daemon_running = False

    def setUp(self):
        super().setUp()
        functions, defaults = re.findall(r"^```c\n(.*?)^```", (PROJECT / "README.md").read_text(), re.M | re.S)[:2]
        pathlib.Path(self.folder, "readme-place.h").write_text(functions)
        pathlib.Path(self.folder, "readme-defaults.h").write_text(defaults)
        flags = self.output("pkg-config", "--cflags", "--libs", "libsystemd").split()
        self.output("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
                    f"-I{self.folder}", "-o", f"{self.folder}/readme", PROJECT / "Tests/Bus/readme.c", *flags)

    def output(self, *words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def ask(self, buffer):
        return self.output(f"{self.folder}/readme", self.bus.address, IGPU, buffer)

    def test_it_places(self):
        self.assertEqual(self.ask("game"), f"game {DGPU}\n")
        self.assertEqual(self.ask("terminal"), f"terminal {IGPU}\n")

    def test_without_primed_it_goes_on(self):
        self.daemon.stop()
        self.assertEqual(self.ask("game"), "game 0\n")
