"""A QEMU machine with the guest in it: booted once, then restored from its snapshot for each run.

An image directory (image/build makes it) holds `machine` (QEMU options), `vmlinuz`, `initrd`,
`disk.qcow2` and, once `snapshot()` was called, `memory`: the running system's state, taken when it
was idle and before it mounted anything of the host. Runs only read these files (what the guest
writes goes to a temporary overlay) and keep their sockets in a directory of their own, so any number
can go at once.

The guest has three ports: `control` (one line each way: the command, its exit status), `output`
(standard input and output of the command) and `qmp` (a QMP monitor of its own machine, by which
tests plug devices in). What is too big for the share (9p reads some MB/s) comes as a parcel: a
directory that the guest finds unpacked in /parcel.
"""
import base64
import functools
import json
import os
import pathlib
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time


# How the guest's time passes. `real` and `free`: as the host's, both CPUs at once. `steady`: 2 ns an
# instruction, so that on a busy host no deadline in the guest passes for want of the host's attention; one
# CPU at a time, and a quarter slower. A sleeping guest sleeps in the host's time in all. A snapshot fits all.
PACES = {"real": ["-accel", "tcg,thread=multi"],
        "free": ["-accel", "tcg,thread=multi"],
        "steady": ["-accel", "tcg,thread=single", "-icount", "shift=1,sleep=on,align=off"]}
PARCEL_SIZE = 256 << 20   # bytes; the same in every run, since the snapshot knows the disk


class GuestDied(Exception):
    """The machine ended, or its time was over, before the command's exit status came."""


class Crashed(GuestDied):
    """QEMU itself was ended by a signal (7.2 does so now and then below a multi-threaded TCG) or gave up ("Bad icount
    read"): it says nothing of what ran in it, and is worth another try. A guest whose kernel panics ends it with 0.
    """


TRIES = 3   # until a crash of QEMU counts


def again_after_crash(run, say):
    """What `run()` returns; it is run again where QEMU crashed."""
    for left in reversed(range(TRIES)):
        try:
            return run()
        except Crashed as crash:
            if not left:
                raise
            say(f"guest: {str(crash).splitlines()[0]}: once more")


class Machine:
    """One running QEMU; use it in a `with` statement."""

    def __init__(self, image, share=None, incoming=None, writable=False, parcel=None, pace="real"):
        self.image = pathlib.Path(image)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="primed-guest."))
        self.console = self.directory / "console"
        self._pack(parcel)
        options = PACES[pace] + self._options(share or self.directory, incoming, writable)
        self.process = subprocess.Popen(["qemu-system-x86_64", *options], stdin=subprocess.DEVNULL)
        try:
            self._monitor = self._connect("qmp").makefile("rw")
            self._monitor.readline()
            self.qmp("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def _options(self, share, incoming, writable):
        lines = (self.image / "machine").read_text().splitlines()
        options = [word for line in lines if not line.startswith("#") for word in line.split(None, 1)]
        overlay = "off" if writable else "on"
        options += ["-kernel", self.image / "vmlinuz", "-initrd", self.image / "initrd", "-S",
                    "-serial", f"file:{self.console}",
                    # In this order: the first is the guest's /dev/vda, which it boots from.
                    "-drive", f"file={self.image}/disk.qcow2,if=none,id=root,cache=unsafe,snapshot={overlay}",
                    "-device", "virtio-blk-pci,drive=root",
                    "-drive", f"file={self.directory}/parcel,if=none,id=parcel,format=raw,readonly=on",
                    "-device", "virtio-blk-pci,drive=parcel,serial=parcel",
                    "-fsdev", f"local,path={share},security_model=none,multidevs=remap,id=share",
                    "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
                    "-qmp", f"unix:{self.directory}/qmp,server=on,wait=off",
                    "-chardev", f"socket,id=monitor,path={self.directory}/monitor,server=on,wait=off",
                    "-mon", "chardev=monitor,mode=control",
                    "-chardev", f"socket,id=qmp-guest,path={self.directory}/monitor"]
        for port in ("control", "output"):
            options += ["-chardev", f"socket,id={port},path={self.directory}/{port},server=on,wait=off"]
        if incoming:
            options += ["-incoming", f"exec:cat {shlex.quote(str(incoming))}"]
        return [str(option) for option in options]

    def _pack(self, parcel):
        """The parcel's disk: a tar archive, or nothing."""
        disk = self.directory / "parcel"
        if parcel:
            subprocess.run(["tar", "-C", parcel, "--owner=0", "--group=0", "-cf", disk, "."], check=True)
        with open(disk, "ab") as file:
            file.truncate(PARCEL_SIZE)

    def _connect(self, name):
        deadline = time.monotonic() + 20
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.directory / name))
                return connection
            except OSError:   # QEMU has not made it yet
                connection.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise GuestDied("QEMU did not start")
                time.sleep(0.02)

    def qmp(self, command, **arguments):
        """Runs a monitor command; returns what it returns."""
        self._monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._monitor.flush()
        for line in self._monitor:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
        raise GuestDied("QEMU ended")

    def until(self, command, key, wanted, timeout):
        """Asks until the answer's `key` is `wanted` (the monitor reports no event for it)."""
        deadline = time.monotonic() + timeout
        while (state := self.qmp(command).get(key)) != wanted:
            if state == "failed" or time.monotonic() > deadline:
                raise GuestDied(f"{command}: {state}")
            time.sleep(0.02)

    def go(self):
        """Opens the guest's ports and lets the machine run."""
        self.control = self._connect("control")
        self.output = self._connect("output")
        self.qmp("cont")

    def ended(self):
        """Why it is not there any more."""
        status = self.process.wait(30)
        if status:
            return Crashed(f"QEMU crashed (signal {-status})" if status < 0 else f"QEMU gave up (exit {status})")
        return GuestDied("the machine ended")

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def snapshot(image, timeout=300):
    """Boots the guest in `image` and keeps its state in `image`/memory once it is idle."""
    disk = pathlib.Path(image) / "disk.qcow2"
    fresh = disk.read_bytes()   # nothing but a layer, so far

    def boot():
        disk.write_bytes(fresh)
        _snapshot(image, timeout)

    try:
        again_after_crash(boot, functools.partial(print, file=sys.stderr))
    except GuestDied as death:
        sys.exit(f"guest: it did not boot: {death}")


def _snapshot(image, timeout):
    memory = pathlib.Path(image) / "memory"
    with Machine(image, writable=True) as machine:
        machine.go()
        machine.control.settimeout(timeout)
        ready = b""
        try:
            while not ready.endswith(b"ready\n"):
                received = machine.control.recv(100)
                if not received:
                    raise machine.ended()
                ready += received
        except TimeoutError:
            raise GuestDied(f"nothing for {timeout} s\n{console_tail(machine)}") from None
        machine.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 34})
        machine.qmp("migrate", uri=f"exec:cat >{shlex.quote(str(memory))}.part")
        machine.until("query-migrate", "status", "completed", 120)
        machine.qmp("quit")
        machine.process.wait(30)
    memory.with_suffix(".part").rename(memory)


def run(image, share, command, timeout=600, parcel=None, pace="real", out=sys.stdout.buffer, terminal=None):
    """Restores the guest and runs a shell command in `share`, as root; returns its exit status.

    `parcel` is a directory that the guest gets a copy of. The command's output goes to `out` as it comes; `terminal` is a file descriptor to read its input from.
    """
    with Machine(image, share, incoming=pathlib.Path(image) / "memory", parcel=parcel, pace=pace) as machine:
        machine.until("query-status", "status", "paused", 60)
        machine.go()
        line = f"{time.time():.0f} {base64.b64encode(command.encode()).decode()}\n"
        machine.control.sendall(line.encode())
        try:
            return _follow(machine, timeout, out, terminal)
        except GuestDied as death:
            raise type(death)(f"{death}\n{console_tail(machine)}") from None


def _follow(machine, timeout, out, terminal):
    """Copies output until the exit status comes."""
    deadline = time.monotonic() + timeout
    sources = [machine.control, machine.output] + ([terminal] if terminal is not None else [])
    status = b""
    while True:
        ready, _, _ = select.select(sources, [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise GuestDied(f"no end after {timeout} s")
        if terminal in ready:
            machine.output.sendall(os.read(terminal, 4096))
        if machine.output in ready:
            received = machine.output.recv(65536)
            out.write(received)
            out.flush()
            if not received:
                raise machine.ended()
        elif machine.control in ready:   # only when the output before it is all out
            received = machine.control.recv(100)
            status += received
            if not received:
                raise machine.ended()
            if status.endswith(b"\n"):
                return int(status.split()[-1])


def console_tail(machine, lines=40):
    """The last lines of the kernel's console."""
    text = machine.console.read_text(errors="replace") if machine.console.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


if __name__ == "__main__":
    snapshot(sys.argv[1])
