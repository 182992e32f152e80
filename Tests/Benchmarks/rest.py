"""Goals beside the time of a query: the client's cached answer, the daemon's start, its rest, and how long
after a uevent it tells of it."""
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import time

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


def asleep(pid, goals):
    """No wakeups to count: it waits without a time-out, and no timer of it is set."""
    goals.check("idle: timers that will wake it, the watchdog aside", armed_timers(pid), 0)


# FLOOR.md's bound, 5 ms, is that many round trips of a Ping on the machine that it was set on (75 us).
PINGS_A_UEVENT = 66


def uevents(goals):
    """In the guest, on a real kernel with a real udevd; both ends of what is timed are there. The guest is an
    emulated machine, some 30 times as slow: so a Ping there is the measure."""
    done = subprocess.run([PROJECT / "Tests/Guest/run", "--", "python3 -B /parcel/tests/bench_uevents.py"],
                          stdout=subprocess.PIPE, text=True, check=True)
    uevent, ping = map(float, done.stdout.split()[-2:])
    print(f"     udevd's word of a device to primed's, in the guest: {uevent:.1f} ms; a Ping there {ping:.2f} ms")
    goals.check("udevd's word of a device to primed's / Peer.Ping, p50, in the guest", uevent / ping, PINGS_A_UEVENT)
