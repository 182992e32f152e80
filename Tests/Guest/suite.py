"""The host's half of the guest suite: packs what the guest needs, restores the guest once for each group of
tests, and counts the verdicts.

A group is a file tests/test_GROUP.py; in the guest tests/runner.py runs it and writes verdicts to
the share as they come, so that those of a guest that dies are not lost. What a group needs of the
host, tests/prepare_GROUP makes first, in the parcel.

The guest has one of several kernels. Making the images, and then the groups whose time does not depend on the
host's, go side by side, one a CPU (with one more a run takes longer), each printed when it ends; those that are about
races follow one by one.
"""
import collections
import concurrent.futures
import functools
import io
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import vm

GROUP_TIMEOUT = 2400   # seconds; a busy machine takes several times as long as an idle one
PROGRAMS = ("primed", "primectl", "primed-introspect")
UNITS = ("primed.service", "primed-introspect.socket")

# The kernels, the newest first, and the groups of a whole run: on the newest all of them, on the others those that are
# about what kernels differ in. The longest go first, so that none of them goes alone at the end. --all runs every group
# on each.
DIFFERING = ("introspection", "introspection_races", "kernel", "nothing_moves", "pairs", "placement")
KERNELS = {
    "newest": ("introspection_service", "pairs", "placement", "service",
               "bad_calls", "compositor", "devices_hang", "devices_polite", "devices_power", "devices_release",
               "devices_storm", "eviction", "hotplug", "install", "introspection", "introspection_races", "kernel",
               "look", "nothing_moves", "objects", "package", "quotas", "sinks", "vmwgfx", "endurance"),
    "desktop": ("compositor_asks", "guard"),   # the newest kernel under a desktop
    "6.12": (*DIFFERING, "objects"),
    # Without udmabuf, introspection waits for a buffer on a device there.
    "6.1": ("introspection_service.Answers", "introspection_service.Unrecognised", *DIFFERING, "objects"),
    "desktop-6.12": ("guard",),
}
ON_DESKTOP = KERNELS["desktop"]   # and on no other: they need its compositors
FIRST = next(iter(KERNELS))
UNFINISHED = "did not run to its end"
SLOWEST = 8   # restores whose time the summary tells


def pack(directory, project, binaries):
    """What a user would have: the sources' install files and the programs; and the tests beside them."""
    for name in ("systemd", "dbus"):
        shutil.copytree(project / name, directory / name)
    for name in ("README.md", "LICENSE"):
        shutil.copy(project / name, directory)
    shutil.copytree(project / "Tests/Guest/tests", directory / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("client.py", "contract.py", "hung_files.py"):   # shared with the tests on a bus
        shutil.copy(project / "Tests/Bus" / name, directory / "tests")
    # What the tests' own programs in C share with it.
    shutil.copytree(project / "Sources/CBPF/include", directory / "include")
    # Of which prepare_GROUP makes the library that the proof's compositor asks with.
    shutil.copytree(project / "Sources/CPrimedClient", directory / "Sources/CPrimedClient")
    # From which prepare_introspection makes the program anew.
    shutil.copytree(project / "Sources/BPFLoader/Program", directory / "program")
    (directory / "bin").mkdir()
    for name in PROGRAMS:
        subprocess.run(["strip", "-o", directory / "bin" / name, binaries / name], check=True)
    install_below(directory / "root", directory)


def install_below(root, parcel):
    """What systemd/install installs, for guests that are not about that: emulated, it takes seconds."""
    folders = {"UNITDIR": "/usr/lib/systemd/system", "SYSUSERSDIR": "/usr/lib/sysusers.d",
               "BUSDATADIR": "/usr/share/dbus-1", "POLKITDIR": "/usr/share/polkit-1/actions"}
    subprocess.run([parcel / "systemd/install", "--bin", parcel / "bin"], env={**os.environ, "DESTDIR": root, **folders},
                   stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["systemctl", f"--root={root}", "--quiet", "enable", *UNITS], check=True)
    for name in PROGRAMS:   # once in the archive
        (root / "usr/local/bin" / name).unlink()
        os.link(parcel / "bin" / name, root / "usr/local/bin" / name)


class Group(collections.namedtuple("Group", "kernel name words")):
    """A restore of the guest: those of a group's tests that have one of the words in their name, or all."""

    @property
    def prefix(self):
        """Of its tests' names."""
        return "" if self.kernel == FIRST else f"{self.kernel}: "

    def __str__(self):
        return self.prefix + self.name


def groups(parcel, kernel, words=None):
    """The restores for all groups that the kernel's guest is for, or for those that words, each GROUP or GROUP.WORD,
    name.
    """
    names = sorted(path.stem.removeprefix("test_") for path in (parcel / "tests").glob("test_*.py"))
    chosen = {}
    if words is None:
        words = [name for name in names if (name in ON_DESKTOP) == kernel.startswith("desktop")]
    for word in words:
        name, _, rest = word.partition(".")
        if name not in names:
            sys.exit(f"guest: no group of tests {name}; there are: {' '.join(names)}")
        chosen.setdefault(name, []).append(rest)
    return [Group(kernel, name, words) for name, words in chosen.items()]


def run(make_image, parcel, kernels, words, whole=False, until=None):
    """Runs the tests that are named, or what is to be run on each kernel (all of them if `whole`), in guests in the
    images that `make_image` returns (KERNEL -> directory). What has not begun at the time `until` is left out, and
    the output says so. Returns the exit status: 0 only if all passed and there were any.
    """
    chosen = [group for kernel in kernels
              for group in groups(parcel, kernel, words or (None if whole else KERNELS[kernel]))]
    for name in sorted({group.name for group in chosen}):   # now, since every guest gets the whole parcel
        prepare = parcel / f"tests/prepare_{name}"
        if prepare.exists():
            subprocess.run([prepare], cwd=parcel, check=True)
    left = {kernel: sorted({group.name for group in groups(parcel, kernel)}
                           - {group.name for group in chosen if group.kernel == kernel}) for kernel in kernels}
    for kernel, names in left.items():
        if names and not words:
            print(f"guest: {kernel}: left out: {', '.join(names)}", flush=True)
    for group in chosen:
        if not words and "" not in group.words:
            print(f"guest: {group}: of its tests only {', '.join(group.words)}", flush=True)
    verdicts, times, late = {}, {}, []

    def run_in_time(group, out):
        """As run_group; None for the verdicts if it is too late to begin."""
        return (None, 0) if until and time.time() > until else run_group(images, parcel, group, out)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        images = {kernel: pool.submit(timed_image, make_image, kernel, times) for kernel in kernels}
        alone = [group for group in chosen if pace(parcel, group) == "real"]
        beside = [group for group in chosen if group not in alone]
        for group, some, seconds in itertools.chain(
                side_by_side(pool, run_in_time, beside),
                ((group, *run_in_time(group, sys.stdout.buffer)) for group in alone)):
            if some is None:
                late.append(str(group))
            else:
                verdicts.update(some)
                times[str(group)] = seconds
    return summary(verdicts, times, late)


def timed_image(make_image, kernel, times):
    started = time.monotonic()
    image = make_image(kernel)
    times[f"image of {kernel}"] = time.monotonic() - started
    return image


def summary(verdicts, times, late):
    """Says what took longest and what was left out, and again what failed, since whoever keeps only the end of a long
    output needs it; then the closing line."""
    slowest = sorted(times, key=times.get, reverse=True)[:SLOWEST]
    print("guest: longest: " + ", ".join(f"{name} {times[name]:.0f} s" for name in slowest))
    if late:
        print(f"guest: NOT RUN, since the time for this run was over: {', '.join(late)}")
    failures = {test: verdict for test, verdict in verdicts.items() if verdict is not True}
    for test, why in failures.items():
        if why != UNFINISHED:   # its group's line tells
            print(f"FAILED  {test}: {why}")
    passed = len(verdicts) - len(failures)
    print(f"{passed} passed, {len(failures)} failed")
    return 0 if passed and not failures else 1


def side_by_side(pool, run, chosen):
    """Each group, its verdicts and how many seconds it took."""
    def run_one(group):
        out = io.BytesIO()
        return group, *run(group, out), out

    if len(chosen) > 1:
        print(f"guest: {', '.join(map(str, chosen))}: {os.cpu_count()} at a time, each some minutes", flush=True)
    for under_way in concurrent.futures.as_completed([pool.submit(run_one, group) for group in chosen]):
        *done, out = under_way.result()
        sys.stdout.buffer.write(out.getvalue())
        sys.stdout.flush()
        yield done


def pace(parcel, group):
    """`steady`, or what the group says by PACE = "...": `real` if it is about races, which take both CPUs at once;
    `free` if no deadline is in it."""
    says = re.search(r'^PACE = "(\w+)"', (parcel / f"tests/test_{group.name}.py").read_text(), re.MULTILINE)
    return says[1] if says else "steady"


def run_group(images, parcel, group, out):
    """({test: True, or why it failed}, seconds) of one group, each test that was planned included; what it says
    goes to `out`, bytes."""
    def say(text):
        out.write(f"{text}\n".encode())
        out.flush()

    try:
        image = images[group.kernel].result()
    except subprocess.CalledProcessError:   # image/build has said why
        image = None
    started = time.monotonic()
    verdicts = verdicts_of(image, parcel, group, out, say) if image else {}
    if not verdicts:
        why = "could not start" if image else "there is no guest; see above why its image could not be made"
        say(f"FAIL  {group}: {why}")
        verdicts = {str(group): why}
    seconds = time.monotonic() - started
    say(f"----- {group}: {seconds:.0f} s")
    return verdicts, seconds


def verdicts_of(image, parcel, group, out, say):
    """As `run_group` returns it; empty if the group could not start."""
    with tempfile.TemporaryDirectory(prefix="primed-share.") as share:
        results = pathlib.Path(share, f"results-{group.name}")

        def run(command, timeout):
            results.unlink(missing_ok=True)
            return vm.run(image, share, command, timeout, parcel, pace(parcel, group), out)

        try:
            command = shlex.join(["python3", "-B", "-X", "faulthandler", "/parcel/tests/runner.py",
                                  group.prefix, group.name, *group.words])
            timeout = GROUP_TIMEOUT
            if group.name == "endurance":
                timeout += 3600 + 60 * int((parcel / "minutes").read_text())
            status = vm.again_after_crash(functools.partial(run, command, timeout), say)
            end = f"the tests' runner ended with {status}" if status else ""
        except vm.GuestDied as death:
            end = str(death)
        lines = results.read_text().splitlines() if results.exists() else []
    verdicts = {}
    for line in lines:
        verdicts.update(json.loads(line))
    unfinished = [test for test, verdict in verdicts.items() if verdict is None]
    verdicts.update(dict.fromkeys(unfinished, UNFINISHED))
    if end:
        say(f"guest died: {end}")
    if end or unfinished:
        first = f", first {unfinished[0]}," if unfinished else ""
        verdicts[str(group)] = f"{len(unfinished)} tests{first} did not run to their end: {last_lines(end)}"
        say(f"FAIL  {group}: {verdicts[str(group)]}")
    return verdicts


def last_lines(text, most=16):
    """Of what is said of a guest's end, the first line, and what the kernel said of itself, or else its last lines."""
    first, *console = text.splitlines() or [""]
    told = [line for line in console if re.search(r"BUG|Oops|RIP|panic|Killed process", line)] or console
    return "\n        ".join([first, *told[-most:]])
