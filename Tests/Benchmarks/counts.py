"""What is counted and does not depend on the machine's load: instructions and allocations by callgrind, system
calls by strace, the bytes of a cached buffer, and what a primed at rest does and holds."""
import collections
import os
import pathlib
import re
import subprocess
import tempfile
import time

import library
from client import PATIENCE, Client
from servers import INTROSPECTION, PRIMED, REFERENCE, Stage, laptop, with_devices

# Questions: the difference between two runs of so many, so that what a run costs besides falls out.
FEW, MANY = 100, 600
ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"}
CACHED = 16_000


def measure(folder, options, figures):
    instructions(folder, figures)
    instructions_in_the_client(folder, figures)
    system_calls(folder, figures)
    bytes_a_buffer(folder, figures)
    at_rest(folder, options, figures)


# --- instructions ---


class Cost(collections.namedtuple("Cost", "instructions allocations")):
    """Of one question."""


def fresh(stage, kind, count):
    """Where the buffers begin that nobody asked about."""
    if kind != "first":
        return {}
    stage.asked += count
    return {"from": stage.asked - count}


class Counted(Stage):
    """Both servers below callgrind."""

    asked = 0

    def __init__(self, folder, machine, reference=True):
        super().__init__(folder, machine, reference=reference, wrap=lambda where, name: (
            "valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={where}/{name}"))

    def cost(self, kind, name=PRIMED, **options):
        few, many = (self._cost_of(kind, count, name, options) for count in (FEW, MANY))
        return Cost(*((b - a) / (MANY - FEW) for a, b in zip(few, many)))

    def _cost_of(self, kind, count, name, options):
        self.ask(kind, 1, name=name, **fresh(self, kind, 1), **options)   # so that the buffer is known
        self._dump(name)
        self.ask(kind, count, name=name, **fresh(self, kind, count), **options)
        return read_profile(self._dump(name))

    def _dump(self, name):
        """The profile since the last one."""
        process = self.process(name)
        before = set(self.where.glob(f"{name}.*"))
        subprocess.run(["callgrind_control", "--dump", str(process.pid)], check=True, capture_output=True)
        new, = set(self.where.glob(f"{name}.*")) - before
        return new


def read_profile(path):
    """All instructions, and all calls of the heap's allocators."""
    names, total, allocations, called = {}, 0, 0, ""
    for line in open(path):
        if named := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            if named[2]:
                names[named[1]] = named[2].strip()
            called = names[named[1]]
        elif line.startswith("calls=") and called in ALLOCATORS:
            allocations += int(line[6:].split()[0])
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    return Cost(total, allocations)


def instructions(folder, figures):
    with Counted(folder, laptop(4 * MANY, kernel=INTROSPECTION)) as stage:
        place, reference = stage.cost("place"), stage.cost("place", REFERENCE)
        first, first_reference = stage.cost("first"), stage.cost("first", REFERENCE)
        figures.note(f"instructions: warm Place {place.instructions:.0f}, C reference {reference.instructions:.0f}; "
                     f"first look {first.instructions:.0f}, C reference {first_reference.instructions:.0f}")
        figures.note(f"allocations: warm Place {place.allocations:.2f}, C reference {reference.allocations:.2f}, "
                     f"first look {first.allocations:.2f}")
        figures.add("instructions-warm", place.instructions / reference.instructions)
        figures.add("instructions-first", first.instructions / first_reference.instructions)
        for kind in ("verdicts", "candidates"):
            figures.add(f"instructions-{kind}", stage.cost(kind).instructions / place.instructions)
        figures.add("instructions-many", stage.cost("many", items=16).instructions / 16 / place.instructions)
        figures.add("allocations-warm", round(place.allocations - reference.allocations, 2))
    with Counted(folder, with_devices(64), reference=False) as stage:
        figures.add("instructions-devices", stage.cost("place").instructions / place.instructions)


def instructions_in_the_client(folder, figures):
    """All that is done in answer()."""
    counts = {kind: client_instructions(folder, kind) for kind in ("known", "absent", "refused")}
    figures.add("instructions-known", counts["known"])
    figures.add("instructions-absent", counts["absent"] / counts["known"])
    figures.add("instructions-refused", counts["refused"] / counts["known"])


def client_instructions(folder, kind):
    with tempfile.NamedTemporaryFile() as profile:
        library.answers(folder, kind, 0, ["valgrind", "--tool=callgrind", "-q", "--toggle-collect=answer",
                                         f"--callgrind-out-file={profile.name}"])
        return read_profile(profile.name).instructions / 1000


# --- system calls ---


class Traced(Stage):
    """Both servers below strace."""

    asked = 0

    def __init__(self, folder, machine):
        super().__init__(folder, machine, reference=True, wrap=lambda where, name: (
            "strace", "-D", "-f", "-qq", "-o", f"{where}/{name}"))

    def calls(self, kind, name, window):
        """System calls a question, of all threads."""
        self.ask("place", 1, name=name)
        before = self._count(name)
        self.ask(kind, MANY, window, name, **fresh(self, kind, MANY))
        return collections.Counter({call: count / MANY for call, count in (self._count(name) - before).items()})

    def _count(self, name):
        calls = collections.Counter(re.findall(r"^\d+ +(\w+)\(", (self.where / name).read_text(), re.M))
        # That a lock was held for a moment depends on what else runs.
        del calls["futex"]
        return calls


def system_calls(folder, figures):
    with Traced(folder, laptop(5 * MANY, kernel=INTROSPECTION)) as stage:
        for key, kind, window in (
                ("calls-warm", "place", 1), ("calls-first", "first", 1), ("calls-burst", "first", 16)):
            ours, theirs = (stage.calls(kind, name, window) for name in (PRIMED, REFERENCE))
            for name, calls in ((PRIMED, ours), (REFERENCE, theirs)):
                figures.note(f"{kind}, window {window}, {name}: " + ", ".join(
                    f"{call} {count:.2f}" for call, count in calls.most_common() if count >= 0.05))
            figures.add(key, sum(ours.values()) / sum(theirs.values()))


# --- memory ---


def anonymous(process):
    """Bytes that are the process's own (RssAnon)."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^RssAnon:\s+(\d+) kB", status, re.M)[1]) * 1024


def bytes_a_buffer(folder, figures):
    """The difference between a cache that has room for all of them and one that has room for few."""
    held = {}
    for limit in (64, CACHED):
        with Stage(folder, laptop(CACHED, kernel=INTROSPECTION), options=["--cache", str(limit)]) as stage:
            stage.ask("first", CACHED, window=8)
            cached = stage.statistics()["cached-buffers"]
            assert cached == limit, f"{cached} cached buffers"
            wait_until_at_rest(stage.primed)
            held[limit] = anonymous(stage.primed.process)
    figures.add("bytes-buffer", (held[CACHED] - held[64]) / (CACHED - 64))


# --- rest ---


def armed_timers(pid):
    """Timers of the process that will ever fire."""
    texts = (entry.read_text() for entry in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir())
    times = (re.search(r"^it_value: \((\d+), (\d+)\)", text, re.M) for text in texts)
    return sum(bool(time) and time[0].split(": ")[1] != "(0, 0)" for time in times)


def wait_until_at_rest(primed):
    """Until one thread is left that waits for nothing but the bus."""
    deadline = time.monotonic() + PATIENCE
    while primed.threads() > 1 or armed_timers(primed.process.pid):
        assert time.monotonic() < deadline, "primed does not come to rest"
        time.sleep(0.05)


def wakeups(pid):
    """How often its threads have gone on after they had waited."""
    texts = [pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[1]) for text in texts)


def at_rest(folder, options, figures):
    """After a first answer on a simulated machine: what the devices of this one have it do is their own affair. Only
    of its memory is nothing simulated."""
    with Stage(folder, None) as stage:
        client = Client(stage.bus.address)
        client.objects()
        client.close()
        wait_until_at_rest(stage.primed)
        figures.add("rest-anonymous", anonymous(stage.primed.process) / (1 << 20))
    with Stage(folder, laptop()) as stage:
        stage.ask("place", 10)
        wait_until_at_rest(stage.primed)
        pid = stage.primed.process.pid
        before = wakeups(pid)
        time.sleep(options.idle)
        figures.note(f"{options.idle} s at rest")
        figures.add("rest-wakeups", wakeups(pid) - before)
        figures.add("rest-threads", stage.primed.threads())
        figures.add("rest-timers", armed_timers(pid))
