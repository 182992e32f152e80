"""Tests/Benchmarks/run: that it works, what it writes, and that the tables in the papers are its own."""
import json
import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

from programs import BIN, PROJECT, output

BENCHMARKS = PROJECT / "Tests/Benchmarks"
sys.path.append(str(BENCHMARKS))
import figures
import papers
import rows

# Quick, and of one kind each; the counts have a phase of their own in Tests/run.
GROUPS = ("looks", "client", "start")


def made_up():
    return [figures.Figure(key, "", (0.5 * row.bound, 0.6 * row.bound, 1.2 * row.bound))
            for key, row in rows.ROWS.items()]


class Benchmarks(unittest.TestCase):
    def test_a_quick_run(self):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            words = [word for group in GROUPS for word in ("--only", group)]
            # Whether bounds hold is for a whole run to say.
            printed = output("sh", "-c", '"$@" || true', "sh", BENCHMARKS / "run", "--quick", "--primed", BIN / "primed",
                             "--json", file.name, *words)
            measured = json.loads(pathlib.Path(file.name).read_text())["figures"]
        self.assertRegex(printed.splitlines()[-1], r"^\d+ within bounds, \d+ beyond$")
        self.assertLessEqual({"first", "import", "known", "absent", "ready", "resident"}, {one["key"] for one in measured})
        for one in measured:
            self.assertGreater(one["value"], 0, one)
            self.assertLessEqual(one["low"], one["high"], one)

    def test_the_plot_has_a_line_a_figure(self):
        plot = xml.fromstring(figures.plot(made_up()))
        words = [text.text for text in plot.iter("{http://www.w3.org/2000/svg}text")]
        for one in made_up():
            self.assertIn(one.name, words)

    def test_a_table_takes_the_place_of_the_last(self):
        text = f"a\n{papers.BEGIN}old\n{papers.END}b\n"
        once = papers.put_in(text, "new")
        self.assertEqual(once, f"a\n{papers.BEGIN}new\n{papers.END}b\n")
        self.assertEqual(papers.put_in(once, "new"), once)
        with self.assertRaises(ValueError):
            papers.put_in("no place for it", "new")

    def test_what_is_beyond_its_bound_is_said(self):
        within, beyond = (figures.Figure("closer", "", (part * rows.ROWS["closer"].bound,)) for part in (0.9, 1.1))
        self.assertEqual((within.line()[:4], beyond.line()[:4]), ("ok  ", "MISS"))
        self.assertTrue(within.holds and not beyond.holds)

    def test_tables_in_the_papers_are_of_these_rows(self):
        for readme, least in ((BENCHMARKS / "README.md", len(rows.ROWS)), (PROJECT / "README.md", 10)):
            table = re.search(re.escape(papers.BEGIN) + "(.*?)" + re.escape(papers.END), readme.read_text(), re.S)[1]
            lines = table.splitlines()[2:]
            self.assertGreaterEqual(len(lines), least, readme)
            for line in lines:
                name, _, goal, _ = line.removeprefix("| ").split(" | ")
                row = max((row for row in rows.ROWS.values() if name.startswith(row.name)), key=lambda row: len(row.name))
                self.assertEqual(goal, f"{row.bound if row.wanted is None else row.wanted:g}", line)
