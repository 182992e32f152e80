"""No two files of a target refer to each other's types: a reader begins at either and finds an end."""
import re
import unittest

from programs import PROJECT

MODIFIERS = r"(?:(?:package|public|internal|final|indirect|nonisolated)\s+)*"
DECLARATION = re.compile(rf"^{MODIFIERS}(?:class|struct|enum|protocol|typealias|actor)\s+(\w+)", re.M)
NOISE = re.compile(r'"""(?:.|\n)*?"""|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"')


def code(text):
    """Without comments and strings, but with what strings interpolate."""
    return NOISE.sub(lambda found: " ".join(re.findall(r"\\\(([^\n]*)\)", found[0])), text)


def references(files):
    """By file: the other files of the target whose top-level types it names, and by which names."""
    texts = {path: code(path.read_text()) for path in files}
    homes = {}
    for path, text in texts.items():
        for name in DECLARATION.findall(text):
            homes.setdefault(name, []).append(path)
    return {path: named(text, path, homes) for path, text in texts.items()}


def named(text, path, homes):
    found = {}
    # A member of another type's name is not that type.
    for word in set(re.findall(r"(?<![\w.])[A-Z]\w*", text)):
        # A name that a file declares, also privately, is its own there.
        if re.search(rf"\b(?:class|struct|enum|protocol|typealias|actor)\s+{word}\b", text):
            continue
        home = homes.get(word, [])
        if len(home) == 1 and home[0] != path:
            found.setdefault(home[0], set()).add(word)
    return found


def circles(files):
    uses = references(files)
    for one in uses:
        for other in uses[one]:
            if one.name < other.name and one in uses[other]:
                yield (f"{one.name} names {', '.join(sorted(uses[one][other]))}; "
                       f"{other.name} names {', '.join(sorted(uses[other][one]))}")


class Circles(unittest.TestCase):
    def test_of_two_files(self):
        targets = [folder for folder in sorted((PROJECT / "Sources").iterdir()) if any(folder.rglob("*.swift"))]
        self.assertGreaterEqual(len(targets), 15)
        found = [f"{target.name}: {circle}" for target in targets for circle in circles(sorted(target.rglob("*.swift")))]
        self.assertEqual(found, [], "\n" + "\n".join(found))


if __name__ == "__main__":
    unittest.main()
