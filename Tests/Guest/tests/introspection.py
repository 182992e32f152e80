"""The BPF program by which primed looks at dma-bufs, asked directly: got from the loader as the daemon gets
it, and run with plain system calls.
"""
import collections
import ctypes
import os
import pathlib
import socket
import struct
import subprocess

import broker
import gpus

SOCKET = "/run/primed/introspect"
LOADER = "/usr/local/bin/primed-introspect"

UNANSWERED, DEVICE, NO_DEVICE, UNKNOWN, NONE, NO_FD, CHANGED, INCONSISTENT = range(8)
UNKNOWN_MEMORY, DEDICATED, SYSTEM = range(3)

# struct dmabuf_look, Sources/CBPF/include/dmabuf.h
LAYOUT = struct.Struct("QiIIIIBBBBB7x")
Look = collections.namedtuple("Look", "status card render registered residency preferred attached peers")

SYS_BPF, PROG_RUN = 321, 10
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, arguments):
    """bpf(2); raises OSError."""
    data = ctypes.create_string_buffer(bytes(arguments), len(arguments))
    result = libc.syscall(SYS_BPF, command, data, len(arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, data.raw


class Program:
    def __init__(self, fd, drivers=()):
        self.fd, self.drivers = fd, drivers

    def look(self, fd, inode):
        data = ctypes.create_string_buffer(LAYOUT.pack(inode, fd, 0, 0, 0, 0, 0, 0, 0, 0, 0), LAYOUT.size)
        # union bpf_attr, test: prog_fd, retval, 4 of data, repeat, duration, ctx_size_in, ctx_size_out, ctx_in
        bpf(PROG_RUN, struct.pack("IIIIQQIIIIQQII", self.fd, 0, 0, 0, 0, 0, 0, 0, LAYOUT.size, 0,
                                  ctypes.addressof(data), 0, 0, 0) + bytes(8))
        return Look(*LAYOUT.unpack(data.raw)[3:])

    def look_at(self, buffer):
        return self.look(buffer.fd, buffer.inode)

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Refused(Exception):
    """The loader's reason."""


def receive(connection):
    """The program that comes over a connection to the loader."""
    text, descriptors, _, _ = socket.recv_fds(connection, 1024, 4)
    words = text.decode().split()
    if words[:1] == ["ready"]:
        return Program(*descriptors, words[1:])
    raise Refused(text.decode())


def ask():
    """Of the service, as the daemon does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(60)
        connection.connect(SOCKET)
        return receive(connection)


def set_up():
    """All drivers, a kernel that ignores NO_MOVE, the loader's service; returns the program that it gives."""
    subprocess.run(["load-drivers"], check=True)
    gpus.tgpu_parameter("mode", "ignored")
    broker.unpack()
    broker.command("systemctl", "stop", "primed.service")   # whose measuring moves pages of its own
    return ask()


def load(*words, run=()):
    """Of a loader started here, with `run` before it (setpriv, ...); raises Refused."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        loader = subprocess.Popen([*run, LOADER, *words], stdin=its, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
        its.close()
        ours.settimeout(60)
        try:
            return receive(ours)
        finally:
            loader.communicate()


def types(directory, **changed):
    """A folder of type data: the kernel's own, but for what is given as bytes, or left out (None)."""
    directory = pathlib.Path(directory)
    for source in pathlib.Path("/sys/kernel/btf").iterdir():
        if source.name not in changed:
            (directory / source.name).symlink_to(source)
        elif changed[source.name] is not None:
            (directory / source.name).write_bytes(changed[source.name])
    return directory


def node(number):
    """A node's number as the program gives it, as a dev_t."""
    return os.makedev(226, number - 1) if number else None


# --- type data (Documentation/bpf/btf.rst) ---

STRUCT, MEMBERS = 4, (4, 5, 15, 19)   # struct; struct, union, datasec, enum64: 12 bytes a member
EXTRA = {1: 4, 3: 12, 14: 4, 17: 4}   # int, array, var, decl_tag: bytes beyond 12


def moved_member(data, structure, member, bits):
    """A module's type data with `member` so many bits further on."""
    header, types, types_size, strings, _ = struct.unpack_from("<IIIII", data, 4)
    base = len(base_strings())
    data, at = bytearray(data), header + types

    def name(offset):
        if offset < base:
            return base_strings()[offset:base_strings().index(b"\0", offset)].decode()
        start = header + strings + offset - base
        return data[start:data.index(b"\0", start)].decode()

    while at < header + types + types_size:
        offset, info = struct.unpack_from("<II", data, at)
        kind, count = info >> 24 & 0x1f, info & 0xffff
        if kind == STRUCT and name(offset) == structure:
            for place in range(at + 12, at + 12 + 12 * count, 12):
                if name(struct.unpack_from("<I", data, place)[0]) == member:
                    old = struct.unpack_from("<I", data, place + 8)[0]
                    struct.pack_into("<I", data, place + 8, (old + bits) & 0xffffff)
        at += 12 + EXTRA.get(kind, 0) + (12 * count if kind in MEMBERS else 8 * count if kind in (6, 13) else 0)
    return bytes(data)


def base_strings(kept=[]):
    """The kernel's own strings."""
    if not kept:
        data = pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes()
        header, _, _, strings, size = struct.unpack_from("<IIIII", data, 4)
        kept.append(data[header + strings:header + strings + size])
    return kept[0]
