"""Goals beside the time of a query: the client's cached answer, the daemon's start, its rest, and how long
after a uevent it tells of it."""
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import textwrap
import time
from typing import NamedTuple

import harness
import private_bus

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
CALLS = 20_000
FOUR = [{"id": f"gpu{i}", "driver": "amdgpu", "card": i, "render": 128 + i, "dedicated": 1 << 30} for i in range(4)]


def build(folder, flags):
    library = PROJECT / "Sources/CPrimedClient"
    subprocess.run(["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-o", f"{folder}/client", f"-I{library}/include",
                    HERE / "client.c", *sorted(library.glob("*.c")), *flags], check=True)


def cached_answer(folder, options, goals):
    """In one process, in turns."""
    with tempfile.TemporaryDirectory() as where, open(f"{where}/log", "w") as log:
        bus = private_bus.Daemon(where, log)
        primed = harness.Primed(bus.address, where, harness.laptop())
        ratios = []
        for _ in range(options.rounds):
            done = subprocess.run([f"{folder}/client", bus.address, str(CALLS)], check=True, capture_output=True,
                                  text=True)
            cached, bare = map(int, done.stdout.split())
            ratios.append(cached / bare)
        print(f"     fstat {bare / 1000:.0f} ns, answer from the client's cache {cached / 1000:.0f} ns")
        goals.check("client's cached answer / bare fstat", statistics.median(ratios), 1.15)
        primed.stop()
        bus.stop()


def start(folder, options, goals):
    """exec to READY=1 of both, in turns. primed's four devices are simulated, and their file is read, too."""
    with tempfile.TemporaryDirectory() as where, open(f"{where}/log", "w") as log:
        bus = private_bus.Daemon(where, log)
        machine = harness.laptop(devices=FOUR, reaches=[], buffers=[])
        ours, theirs = [], []
        for _ in range(2 * options.rounds):
            began = time.monotonic()
            primed = harness.Primed(bus.address, where, machine)
            ours.append(time.monotonic() - began)
            primed.stop()
            theirs.append(until_ready(f"{folder}/reference", bus.address, where))
        print(f"     exec to READY=1, ms: C program {min(theirs) * 1e3:.1f}, primed {min(ours) * 1e3:.1f}")
        goals.check("exec to READY=1 with 4 devices / C program", statistics.median(ours) / statistics.median(theirs), 3)
        bus.stop()


def until_ready(program, address, where):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{where}/ready-{time.monotonic_ns()}")
        notify.settimeout(harness.PATIENCE)
        began = time.monotonic()
        process = subprocess.Popen([program, address], env={**os.environ, "NOTIFY_SOCKET": notify.getsockname()})
        notify.recv(100)
        took = time.monotonic() - began
        process.terminate()
        process.wait()
        return took


def armed_timers(pid):
    """Timers of the process that will ever fire."""
    armed = 0
    for entry in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        value = re.search(r"^it_value: \((\d+), (\d+)\)", entry.read_text(), re.M)
        armed += bool(value) and (int(value[1]), int(value[2])) != (0, 0)
    return armed


class Rest(NamedTuple):
    memory: dict    # file's name: (KiB resident, of it private)
    threads: int
    timers: int     # that will wake it; without a time-out to wait for there is nothing else to count

    @property
    def resident(self):
        return sum(pages for pages, _ in self.memory.values())


def memory(pid):
    """By file; the heap, the stack and such are of none."""
    found = {}
    for line in open(f"/proc/{pid}/smaps"):
        key, *values = line.split()
        if not key.endswith(":"):
            name = pathlib.Path(values[4]).name if len(values) > 4 and values[4][0] == "/" else "no file"
        elif key in ("Rss:", "Anonymous:"):
            pages, private = found.get(name, (0, 0))
            more = int(values[0])
            found[name] = (pages + more, private) if key == "Rss:" else (pages, private + more)
    return found


def at_rest(address, folder, machine):
    """After a first answer."""
    primed = harness.Primed(address, folder, machine)
    client = harness.Client(address)
    client.place("game") if machine else client.objects()
    client.ping()   # by now it has done with the answer
    pid = primed.process.pid
    found = Rest(memory(pid), len(os.listdir(f"/proc/{pid}/task")), armed_timers(pid))
    client.close()
    primed.stop()
    return found


def idle(options, goals):
    """On a simulated machine and on this one. Which pages of a file come along with one that is touched differs
    from run to run."""
    with tempfile.TemporaryDirectory() as where, open(f"{where}/log", "w") as log:
        bus = private_bus.Daemon(where, log)
        for what, machine in (("a simulated laptop", harness.laptop()), ("this machine", None)):
            rounds = sorted((at_rest(bus.address, where, machine) for _ in range(options.rounds)),
                            key=lambda one: one.resident)
            middle = rounds[len(rounds) // 2]
            files = sorted(middle.memory.items(), key=lambda one: -one[1][0])
            print(textwrap.fill("KiB resident (of them private): " + ", ".join(
                f"{name} {pages} ({private})" for name, (pages, private) in files),
                110, initial_indent=" " * 5, subsequent_indent=" " * 5, break_on_hyphens=False))
            goals.check(f"idle, {what}: MiB resident", middle.resident / 1024, 8)
            if machine:   # what this one has primed look at meanwhile is its own affair
                goals.check(f"idle, {what}: threads", max(one.threads for one in rounds), 1)
                goals.check(f"idle, {what}: timers that will wake it, the watchdog aside",
                            max(one.timers for one in rounds), 0)
        bus.stop()


# The bound, 5 ms, is that many round trips of a Ping on the machine that it was set on (75 us).
PINGS_A_UEVENT = 66


def uevents(goals):
    """In the guest, on a real kernel with a real udevd; both ends of what is timed are there. The guest is an
    emulated machine, some 30 times as slow: so a Ping there is the measure."""
    done = subprocess.run([PROJECT / "Tests/Guest/run", "--", "python3 -B /parcel/tests/bench_uevents.py"],
                          stdout=subprocess.PIPE, text=True, check=True)
    uevent, ping = map(float, done.stdout.split()[-2:])
    print(f"     udevd's word of a device to primed's, in the guest: {uevent:.1f} ms; a Ping there {ping:.2f} ms")
    goals.check("udevd's word of a device to primed's / Peer.Ping, p50, in the guest", uevent / ping, PINGS_A_UEVENT)
