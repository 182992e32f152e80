"""What primectl shows: on terminals of all kinds, as pictures, as a page in a browser.

Tests/Papers/pictures makes PNGs of it all, to be looked at.
"""
import json
import pathlib
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ET

from programs import ENVIRONMENT, output
from test_completions import Terminal

SVG = "{http://www.w3.org/2000/svg}"
# What primectl shows on one page, each as a command.
SHOWN = ["primectl", "primectl devices", "primectl matrix", "primectl topology", "primectl doctor --all",
         "primectl explain --buffer game --hint primary-device=i915", "primectl status"]


def simulated(machine, *commands, status=0, **environment):
    """What the commands print on a bus with primed on it; `$log` is primed's log."""
    script = (f"log=$(mktemp); primed --bus session --simulate {machine} 2>$log & primed=$!\n"
              "gdbus wait --session --timeout 10 org.primed.Broker1\n"
              + "\n".join(commands) + "\nstatus=$?; kill $primed; wait; rm $log; exit $status")
    said = output("dbus-run-session", "--", "bash", "-c", script, status=status, **environment)
    return re.sub(r"^dbus-daemon\[.*\n", "", said, flags=re.M)


class OnATerminal(unittest.TestCase):
    def seen(self, command, columns, term):
        """As `script` has it: the command on a terminal of that size."""
        typed = f"stty cols {columns}; {command} --bus session"
        return simulated("hybrid-laptop", f"script --quiet --return --command '{typed}' /dev/null </dev/null",
                         TERM=term, LC_ALL="C.UTF-8").replace("\r", "")

    def test_it_fits_and_is_coloured(self):
        for command in SHOWN:
            with self.subTest(command=command):
                said = self.seen(command, 80, "xterm")
                self.assertIn("\x1b[", said)
                plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
                self.assertNotIn("\x1b", plain)
                # What the makers call a device comes last, and is as long as they like.
                lines = [line.removesuffix("DEVICE") for line in plain.splitlines()]
                self.assertEqual([line for line in lines if len(line) > 80], [])

    def test_a_dumb_one_gets_plain_letters(self):
        for command in SHOWN:
            with self.subTest(command=command):
                self.assertRegex(self.seen(command, 80, "dumb"), r"^[\n -~]*$")

    def test_what_is_no_terminal_gets_plain_letters(self):
        for command in SHOWN:
            with self.subTest(command=command):
                self.assertRegex(simulated("hybrid-laptop", f"{command} --bus session", TERM="xterm"), r"^[\n -~]*$")

    def test_no_color(self):
        terminal = Terminal("env", "NO_COLOR=1", "TERM=xterm", "primectl", "matrix", "--simulate", "hybrid-laptop")
        self.addCleanup(terminal.close)
        terminal.wait_for("--why says")
        self.assertNotIn("\x1b", terminal.seen)


class Page(unittest.TestCase):
    def test_primectl_alone_is_the_overview(self):
        said = simulated("hybrid-laptop", "primectl --bus session")
        for words in ("primed    0.", "NO_MOVE", "not by introspection: the scenario has none", "* renderD128  igpu",
                      "8.0 GiB of its own", "HDMI-A-1 (connected)", "refused   nothing"):
            self.assertIn(words, said)
        told = json.loads(simulated("hybrid-laptop", "primectl overview --json --bus session"))
        self.assertEqual(set(told), {"primed", "machine", "findings"})
        self.assertEqual([one["node"] for one in told["machine"]["devices"]], ["renderD128", "renderD129"])

    def test_without_primed_it_says_what_to_do(self):
        for command in ("primectl", "primectl matrix", "primectl capture -", "primectl report /dev/null"):
            said = output("dbus-run-session", "--", *command.split(), "--bus", "session", status=1)
            self.assertIn("start it: primed --bus session", said)


class Doctor(unittest.TestCase):
    def test_exit_codes(self):
        self.assertEqual(simulated("hybrid-laptop", "primectl doctor --bus session"), "Nothing is wrong.\n")
        told = json.loads(simulated("two-intel", "primectl doctor --all --json --bus session"))
        self.assertEqual([one["level"] for one in told if "answers" in one["what"]], ["ok"])
        said = simulated("smithay-1330-plain-kernel", "primectl doctor --bus session", status=2)
        self.assertIn("sign with one name (drm)", said)
        said = output("dbus-run-session", "--", "primectl", "doctor", "--bus", "session", status=1)
        self.assertRegex(said, r"problem +primed does not answer on the bus session\n +-> primed is not running")


class Matrix(unittest.TestCase):
    def test_the_running_one_says_what_the_scenario_says(self):
        """By primed's devices and its pair table over D-Bus, as from the file; but for what the steps showed."""
        for machine in ("hybrid-laptop", "nvidia-1037-intel", "asahi-split", "eight-gpu-workstation", "vdi-host"):
            asked = json.loads(simulated(machine, "primectl matrix --json --bus session"))
            played = json.loads(output("primectl", "matrix", "--json", "--simulate", machine))
            def by_pair(cells):
                return {(one["exporter"], one["memory"], one["importer"]): one["outcome"] for one in cells}
            seen = {(one["exporter"], one["memory"], one["importer"]) for one in played if one["by"] == "seen"}
            asked, played = by_pair(asked), by_pair(played)
            self.assertEqual(set(asked), set(played))
            self.assertEqual({pair: asked[pair] for pair in asked if pair not in seen},
                             {pair: played[pair] for pair in asked if pair not in seen}, machine)

    def test_why(self):
        said = output("primectl", "matrix", "--why", "--simulate", "nvidia-1037-intel")
        self.assertIn("in dedicated memory: hangs; table: NVIDIA/open-gpu-kernel-modules#1037", said)


class Explain(unittest.TestCase):
    def test_the_set_narrows(self):
        told = json.loads(simulated("nvidia-1037-intel", "primectl explain --buffer browser --json --bus session"))
        steps = {one["step"]: one for one in told["steps"]}
        self.assertEqual(len(steps["all devices"]["left"]), 2)
        self.assertEqual(steps["may be chosen"]["left"], ["renderD129"])
        self.assertIn("hang", steps["may be chosen"]["out"][0]["why"])
        self.assertEqual(told["steps"][-1]["left"], ["renderD129"])

    def test_the_naive_order(self):
        words = "primectl explain --buffer game --hint primary-device=i915 --bus session"
        self.assertIn("an import into renderD128 would move the buffer, 4.0 KiB,", simulated("hybrid-laptop", words))


class Pictures(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="primed pictures ")))

    def drawn(self, *words):
        """Its elements by name; drawn by librsvg, too."""
        path = self.folder / "picture.svg"
        output("primectl", *words, "--svg", path)
        output("rsvg-convert", "--output", self.folder / "picture.png", path)
        self.assertEqual((self.folder / "picture.png").read_bytes()[1:4], b"PNG")
        elements = {}
        for one in ET.parse(path).getroot().iter():
            elements.setdefault(one.tag.removeprefix(SVG), []).append(one)
        return elements

    def test_matrix(self):
        cells = json.loads(output("primectl", "matrix", "--json", "--simulate", "nvidia-1037-intel"))
        drawn = self.drawn("matrix", "--simulate", "nvidia-1037-intel")
        hovers = [one.find(f"{SVG}title").text for one in drawn["rect"] if one.find(f"{SVG}title") is not None]
        self.assertEqual(len(hovers), len(cells))
        for cell in cells:
            self.assertTrue(any(cell["why"] in text and cell["outcome"] in text for text in hovers), cell)
        self.assertEqual({one.get("fill") for one in drawn["text"]}, {"#1a1a1a"})

    def test_topology(self):
        for machine in ("hybrid-laptop", "egpu-pulled", "asahi-split", "no-device", "vdi-host"):
            with self.subTest(machine=machine):
                drawn = self.drawn("topology", "--simulate", machine)
                self.assertGreaterEqual(len(drawn["text"]), 3)
        texts = [one.text for one in self.drawn("topology", "--simulate", "egpu-pulled")["text"]]
        self.assertLessEqual({"gone", "game \u2192 renderD128", "eDP-1"}, set(texts))

    def test_what_can_t_be_written_is_said(self):
        said = output("primectl", "matrix", "--simulate", "hybrid-laptop", "--svg", "/nowhere/x.svg", status=1)
        self.assertIn("/nowhere/x.svg can't be written: ", said)

    def test_demo(self):
        drawn = self.drawn("demo", "--fast")
        self.assertTrue(any("In all: naive 56.2 MiB, primed nothing" in (one.text or "") for one in drawn["text"]))
        told = json.loads(output("primectl", "demo", "--fast", "--json"))
        self.assertEqual(told["primed"], 0)
        self.assertEqual(told["naive"], 4 * 2560 * 1440 * 4)
        said = output("primectl", "demo", "--fast")
        self.assertRegex(said, r"naive   #+ 56\.2 MiB\n  primed  nothing\n$")


class Capture(unittest.TestCase):
    def test_it_plays_and_passes(self):
        said = simulated(
            "hybrid-laptop", "primectl place --buffer game --hint primary-device=i915 --bus session >/dev/null",
            "primectl place --buffer terminal --hint candidates=renderD128 --bus session >/dev/null",
            "primectl capture mine.json --log $log --bus session && primectl scenario run --verbose mine.json",
            "cat mine.json; rm mine.json")
        self.assertIn("2 devices, 2 buffers, ", said)
        self.assertIn("1 passed, 0 failed", said)
        self.assertRegex(said, r'"place": "b0", "hints": \{ "primary-device": "i915-0" \}, "expect": \{ "device": '
                               r'"amdgpu-0", "access": "native" \}')
        # The client's pid of the scenario, the log's and the bus's names.
        self.assertNotRegex(said, r"4242|/tmp/|:1\.\d")

    def test_where_the_answers_can_t_be_read_the_devices_are_left(self):
        said = simulated("hybrid-laptop", "primectl capture - --bus session --log /nowhere")
        self.assertIn("they are left out; is it in a file? --log FILE", said)
        self.assertEqual(len(json.loads(said[said.index("{"):])["devices"]), 2)

    def test_topology_with_what_was_asked_lately(self):
        said = simulated("hybrid-laptop", "primectl place --buffer game --bus session >/dev/null",
                         "primectl topology --recent --log $log --json --bus session")
        buffer = json.loads(said)["buffers"][0]
        self.assertEqual((buffer["exporter"], buffer["memory"], buffer["user"], buffer["access"]),
                         ("renderD129", "dedicated", "renderD129", "native"))

    def test_matrix_with_what_was_answered_lately(self):
        said = simulated("daenzer-copy-for-the-other-gpu",
                         "primectl place --buffer copy --hint primary-device=i915 --bus session >/dev/null",
                         "primectl matrix --recent --log $log --json --bus session")
        seen = [(pair["exporter-node"], pair["importer-node"], pair["memory"], pair["outcome"])
                for pair in json.loads(said) if pair["by"] == "seen"]
        self.assertEqual(seen, [("renderD129", "renderD128", "system", "in place")])


class Report(unittest.TestCase):
    def in_a_browser(self, page):
        """The document as Chromium has it."""
        with tempfile.TemporaryDirectory() as profile:
            done = subprocess.run(
                ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                 "--dump-dom", page.as_uri()],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_page(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="primed report ")))
        page = folder / "report.html"
        simulated("hybrid-laptop", "primectl place --buffer game --bus session >/dev/null",
                  f"primectl report '{page}' --log $log --bus session")
        shown = self.in_a_browser(page)
        # What the parser made of it is what was written: nothing is left open, nothing is nested wrongly.
        for name in ("findings", "matrix", "topology", "devices", "primed", "log", "scenario"):
            self.assertEqual(shown.count(f'<section id="{name}">'), 1)
        self.assertEqual(shown.count("</svg>"), 2)
        self.assertIn("renderD129 is there", shown.replace("/dev/dri/", ""))
        self.assertIn('"name": "captured machine"', shown)
        self.assertNotIn("<script", shown)
        self.assertEqual(re.findall(r'(?:src|href)="(?!#)', shown), [])
        self.assertNotRegex(shown, r"4242|answered ago=| :1\.\d")
