"""The host's half of the guest suite: packs what the guest needs, restores the guest once for each group of
tests, and counts the verdicts.

A group is a file tests/test_GROUP.py; in the guest tests/runner.py runs it and writes verdicts to
the share as they come, so that those of a guest that dies are not lost. What a group needs of the
host, tests/prepare_GROUP makes first, in the parcel.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import vm

GROUP_TIMEOUT = 1200   # seconds; a busy machine takes several times as long as an idle one
PROGRAMS = ("primed", "primectl")


def pack(directory, project, binaries):
    """What a user would have: the sources' install files and the programs; and the tests beside them."""
    for name in ("systemd", "dbus"):
        shutil.copytree(project / name, directory / name)
    for name in ("README.md", "LICENSE"):
        shutil.copy(project / name, directory)
    shutil.copytree(project / "Tests/Guest/tests", directory / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "bin").mkdir()
    for name in PROGRAMS:
        if (binaries / name).exists():   # a missing one fails the tests, by name
            subprocess.run(["strip", "-o", directory / "bin" / name, binaries / name], check=True)


def groups(parcel, words):
    """(group, word or '') of each restore: all groups, or those that GROUP or GROUP.WORD name."""
    names = sorted(path.stem.removeprefix("test_") for path in (parcel / "tests").glob("test_*.py"))
    if not words:
        return [(name, "") for name in names]
    chosen = []
    for word in words:
        group, _, rest = word.partition(".")
        if group not in names:
            sys.exit(f"guest: no group of tests {group}; there are: {' '.join(names)}")
        chosen.append((group, rest))
    return chosen


def run(image, parcel, words):
    """Runs the tests; returns the exit status: 0 only if all passed and there were any."""
    passed = failed = 0
    for group, word in groups(parcel, words):
        started = time.monotonic()
        verdicts = run_group(image, parcel, group, word)
        good = sum(verdicts.values())
        passed, failed = passed + good, failed + len(verdicts) - good
        print(f"----- {group}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def pace(parcel, group):
    """A group that is about races says PACE = "real": both CPUs at once. The others' deadlines must not
    depend on the host's load."""
    says = (parcel / f"tests/test_{group}.py").read_text().splitlines()
    return "real" if 'PACE = "real"' in says else "steady"


def run_group(image, parcel, group, word):
    """{test: passed} of one group, each test that was planned included."""
    prepare = parcel / f"tests/prepare_{group}"
    if prepare.exists() and subprocess.run([prepare], cwd=parcel).returncode:
        return could_not_start(group)
    with tempfile.TemporaryDirectory(prefix="primed-share.") as share:
        try:
            command = f"python3 -B /parcel/tests/runner.py {group} {word}"
            status = vm.run(image, share, command, GROUP_TIMEOUT, parcel, pace(parcel, group))
            if status:
                print(f"the tests' runner ended with {status}", flush=True)
        except vm.GuestDied as death:
            print(f"guest died: {death}", flush=True)
        results = pathlib.Path(share, f"results-{group}")
        lines = results.read_text().splitlines() if results.exists() else []
    verdicts = {}
    for line in lines:
        verdicts.update(json.loads(line))
    for test, verdict in verdicts.items():
        if verdict is None:
            print(f"FAIL  {test}: did not run to its end", flush=True)
    return {test: bool(verdict) for test, verdict in verdicts.items()} or could_not_start(group)


def could_not_start(group):
    print(f"FAIL  {group}: could not start", flush=True)
    return {group: False}
