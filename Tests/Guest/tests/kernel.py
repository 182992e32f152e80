"""What the kernel itself counts and shows: the witness of the tests."""
import collections
import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import struct
import time

import gpus

RADEON_INFO = gpus.ioc(gpus.READ_WRITE, "d", 0x40 + 0x27, 16)
NUM_BYTES_MOVED = 0x1D

# The running one.
VERSION = [int(part) for part in os.uname().release.split(".")[:2]]
LINUX_7 = VERSION >= [7, 0]


def is_in(kernels):
    """Whether a range of kernels, as the rows of the pair table have ("..6.12", "7.2..", ""), has the running one."""
    since, _, until = kernels.partition("..")
    since, until = ([int(part) for part in end.split(".") if part] for end in (since, until))
    return since <= VERSION and (not until or VERSION <= until)


def until(holds, what, seconds=10):
    """Looks at something that the kernel announces to nobody (a counter, a state) until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds} s: {what}")
        os.sched_yield()


def radeon_bytes_moved():
    """Of radeon's own buffers, but an allocation and an import of a foreign buffer count too."""
    value = ctypes.c_uint64()
    node = gpus.gpu("radeon").open()
    try:
        fcntl.ioctl(node, RADEON_INFO, struct.pack("IIQ", NUM_BYTES_MOVED, 0, ctypes.addressof(value)))
    finally:
        os.close(node)
    return value.value


def tgpu_moves():
    return int(gpus.tgpu_parameter("moves"))


def moves():
    """(bytes moved by radeon, buffers moved by all tgpu devices)"""
    return radeon_bytes_moved(), tgpu_moves()


def moved_since(before):
    """How many buffers of gpus.SIZE radeon has moved since moves() was `before`, and how many the tgpus. What radeon
    counts beyond are the 4 KiB buffers of primed's own, which count when they are made.
    """
    (radeon, tgpu), (radeon_before, tgpu_before) = moves(), before
    return (radeon - radeon_before) // gpus.SIZE, tgpu - tgpu_before


def tgpu_count(counter):
    """opens, attempts, imports, moves or resumes of all tgpu devices that are there"""
    return sum(int(gpu.attribute(counter)) for gpu in gpus.gpus("tgpu"))


def tgpu_info(buffer):
    """(placement, preferred, moves, attached)"""
    return gpus.ask(buffer.node, gpus.TGPU_INFO, "IIIIII", buffer.handle, 0, 0, 0, 0, 0)[1:5]


def attachments():
    """{inode: devices attached} of every dma-buf of the system, from debugfs"""
    found, inode = {}, None
    for line in pathlib.Path("/sys/kernel/debug/dma_buf/bufinfo").read_text().splitlines():
        words = line.split()
        if re.fullmatch(r"[0-9]{8}", words[0] if words else "") and len(words) >= 6:
            inode = int(words[5])
        elif match := re.match(r"Total (\d+) devices attached", line):
            found[inode] = int(match[1])
    return found


TRACING = pathlib.Path("/sys/kernel/tracing")
# From Linux 7.0 on.
ATTACH_EVENT = TRACING / "events/dma_buf/dma_buf_dynamic_attach"


@contextlib.contextmanager
def attaching():
    """Gives a function that tells of every attachment to any dma-buf since (the buffers' inodes, one for each), by the
    kernel's tracepoint: a second witness, which misses none, as a look at bufinfo may. Empty where there is none.
    """
    if not ATTACH_EVENT.exists():
        yield list
        return
    trace = TRACING / "trace"
    trace.write_text("")
    (ATTACH_EVENT / "enable").write_text("1")
    line = re.compile(r"dma_buf_dynamic_attach: .* ino=(\d+) ")
    try:
        yield lambda: [int(inode) for inode in line.findall(trace.read_text())]
    finally:
        (ATTACH_EVENT / "enable").write_text("0")


def is_master(pid):
    """Whether one of the process's open files is DRM master, as debugfs shows it."""
    line = re.compile(rf"^ *\S+ +{pid} +\d+ +y ", re.MULTILINE)
    return any(line.search(file.read_text()) for file in pathlib.Path("/sys/kernel/debug/dri").glob("*/clients"))


def descriptors(pid):
    """What the process has open, as /proc names it."""
    names = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(os.readlink(entry))
        except FileNotFoundError:   # closed while we looked
            pass
    return names


def dma_bufs(pid):
    return [name for name in descriptors(pid) if name.startswith("/dmabuf:")]


def wait_for_closes(pid, count=0):
    """Until it holds no more DMA-BUFs than that: those that came in a message are closed soon after the answer."""
    until(lambda: len(dma_bufs(pid)) <= count, f"at most {count} DMA-BUFs held")


def leaked(pid, before):
    """What the process has open beyond `before` (descriptors() of then), each DRM node once allowed:
    primed opens nodes when it first needs them.
    """
    more = collections.Counter(descriptors(pid))
    nodes = {name for name in more if name.startswith("/dev/dri/")}
    return list((more - collections.Counter(before) - collections.Counter(nodes)).elements())
