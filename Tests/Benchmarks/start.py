"""How long primed takes to be ready, and how much of memory it and its program's pages are in at rest."""
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time

import harness
import private_bus
from client import PATIENCE
from counts import wait_until_at_rest
from servers import Stage, laptop, pin, with_devices


def measure(folder, options, figures):
    pin()
    ready(folder, options, figures)
    resident(folder, figures)


def ready(folder, options, figures):
    """exec to READY=1, in turns. primed's devices are simulated, and their file is read, too; the C program is the
    reference, which opens the bus and puts an object there."""
    with tempfile.TemporaryDirectory() as where, open(f"{where}/log", "w") as log:
        bus = private_bus.Daemon(where, log)
        scenario = pathlib.Path(where, "scenario.json")
        scenario.write_text(harness.json.dumps(with_devices(4)))
        ours = [harness.primed, "--bus", bus.address, "--simulate", scenario, "--log-level", "warning"]
        theirs = [f"{folder}/reference", bus.address]
        rounds = [(until_ready(ours, where), until_ready(theirs, where)) for _ in range(2 * options.rounds)]
        bus.stop()
    figures.note(f"ms: primed {min(rounds)[0] * 1e3:.1f}, C program {min(rounds)[1] * 1e3:.1f}")
    figures.add("ready", [one / other for one, other in rounds])


def until_ready(words, where):
    """Seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{where}/ready-{time.monotonic_ns()}")
        notify.settimeout(PATIENCE)
        began = time.monotonic()
        process = subprocess.Popen(words, env={**os.environ, "NOTIFY_SOCKET": notify.getsockname()})
        while b"READY=1" not in notify.recv(4096):
            pass
        took = time.monotonic() - began
        process.terminate()
        process.wait()
        return took


def resident(folder, figures):
    """What of a file is in memory hangs on kernel and file system: no count. CI holds it in the guest."""
    with Stage(folder, laptop()) as stage:
        stage.ask("place", 10)
        wait_until_at_rest(stage.primed)
        status = pathlib.Path(f"/proc/{stage.primed.process.pid}/status").read_text()
    figures.add("resident", int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) / 1024)
