"""The code for a compositor in README and in the library's README compiles without a warning and does what they say."""
import pathlib
import re
import subprocess

from client import PATIENCE
from harness import DGPU, IGPU, PROJECT, BusTest

LIBRARY = PROJECT / "Sources/CPrimedClient"


def blocks(path):
    return re.findall(r"^```c\n(.*?)^```", path.read_text(), re.M | re.S)


class Code(BusTest):
    leaves_daemon_running = False

    def built(self, name, *sources, **blocks):
        for header, text in blocks.items():
            pathlib.Path(self.folder, f"readme-{header}.h").write_text(text)
        flags = self.output("pkg-config", "--cflags", "--libs", "libsystemd").split()
        program = f"{self.folder}/{name}"
        self.output("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", f"-I{self.folder}",
                    f"-I{LIBRARY}/include", "-o", program, PROJECT / f"Tests/Bus/{name}.c", *sources, *flags)
        return program

    def output(self, *words):
        # A compiler may be slow.
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=6 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def check(self, program, without):
        ask = lambda buffer: self.output(program, self.bus.address, IGPU, buffer)
        self.assertEqual(ask("game"), f"game {DGPU}\n")
        self.assertEqual(ask("terminal"), f"terminal {IGPU}\n")
        self.daemon.stop()
        self.assertEqual(ask("game"), f"game {without}\n")

    def test_with_the_library(self):
        code = blocks(PROJECT / "README.md")[0]
        self.check(self.built("readme_library", *sorted(LIBRARY.glob("*.c")), library=code), IGPU)

    def test_without_the_library(self):
        functions, defaults = blocks(LIBRARY / "README.md")[-2:]
        self.check(self.built("readme", place=functions, defaults=defaults), 0)
