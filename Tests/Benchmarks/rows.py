"""What is measured: a row a figure, and what it may be at most.

A figure is a ratio against something measured in the same run, or a count. `wanted` is the goal where it is below
what is reached today: `bound` is what holds, and what a change must not exceed.
"""
from typing import NamedTuple


class Row(NamedTuple):
    what: str
    beside: str           # what it is divided by; "": it is a count
    bound: float
    wanted: float = None  # None: the bound is the goal
    unit: str = ""
    head: bool = False    # in the README of the project, too

    @property
    def name(self):
        return f"{self.what} / {self.beside}" if self.beside else self.what + (f", {self.unit}" if self.unit else "")


# Counted, and the same in each run: these hold in CI.
COUNTS = {
    "instructions-warm": Row("instructions, a warm Place", "C reference", 1.04, 1.00, head=True),
    "instructions-first": Row("instructions, a first look", "C's first", 2.25),
    "instructions-verdicts": Row("instructions, with verdicts", "warm Place", 1.55),
    "instructions-candidates": Row("instructions, with candidates", "warm Place", 1.18),
    "instructions-many": Row("instructions, an item of PlaceMany of 16", "warm Place", 0.72),
    "instructions-devices": Row("instructions, on 64 devices", "on 2", 1.15),
    "instructions-known": Row("instructions, the client library's own answer", "", 260),
    "instructions-absent": Row("instructions, the same without primed", "known buffer's", 1.15),
    "instructions-refused": Row("instructions, the same where primed refuses", "known buffer's", 1.15),
    # What happens once a second is spread over the questions.
    "allocations-warm": Row("allocations, a warm Place, beyond the C reference's", "", 0.1, 0),
    "calls-warm": Row("system calls, a warm Place", "C reference", 0.9),
    "calls-first": Row("system calls, a first look", "C's first", 1.75),
    # How many messages have come by a look's turn hangs on the scheduler.
    "calls-burst": Row("system calls, first looks, 16 under way", "C's first", 2.0, 1.75),
    "bytes-buffer": Row("a cached buffer", "", 96, unit="bytes"),
    "rest-threads": Row("at rest: threads", "", 1),
    "rest-wakeups": Row("at rest: wakeups", "", 0, head=True),
    "rest-timers": Row("at rest: timers that will wake it", "", 0),
    "rest-anonymous": Row("at rest: memory of its own", "", 1, unit="MiB", head=True),
}

TIMES = {
    "warm": Row("warm Place", "C reference", 1.03, head=True),
    "added": Row("added to a Ping", "what C adds", 1.08),
    "window": Row("CPU time a query, window 32", "C reference", 1.20),
    "closer": Row("CPU time of the closing thread", "the loop's", 0.30),
    "verdicts": Row("warm Place with verdicts", "without", 1.15, head=True),
    "candidates": Row("warm Place with candidates", "without", 1.15),
    "many-16": Row("PlaceMany of 16", "16 warm Place", 0.25),
    "many-64": Row("PlaceMany of 64", "64 warm Place", 0.25, head=True),
    "advise": Row("Advise", "warm Place", 1.15),
    "first": Row("first look by introspection, simulated", "Ping", 2.0),
    "first-reference": Row("first look by introspection, simulated", "C's first", 1.5),
    "devices": Row("warm Place on n devices", "on 2", 1.10),
    "buffers": Row("warm Place with 100,000 cached buffers", "with 100", 1.05),
    "import": Row("first look by imports, simulated", "the slowest import", 1.3),
    "storm": Row("resize storm, 99 of 100", "idle warm Place", 10, head=True),
    "storm-middle": Row("resize storm, median", "idle warm Place", 10),
    "storm-looks": Row("resize storm: looks a buffer", "", 1),
    "storm-cpu": Row("resize storm: CPU of one core", "", 0.5),
    "known": Row("client library, a known buffer", "statx", 1.15, head=True),
    "absent": Row("client library, without primed", "known buffer", 1.15),
    "refused": Row("client library, refused", "known buffer", 1.15),
    "ready": Row("exec to READY=1, 4 devices", "C program", 3, head=True),
    "resident": Row("at rest: memory with the program's own pages", "", 12, unit="MiB"),
}

# In the guest: real devices, a real udevd, and an emulated processor, some 30 times as slow.
GUEST = {
    "guest-first": Row("first look by introspection, in the guest", "Ping", 3.5, 2.0, head=True),
    "guest-first-reference": Row("first look by introspection, in the guest", "C's first", 2.0, 1.5),
    "guest-import": Row("first look by imports, in the guest", "the slowest import", 1.3, head=True),
    # 5 ms, on the machine that the bound was set on (a Ping: 75 us).
    "uevent": Row("udevd's word of a device to primed's, in the guest", "Ping", 66),
}

ROWS = {**COUNTS, **TIMES, **GUEST}
