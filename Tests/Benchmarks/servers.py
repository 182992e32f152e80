"""Who is asked and who asks: primed on a simulated machine and the C reference, each on a bus; load.c."""
import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

import harness
import private_bus
from client import NAME, Client, wait_until

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
LIBRARY = PROJECT / "Sources/CPrimedClient"
REFERENCE, PRIMED = "org.primed.Reference", NAME
INTROSPECTION = {"noMove": "ignored", "introspection": True}


def build(folder):
    """The programs here, in `folder`."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libsystemd"], check=True, capture_output=True,
                           text=True).stdout.split()
    more = {"client": ["-g", f"-I{LIBRARY}/include", *sorted(LIBRARY.glob("*.c"))]}
    for name in ("reference", "load", "storm", "client"):
        subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", f"{folder}/{name}", HERE / f"{name}.c",
                        *more.get(name, []), *flags], check=True)


def strip(program, folder):
    """A copy without debugging data: valgrind 3.19 gives up on that of Swift."""
    subprocess.run(["objcopy", "--strip-debug", program, f"{folder}/primed"], check=True)
    return pathlib.Path(f"{folder}/primed")


def laptop(buffers=0, **changes):
    """Two GPUs; beside what the tests' laptop has, so many buffers b0, b1, ..."""
    machine = harness.laptop(**changes)
    machine["buffers"] = machine["buffers"] + [
        {"id": f"b{number}", "exporter": "dgpu", "home": "dedicated", "residency": "dedicated"}
        for number in range(buffers)]
    return machine


def with_devices(count):
    """The laptop with further GPUs, `count` in all."""
    machine = laptop(kernel=INTROSPECTION)
    machine["devices"] = machine["devices"] + [
        {"id": f"gpu{number}", "driver": "amdgpu", "card": number, "render": 128 + number, "dedicated": 1 << 30}
        for number in range(2, count)]
    return machine


def cpu_time(process):
    """Nanoseconds that all threads of a process ran, those that have ended, too."""
    # clock_getcpuclockid(3); CPUCLOCK_SCHED of the kernel's posix-timers.h.
    return time.clock_gettime_ns(~process.pid << 3 | 2)


def loop_time(process):
    """Nanoseconds that its first thread ran."""
    return int(pathlib.Path(f"/proc/{process.pid}/schedstat").read_text().split()[0])


class Stage:
    """A bus with primed on it, beside the C reference if that is wanted; a context. `wrap` gives the words before
    a server's own, by its name."""

    def __init__(self, folder, machine, kind="dbus-daemon", options=(), wrap=lambda where, name: (), reference=False):
        self.folder = folder
        self._where = tempfile.TemporaryDirectory(prefix="primed-bench-")
        self.where = pathlib.Path(self._where.name)
        self._log = open(self.where / "log", "w")
        self.bus = private_bus.KINDS[kind](self.where, self._log)
        self.reference = None
        self.primed = harness.Primed(self.bus.address, self.where, machine, wrap(self.where, PRIMED),
                                     options=["--log-level", "warning", *options])
        if reference:
            self.reference = subprocess.Popen(
                [*wrap(self.where, REFERENCE), f"{self.folder}/reference", self.bus.address])
            wait_for_name(self.bus, REFERENCE)

    def process(self, name):
        return self.primed.process if name == PRIMED else self.reference

    def ask(self, kind, count, window=1, name=PRIMED, **options):
        """Nanoseconds a question."""
        words = [f"{option}={value}" for option, value in options.items()]
        done = subprocess.run([f"{self.folder}/load", self.bus.address, name, kind, str(count), str(window), *words],
                              check=True, stdout=subprocess.PIPE, text=True)
        return int(done.stdout)

    def statistics(self):
        client = Client(self.bus.address)
        try:
            return client.get("Statistics")
        finally:
            client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.reference:
            self.reference.terminate()
            self.reference.wait()
        self.primed.stop()
        self.bus.stop()
        self._log.close()
        self._where.cleanup()


def wait_for_name(bus, name):
    client = Client(bus.address)
    client.bus.signal_subscribe("org.freedesktop.DBus", None, "NameOwnerChanged", None, None, 0, lambda *_: None)
    try:
        wait_until(lambda: client.ask_bus("NameHasOwner", "s", name), name)
    finally:
        client.close()


CORES = os.sched_getaffinity(0)


def pin():
    """Everything that is started from now on shares one core with us, and goes before all else there, if we may."""
    os.sched_setaffinity(0, {max(CORES)})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def unpin():
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, CORES)
