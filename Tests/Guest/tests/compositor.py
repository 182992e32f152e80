"""The proof's compositor (Tests/Guest/proof), run in the guest; and the seat that every compositor needs."""
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time

import broker
import gpus
import kernel
from client import PROPERTIES, Client

PROGRAMS = pathlib.Path("/usr/local/lib/proof")
SEAT = pathlib.Path("/run/seatd.sock")


def start_seat():
    """seatd, which opens cards for compositors; they are in its group as root."""
    broker.command("systemd-run", "--unit=proof-seat", "--setenv=SEATD_VTBOUND=0", "seatd")
    deadline = time.monotonic() + 20
    while not SEAT.exists():
        assert time.monotonic() < deadline, "seatd has made no socket"
        os.sched_yield()


def devices():
    """All, the one with the output first."""
    primary = gpus.gpu("virtio_gpu")
    return [primary] + [gpu for gpu in gpus.gpus() if gpu.sysfs != primary.sysfs]


def warm_up():
    """When this returns primed knows what it finds out about the machine: whether it can look at buffers by BPF,
    and whether drivers heed the flag, which it tries with buffers of its own, and radeon counts those.
    """
    client = Client()
    with client.signals("PropertiesChanged", PROPERTIES) as changes:
        changes.until(lambda: "introspection" in client.get("Evidence"))
    for make in (lambda: gpus.radeon(gpus.RADEON_VRAM), lambda: gpus.tgpu(gpus.TGPU_VRAM), gpus.plain):
        with make() as buffer:
            client.place(buffer)
    client.close()


class Running:
    """A compositor on the primary device's output, in a runtime directory of its own. What it says goes to `log`."""

    def __init__(self, words, environment=()):
        self.runtime = tempfile.mkdtemp(prefix="xdg.")
        self.log = pathlib.Path(self.runtime, "log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(words, stdout=self._output(log), stderr=log, text=True, env={
                **os.environ, "XDG_RUNTIME_DIR": self.runtime, "LIBSEAT_BACKEND": "seatd", "WLR_BACKENDS": "drm",
                "WLR_DRM_DEVICES": gpus.gpu("virtio_gpu").card, "WLR_LIBINPUT_NO_DEVICES": "1",
                **dict(environment)})

    def _output(self, log):
        return log

    def story(self):
        """What it said last, for a message."""
        return self.log.read_text()[-3000:]

    def close(self):
        """Ends it as a user does, so that what it does at its end is done."""
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


class Compositor(Running):
    """The proof's own; `lines` is what it said of what it does, in words."""

    def __init__(self, order, renderers=None):
        self.lines, self.news = [], threading.Condition()
        words = [PROGRAMS / "compositor", "--order", order]
        for gpu in renderers or devices():
            words += ["--device", gpu.render or gpu.card]
        super().__init__(words)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.display = self.wait("ready")[0][1]

    def _output(self, log):
        return subprocess.PIPE

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.split())
                self.news.notify_all()

    def said(self, *words):
        """The lines that begin so."""
        return [line for line in self.lines if line[:len(words)] == list(words)]

    def wait(self, *words, count=1, seconds=60):
        """The lines that begin so, once there are that many."""
        with self.news:
            if not self.news.wait_for(lambda: len(self.said(*words)) >= count, seconds):
                raise AssertionError(f"the compositor did not say {words} {count} times: {self.story()}")
            return self.said(*words)

    def story(self):
        return "\n".join(" ".join(line) for line in self.lines[-40:]) + "\n" + super().story()

    def close(self):
        super().close()
        self.reader.join()
        self.process.stdout.close()


class Unmodified(Running):
    """Debian's weston or sway, GL by software, with or without the guard."""
    WORDS = {"weston": ["weston", "--backend=drm", "--renderer=gl", "--continue-without-input", "--idle-time=0"],
             "sway": ["sway", "--config", "/dev/null"]}

    def __init__(self, name, guarded):
        words = ["primectl", "guard", "--all", "--log", "--"] if guarded else []
        words += self.WORDS[name]
        if name == "weston":
            words.append("--drm-device=" + pathlib.Path(gpus.gpu("virtio_gpu").card).name)
        super().__init__(words, {"WLR_RENDERER_ALLOW_SOFTWARE": "1"})
        kernel.until(self._socket, f"a socket of {name}'s", 90)
        self.display = self._socket()

    def _socket(self):
        """The name of a socket that takes connections already."""
        assert self.process.poll() is None, self.story()
        for path in pathlib.Path(self.runtime).glob("wayland-*"):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                return path.name
        return None

    def errors(self):
        """The lines of its log that tell of an error, times left out. Without a flip that came too early: sway
        logs one now and then by itself (its issue 6604)."""
        lines = [re.sub(r"^\S*\d+:\d+\S* ", "", line) for line in self.log.read_text().splitlines()]
        return {line for line in lines if re.search("error|fail|warn", line, re.IGNORECASE)
                and not line.startswith("primed-guard:") and "Device or resource busy" not in line}
