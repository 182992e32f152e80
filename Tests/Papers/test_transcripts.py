"""The READMEs' transcripts are what the programs print, and Tests/look works.

A transcript is an indented block with lines `$ COMMAND` and, below each, what it prints; a line `...`
stands for any number of lines. It is run by one shell on a bus of its own. A block with `sudo` is an
example for a machine with a GPU to spare: it is not run.
"""
import re
import unittest

from programs import PROJECT, output

MARK = "<next>"


def transcripts():
    """Lists of (command, lines that are expected), in the READMEs' order."""
    text = "\n".join((PROJECT / paper).read_text() for paper in ("README.md", "Sources/Simulation/README.md"))
    for block in re.findall(r"(?:^    .*\n)+", text, re.M):
        lines = [line[4:] for line in block.splitlines()]
        if not lines[0].startswith("$ ") or any(line.startswith("$ sudo ") for line in lines):
            continue
        script = []
        for line in lines:
            if line.startswith("$ "):
                script.append((line[2:], []))
            else:
                script[-1][1].append(line)
        yield script


def shell_script(script):
    """Each command's output with a mark behind it; a command with & is waited for on the bus."""
    for command, _ in script:
        if command.endswith("&"):
            yield f"{command[:-1]} >/dev/null 2>&1 &\ngdbus wait --session --timeout 10 org.primed.Broker1"
        else:
            yield command
        yield f"echo '{MARK}'"
    yield "kill $(jobs -p) 2>/dev/null; wait"


def matches(printed, expected):
    """Line by line; `...` is any number of lines."""
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "..." else re.escape(line.rstrip()) + "\n" for line in expected)
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in printed)) is not None


class Transcripts(unittest.TestCase):
    def test_readmes(self):
        scripts = list(transcripts())
        self.assertGreaterEqual(len(scripts), 6)
        for script in scripts:
            self.check(script)

    def check(self, script):
        printed = output("dbus-run-session", "--", "bash", "-c", "exec 2>&1\n" + "\n".join(shell_script(script)))
        # The bus may complain of its limits before anything runs.
        outputs = re.sub(r"^dbus-daemon\[.*\n", "", printed, flags=re.M).split(f"{MARK}\n")
        for (command, expected), text in zip(script, outputs, strict=False):
            with self.subTest(command=command):
                self.assertTrue(matches(text.splitlines(), expected),
                                f"README says\n{chr(10).join(expected)}\n--- and it prints\n{text}")

    def test_the_check_can_fail(self):
        self.assertTrue(matches(["a", "b", "c"], ["a", "..."]))
        self.assertFalse(matches(["a", "b"], ["a"]))
        self.assertFalse(matches(["b"], ["a", "..."]))


class Look(unittest.TestCase):
    def test_what_a_newcomer_sees(self):
        printed = output("dbus-run-session", "--", PROJECT / "Tests/look", "--inside")
        self.assertIn("$ primectl devices --bus session\n", printed)
        self.assertNotIn("(exit ", printed)
        self.assertNotIn("\nError", printed)
