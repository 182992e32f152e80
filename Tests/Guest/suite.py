"""The host's half of the guest suite: packs what the guest needs, restores the guest once for each group of
tests, and counts the verdicts.

A group is a file tests/test_GROUP.py; in the guest tests/runner.py runs it and writes verdicts to
the share as they come, so that those of a guest that dies are not lost. What a group needs of the
host, tests/prepare_GROUP makes first, in the parcel.

Groups whose time does not depend on the host's run side by side, one a CPU, each printed when it ends;
those that are about races follow one by one.
"""
import concurrent.futures
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import vm

GROUP_TIMEOUT = 1200   # seconds; a busy machine takes several times as long as an idle one
PROGRAMS = ("primed", "primectl", "primed-introspect")


def pack(directory, project, binaries):
    """What a user would have: the sources' install files and the programs; and the tests beside them."""
    for name in ("systemd", "dbus"):
        shutil.copytree(project / name, directory / name)
    for name in ("README.md", "LICENSE"):
        shutil.copy(project / name, directory)
    shutil.copytree(project / "Tests/Guest/tests", directory / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    # What the tests' own programs in C share with it.
    shutil.copytree(project / "Sources/CBPF/include", directory / "include")
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
    chosen = groups(parcel, words)
    for group in {group for group, _ in chosen}:   # now, since every guest gets the whole parcel
        prepare = parcel / f"tests/prepare_{group}"
        if prepare.exists():
            subprocess.run([prepare], cwd=parcel, check=True)
    steady = [one for one in chosen if pace(parcel, one[0]) == "steady"]
    racing = [one for one in chosen if one not in steady]
    verdicts = {}
    for some in itertools.chain(side_by_side(image, parcel, steady),
                                (run_group(image, parcel, *one, sys.stdout.buffer) for one in racing)):
        verdicts.update(some)
    return summary(verdicts)


def summary(verdicts):
    """Says again what failed, since whoever keeps only the end of a long output needs it; then the closing line."""
    failures = {test: verdict for test, verdict in verdicts.items() if verdict is not True}
    for test, why in failures.items():
        print(f"FAILED  {test}: {why}")
    passed = len(verdicts) - len(failures)
    print(f"{passed} passed, {len(failures)} failed")
    return 0 if passed and not failures else 1


def side_by_side(image, parcel, chosen):
    """The verdicts of each group."""
    def run_one(one):
        out = io.BytesIO()
        return run_group(image, parcel, *one, out), out

    if len(chosen) > 1:
        print(f"guest: {' '.join(name for name, _ in chosen)}: {os.cpu_count()} at a time, each some minutes", flush=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for under_way in concurrent.futures.as_completed([pool.submit(run_one, one) for one in chosen]):
            verdicts, out = under_way.result()
            sys.stdout.buffer.write(out.getvalue())
            sys.stdout.flush()
            yield verdicts


def pace(parcel, group):
    """A group that is about races says PACE = "real": both CPUs at once. The others' deadlines must not
    depend on the host's load."""
    says = (parcel / f"tests/test_{group}.py").read_text().splitlines()
    return "real" if 'PACE = "real"' in says else "steady"


def run_group(image, parcel, group, word, out):
    """{test: True, or why it failed} of one group, each test that was planned included; what it says goes to
    `out`, bytes."""
    started = time.monotonic()

    def say(text):
        out.write(f"{text}\n".encode())
        out.flush()

    verdicts = verdicts_of(image, parcel, group, word, out, say)
    if not verdicts:
        say(f"FAIL  {group}: could not start")
        verdicts = {group: "could not start"}
    say(f"----- {group}: {time.monotonic() - started:.0f} s")
    return verdicts


def verdicts_of(image, parcel, group, word, out, say):
    """As `run_group` returns it; empty if the group could not start."""
    with tempfile.TemporaryDirectory(prefix="primed-share.") as share:
        try:
            command = f"python3 -B /parcel/tests/runner.py {group} {word}"
            status = vm.run(image, share, command, GROUP_TIMEOUT, parcel, pace(parcel, group), out)
            if status:
                say(f"the tests' runner ended with {status}")
        except vm.GuestDied as death:
            say(f"guest died: {death}")
        results = pathlib.Path(share, f"results-{group}")
        lines = results.read_text().splitlines() if results.exists() else []
    verdicts = {}
    for line in lines:
        verdicts.update(json.loads(line))
    for test, verdict in verdicts.items():
        if verdict is None:
            verdicts[test] = "did not run to its end"
            say(f"FAIL  {test}: {verdicts[test]}")
    return verdicts
