"""What is on a device's output: the framebuffer that its CRTC scans out, read back; and buffers' pixels."""
import collections
import contextlib
import ctypes
import fcntl
import mmap
import os
import struct

import gpus

GETRESOURCES = gpus.ioc(gpus.READ_WRITE, "d", 0xA0, 64)
GETCRTC = gpus.ioc(gpus.READ_WRITE, "d", 0xA1, 104)
GETFB = gpus.ioc(gpus.READ_WRITE, "d", 0xAD, 28)
MAP_DUMB = gpus.ioc(gpus.READ_WRITE, "d", 0xB3, 16)
DMA_BUF_SYNC = gpus.ioc(gpus.WRITE, "b", 0x00, 8)
SYNC_WRITE, SYNC_END = 2, 4

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


@contextlib.contextmanager
def mapped(fd, length, protection, offset=0):
    """Python's own mmap looks at the file's size, which these have none of."""
    address = libc.mmap(None, length, protection, mmap.MAP_SHARED, fd, offset)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        yield address
    finally:
        libc.munmap(address, length)


def paint(buffer, colour, size=gpus.SIZE):
    """Fills a DMA-BUF with 0xRRGGBB."""
    with mapped(buffer.fd, size, mmap.PROT_WRITE) as address:
        gpus.ask(buffer.fd, DMA_BUF_SYNC, "Q", SYNC_WRITE)
        ctypes.memmove(address, struct.pack("I", colour) * (size // 4), size)
        gpus.ask(buffer.fd, DMA_BUF_SYNC, "Q", SYNC_WRITE | SYNC_END)


class Screen:
    """Of a device that a compositor drives."""

    def __init__(self, gpu):
        self.node = os.open(gpu.card, os.O_RDWR | os.O_CLOEXEC)
        crtcs = (ctypes.c_uint32 * 16)()
        layout = "QQQQIIIIIIII"
        gpus.ask(self.node, GETRESOURCES, layout, 0, ctypes.addressof(crtcs), 0, 0, 0, 16, 0, 0, 0, 0, 0, 0)
        self.crtcs = [crtc for crtc in crtcs if crtc]

    def framebuffer(self):
        for crtc in self.crtcs:
            data = bytearray(struct.pack("QIII", 0, 0, crtc, 0).ljust(104, b"\0"))
            fcntl.ioctl(self.node, GETCRTC, data)
            if number := struct.unpack_from("I", data, 16)[0]:
                return gpus.ask(self.node, GETFB, "IIIIIII", number, 0, 0, 0, 0, 0, 0)
        raise AssertionError("no framebuffer is scanned out")

    @contextlib.contextmanager
    def _pixels(self):
        """The framebuffer's address and pitch, width and height."""
        _, width, height, pitch, bits, _, handle = self.framebuffer()
        assert bits == 32, f"{bits} bits a pixel"
        try:
            offset = gpus.ask(self.node, MAP_DUMB, "IIQ", handle, 0, 0)[2]
            with mapped(self.node, pitch * height, mmap.PROT_READ, offset) as address:
                yield address, pitch, width, height
        finally:
            fcntl.ioctl(self.node, gpus.GEM_CLOSE, struct.pack("II", handle, 0))

    def colours(self, places):
        """0xRRGGBB at each (x, y), all of one framebuffer."""
        with self._pixels() as (address, pitch, _, _):
            return [struct.unpack("I", ctypes.string_at(address + y * pitch + 4 * x, 4))[0] & 0xFFFFFF
                    for x, y in places]

    def areas(self):
        """{0xRRGGBB: how many pixels have it}"""
        count = collections.Counter()
        with self._pixels() as (address, pitch, width, height):
            for y in range(height):
                row = ctypes.string_at(address + y * pitch, 4 * width)
                count.update(memoryview(row).cast("I"))
        total = collections.Counter()
        for pixel, pixels in count.items():
            total[pixel & 0xFFFFFF] += pixels
        return total

    def close(self):
        os.close(self.node)
