"""Reads a kernel's source as text: functions, initialisers, macros and makefiles, as far as the kernel's own
style goes (a function's braces stand at the start of a line). No compiler, no configuration: all drivers are read,
whatever a distribution builds of them.
"""
import functools
import pathlib
import re

COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|//[^\n]*', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef|else|elif|endif)\b.*$", re.M)
DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(\([^)]*\))?[ \t]*((?:\\\n|[^\n])*)", re.M)
INITIALISER = re.compile(r"\bstruct\s+(\w+)\s+(\w+)(?:\[\w*\])?\s*=\s*\{(.*?)^\};?", re.M | re.S)
NOT_DRIVERS = {"selftests", "tests", "kunit", "generated"}


def without_comments(text):
    return COMMENT.sub(lambda m: m[0] if m[0].startswith('"') else " ", text)


@functools.lru_cache(maxsize=None)
def read(path):
    """A file without its comments; "" where there is none."""
    try:
        return without_comments(path.read_text(errors="replace"))
    except OSError:
        return ""


@functools.lru_cache(maxsize=None)
def functions(path):
    """{name: body} of the functions that a file defines."""
    found = {}
    lines = read(path).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            first = start - 1
            while first > 0 and lines[first - 1].strip() and lines[first - 1][0] not in "#}":
                first -= 1
            header = re.search(r"(\w+)\s*\(", DIRECTIVE.sub("", "\n".join(lines[first:start])))
            if header:
                found.setdefault(header[1], "\n".join(lines[start:number]))
            start = None
    return found


@functools.lru_cache(maxsize=None)
def defines(path):
    """{name: (parameters or None, text)} of a file's macros."""
    return {m[1]: (m[2], m[3].replace("\\\n", " ")) for m in DEFINE.finditer(read(path))}


@functools.lru_cache(maxsize=None)
def initialisers(path):
    """[(type, name, text)] of the structures that a file fills in."""
    return [(m[1], m[2], m[3]) for m in INITIALISER.finditer(read(path))]


def top_level(text):
    """The initialiser's entries, split at the commas that stand in no bracket."""
    depth, entry = 0, ""
    for letter in DIRECTIVE.sub("", text):
        depth += (letter in "({[") - (letter in ")}]")
        if letter == "," and not depth:
            yield entry.strip()
            entry = ""
        else:
            entry += letter
    yield entry.strip()


class Tree:
    """The source of one kernel."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.drm = self.root / "drivers/gpu/drm"
        if not self.drm.is_dir():
            raise SystemExit(f"census: {root} is no kernel source: it has no drivers/gpu/drm")
        self.macros = {}
        for path in sorted((self.root / "include/drm").glob("*.h")):
            self.macros.update(defines(path))

    def files(self):
        """All C and Rust files in which a driver may be."""
        for top in (self.drm, self.root / "drivers/accel"):
            for path in sorted(top.rglob("*")):
                if path.suffix in (".c", ".rs") and not NOT_DRIVERS & set(path.parts):
                    yield path

    def module(self, path):
        """(module, its object files) of a source file, by the makefiles above it."""
        name = path.with_suffix(".o")
        for folder in path.parents:
            modules = makefile(folder)
            for module, objects in modules.items():
                if name in objects:
                    return module, objects
            if len(modules) == 1 and folder not in (self.drm, path.parent):
                return modules.popitem()
            if folder in (self.drm, self.root / "drivers"):
                break
        return path.parent.name, {name}

    def fields(self, text, local):
        """{field: value} of an initialiser, macros of include/drm and of the driver itself expanded."""
        found = {}
        for entry in top_level(text):
            call = re.fullmatch(r"([A-Z]\w+)\s*(?:\((.*)\))?", entry, re.S)
            macro = call and (local.get(call[1]) or self.macros.get(call[1]))
            if macro:
                parameters = re.findall(r"\w+", macro[0] or "")
                given = dict(zip(parameters, (call[2] or "").split(",")))
                body = re.sub(r"\w+", lambda m: given.get(m[0], m[0]), macro[1])
                found.update(self.fields(body, local))
            field = re.match(r"\.(\w+)\s*=\s*(.*)", entry, re.S)
            if field:
                found[field[1]] = re.sub(r"^[&(\s]+|[)\s]+$", "", field[2])
        return found


@functools.lru_cache(maxsize=None)
def makefile(folder):
    """{module: object files} of a folder's makefile."""
    text = (read_makefile(folder / "Makefile") + read_makefile(folder / "Kbuild")).replace("\\\n", " ")
    parts, modules = {}, set()
    for name, value in re.findall(r"^([\w$().-]+)\s*[:+]?=\s*(.*)$", text, re.M):
        objects = re.findall(r"[\w./-]+\.o\b", value)
        if re.match(r"obj-", name):
            modules.update(o[:-2] for o in objects if "/" not in o)
        elif part := re.match(r"(.+?)-(?:y|objs|\$\(.*\))$", name):
            parts.setdefault(part[1], set()).update(objects)
    return {m: {folder / o for o in parts.get(m, {m + ".o"})} for m in modules}


def read_makefile(path):
    return path.read_text(errors="replace") + "\n" if path.is_file() else ""
