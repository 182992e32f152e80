"""What the kernel itself counts and shows: the witness of the tests."""
import collections
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


def leaked(pid, before):
    """What the process has open beyond `before` (descriptors() of then), each DRM node once allowed:
    primed opens nodes when it first needs them.
    """
    more = collections.Counter(descriptors(pid))
    nodes = {name for name in more if name.startswith("/dev/dri/")}
    return list((more - collections.Counter(before) - collections.Counter(nodes)).elements())
