"""Manual pages and --help: they render without a warning, and leave out nothing that the programs have."""
import json
import re
import tempfile
import unittest

from programs import PROJECT, output

PAGES = sorted((PROJECT / "systemd/man").glob("*.[1-9]"))
OURS = {(page.stem, page.suffix[1:]) for page in PAGES}


def subcommands():
    """(words, arguments) of each command of primectl that does something."""
    def walk(command, before):
        words = [*before, command["commandName"]]
        inner = [one for one in command.get("subcommands", []) if one["commandName"] != "help"]
        if not inner:
            yield words, [one for one in command.get("arguments", []) if one["shouldDisplay"]]
        for one in inner:
            yield from walk(one, words)
    yield from walk(json.loads(output("primectl", "--experimental-dump-help"))["command"], [])


def options(arguments):
    return {f"--{name['name']}" for argument in arguments for name in argument.get("names", [])
            if name["kind"] == "long"} - {"--help", "--version"}


class Pages(unittest.TestCase):
    def test_there_are_all_of_them(self):
        self.assertEqual(OURS, {("primed", "8"), ("primectl", "1"), ("org.primed.Broker1", "5"),
                                ("primed-scenario", "5"), ("primed-introspect", "8"), ("primed-guard", "1")})

    def test_made_from_the_interface(self):
        output(PROJECT / "systemd/man/generate", "--check")

    def test_without_a_warning(self):
        self.assertEqual(output("mandoc", "-T", "lint", "-W", "warning", *PAGES), "")
        for page in PAGES:
            with self.subTest(page=page.name):
                said = output("sh", "-c", 'man --warnings -l "$1" 2>&1 >/dev/null', "sh", page, MANWIDTH="80")
                self.assertEqual(said, "")

    def test_they_refer_to_pages_of_ours_that_exist(self):
        for page in PAGES:
            for name, section in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.M):
                if "prim" in name:
                    self.assertIn((name, section), OURS, page.name)


class Help(unittest.TestCase):
    def plain(self, name):
        """Without the overstriking that stands for bold and underlined."""
        text = output("mandoc", "-T", "utf8", "-O", "width=200", PROJECT / "systemd/man" / name)
        return re.sub(r".\x08", "", text)

    def test_every_option_of_primed_is_in_its_page_and_completions(self):
        found = set(re.findall(r"^  (--[a-z-]+)", output("primed", "--help"), re.M))
        self.assertGreaterEqual(len(found), 6)
        page = self.plain("primed.8")
        files = [path.read_text() for path in (PROJECT / "systemd/completions").iterdir()]
        self.assertEqual(len(files), 3)
        for option in found:
            self.assertIn(option, page)
            for text in files:
                self.assertRegex(text, rf"(--|-l ){option[2:]}\b")

    def test_every_option_of_the_loader_is_in_its_page(self):
        found = set(re.findall(r"^  (--[a-z-]+)", output("primed-introspect", "--help"), re.M))
        self.assertEqual(found, {"--btf", "--program", "--help", "--version"})
        page = self.plain("primed-introspect.8")
        self.assertEqual({option for option in found if option not in page}, set())

    def test_every_command_and_option_of_primectl_is_in_its_page(self):
        page = self.plain("primectl.1")
        for words, arguments in subcommands():
            self.assertIn(" ".join(words), page)
            for option in options(arguments):
                self.assertIn(option, page, words)

    def test_every_help_has_an_example(self):
        for words, _ in subcommands():
            help_text = output(*words, "--help")
            examples = help_text.partition("Examples:\n")[2].partition("\n\nUSAGE:")[0].splitlines()
            self.assertTrue(any(line.split("sudo ")[-1].split()[:len(words)] == words for line in examples), words)
        self.assertIn("Examples:", output("primed", "--help"))

    def test_json_wherever_something_is_told(self):
        """All but what runs a command, and a scenario's text, which is JSON itself."""
        without = {words[-1] for words, arguments in subcommands() if "--json" not in options(arguments)}
        self.assertEqual(without, {"guard", "release", "show"})

    def test_versions_agree(self):
        version = output("primed", "--version").split()[1]
        for other in ("primectl", "primed-introspect"):
            self.assertEqual(output(other, "--version"), f"{other} {version}\n")
        newest = re.search(r"^## CHANGELOG\n\n### (\S+)", (PROJECT / "README.md").read_text(), re.M)[1]
        self.assertEqual(newest, version)


class Words(unittest.TestCase):
    def test_every_rule_is_in_the_papers(self):
        """As a scenario that expects another one is told them."""
        scenario = json.loads(output("primectl", "scenario", "show", "hybrid-laptop"))
        scenario["steps"][0]["expect"]["rule"] = "none"
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(scenario, file)
            file.flush()
            said = output("primectl", "scenario", "run", file.name, status=1)
        rules = re.search(r'"none" is none of (.*)', said)[1].split(", ")
        self.assertGreaterEqual(len(rules), 8)
        for paper in ("dbus/org.primed.Broker1.xml", "systemd/man/primed-scenario.5", "systemd/man/org.primed.Broker1.5"):
            text = (PROJECT / paper).read_text()
            self.assertEqual([rule for rule in rules if rule not in text], [], paper)


class Width(unittest.TestCase):
    """Of a terminal; what the makers call a device comes last, and is as long as they like."""

    def test_devices(self):
        for machine in ("hybrid-laptop", "nvidia-1037-amd"):
            told = output("dbus-run-session", "--", "bash", "-c",
                          f"primed --bus session --simulate {machine} 2>/dev/null & primed=$!\n"
                          "gdbus wait --session --timeout 10 org.primed.Broker1\n"
                          "primectl devices --bus session; kill $primed; wait")
            lines = told[told.index("   NODE"):].splitlines()
            self.assertTrue(lines[0].endswith("DEVICE"), lines)
            self.assertEqual([line for line in lines if len(line[:lines[0].index("DEVICE")].rstrip()) > 80], [])


class Refusals(unittest.TestCase):
    """A wrong command line is refused at once, in a line that says what would be right."""

    def test_primed(self):
        for words, mend in ((["--cache", "5"], "from 64 to"), (["--bus", "nope"], "system, session or"),
                            (["--log-level", "loud"], "warning, notice"), (["--foo"], "--help"),
                            (["--simulate"], "needs a value"), (["extra"], "--help")):
            with self.subTest(words=words):
                said = output("primed", *words, status=2)
                self.assertIn(mend, said)
                self.assertEqual(said.count("\n"), 1)
        for option in ("--pairs", "--simulate"):
            said = output("primed", "--bus", "unix:path=/nowhere", option, "/nowhere", status=1)
            self.assertRegex(said, rf"^primed: err: {option}.* /nowhere.*\n$")

    def test_loader(self):
        for words, mend in ((["--foo"], "--foo: unknown option; see primed-introspect --help"),
                            (["--btf"], "needs a value")):
            said = output("primed-introspect", *words, status=2)
            self.assertIn(mend, said)
            self.assertTrue(said.startswith("primed-introspect: "), said)

    def test_primectl(self):
        nowhere = ["--bus", "unix:path=/nowhere"]
        for words, status, mend in (
                (["place"], 64, "one of --device"), (["place", "--udmabuf", "--hint", "x=1"], 64, "one of sampling"),
                (["place", "--udmabuf", "--hint", "usage=scanout,sanout"], 64, "sanout is none of sample, scanout"),
                (["place", "--udmabuf", "--hint", "format=XRGB8888"], 64, "fourcc, as XR24"),
                (["place", "--fd", "99"], 64, "3<"), (["devices", "--bus", "nope"], 64, "system, session or"),
                (["devices", *nowhere], 1, "address"), (["scenario", "show", "nope"], 1, "scenario list"),
                (["scenario", "run", "nope"], 1, "scenario list")):
            with self.subTest(words=words):
                self.assertIn(mend, output("primectl", *words, status=status))
