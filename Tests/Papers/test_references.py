"""What is referred to is there: a reader has this tree and nothing else."""
import re
import unittest

from programs import PROJECT

ROOMS = ("Sources", "dbus", "systemd")


class References(unittest.TestCase):
    def texts(self):
        for room in (*ROOMS, "Tests"):
            for path in (PROJECT / room).rglob("*"):
                if path.is_file() and path.suffix not in (".o", ".pyc") and "seeds" not in path.parts:
                    yield path, path.read_text()
        yield PROJECT / "Package.swift", (PROJECT / "Package.swift").read_text()

    def test_papers(self):
        """Of this project's own papers there is one."""
        named = {(path.name, word) for path, text in self.texts() for word in re.findall(r"\b[A-Z]+\.md\b", text)}
        self.assertEqual({word for _, word in named} - {"README.md"}, set(), named)

    def test_files(self):
        named = {(path.name, word) for path, text in self.texts()
                 for word in re.findall(r"\b(?:Sources|Tests|dbus)/[\w/.-]+\.(?:py|swift|c|h|md|xml)\b", text)}
        self.assertGreaterEqual(len(named), 10)
        self.assertEqual([one for one in named if not (PROJECT / one[1]).exists()], [])

    def test_swift_files(self):
        """Also those that are named without all of their path."""
        there = {str(path.relative_to(PROJECT)) for room in ROOMS + ("Tests",) for path in (PROJECT / room).rglob("*.swift")}
        named = {(path.name, word) for path, text in self.texts()
                 for word in re.findall(r"(?<![\w/.*])(?:[A-Z]\w+/)*[A-Z]\w+\.swift\b", text)}
        self.assertGreaterEqual(len(named), 10)
        self.assertEqual([one for one in named if one[1] != "Package.swift"
                          and not any(f"/{path}".endswith(f"/{one[1]}") for path in there)], [])

    def test_links_of_the_readme(self):
        links = re.findall(r"\]\(([^)#:]+)\)", (PROJECT / "README.md").read_text())
        self.assertGreaterEqual(len(links), 5)
        self.assertEqual([link for link in links if not (PROJECT / link).exists()], [])

    def test_lines(self):
        """As a terminal and a diff show them side by side; but for what programs print."""
        papers = [*PROJECT.glob("*.md"), *(path for room in (*ROOMS, "Tests") for path in (PROJECT / room).rglob("*.md"))]
        self.assertGreaterEqual(len(papers), 6)
        self.assertEqual([(path.name, line) for path in papers for line in path.read_text().splitlines()
                          if len(line) > 100 and not line.startswith("    ")], [])
