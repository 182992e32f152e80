"""The guest's GPUs, and buffers allocated on them as a client would, with plain ioctls.

Buffers are made through nodes that the test opens itself and holds only as long as the buffer lives;
master is dropped at once, so that the tests are in nobody's way. Sizes are bytes.
"""
import contextlib
import fcntl
import os
import pathlib
import struct

SIZE = 65536


def ioc(direction, kind, number, size):
    return direction << 30 | size << 16 | ord(kind) << 8 | number


WRITE, READ_WRITE = 1, 3
DROP_MASTER = ioc(0, "d", 0x1F, 0)
SET_MASTER = ioc(0, "d", 0x1E, 0)
GEM_CLOSE = ioc(WRITE, "d", 0x09, 8)
PRIME_HANDLE_TO_FD = ioc(READ_WRITE, "d", 0x2D, 12)
PRIME_FD_TO_HANDLE = ioc(READ_WRITE, "d", 0x2E, 12)
CREATE_DUMB = ioc(READ_WRITE, "d", 0xB2, 32)
RADEON_GEM_CREATE = ioc(READ_WRITE, "d", 0x40 + 0x1D, 32)
TGPU_CREATE = ioc(READ_WRITE, "d", 0x40, 16)
TGPU_INFO = ioc(READ_WRITE, "d", 0x41, 24)
UDMABUF_CREATE = ioc(WRITE, "u", 0x42, 24)
DMA_HEAP_ALLOC = ioc(READ_WRITE, "H", 0x00, 24)
DMA_BUF_SET_NAME = ioc(WRITE, "b", 0x01, 8)

RADEON_GTT, RADEON_VRAM = 2, 4
TGPU_SYSTEM, TGPU_VRAM = 0, 1
NO_MOVE = 1


def ask(fd, request, layout, *values):
    """An ioctl on a struct; returns its fields as the kernel left them."""
    data = bytearray(struct.pack(layout, *values))
    fcntl.ioctl(fd, request, data)
    return struct.unpack(layout, data)


class Gpu:
    """One device, as sysfs shows it now."""

    def __init__(self, sysfs):
        self.sysfs = sysfs
        link = self._driver_link()
        # A software device has no driver, or on newer kernels one that is all such devices'.
        self.driver = {"virtio-pci": "virtio_gpu", "cirrus-qemu": "cirrus", "faux_driver": sysfs.name}.get(link, link)
        nodes = sorted(entry.name for entry in (sysfs / "drm").iterdir())
        self.card = next((f"/dev/dri/{name}" for name in nodes if name.startswith("card")), None)
        self.render = next((f"/dev/dri/{name}" for name in nodes if name.startswith("render")), None)

    def _driver_link(self):
        link = self.sysfs / "driver"
        return link.resolve().name if link.exists() else self.sysfs.name

    def __repr__(self):
        return f"{self.driver} ({self.sysfs.name})"

    @property
    def number(self):
        """The dev_t by which primed names it."""
        return os.stat(self.render or self.card).st_rdev

    @property
    def card_number(self):
        return os.stat(self.card).st_rdev

    def attribute(self, name, value=None):
        """Reads a sysfs attribute, or writes it."""
        path = self.sysfs / name
        return path.read_text().strip() if value is None else path.write_text(str(value))

    def open(self, card=False):
        path = self.card if card or not self.render else self.render
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if path == self.card:
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, DROP_MASTER)
        return fd


def gpus(driver=None):
    """All of them, or a driver's, in the stable order of their place in sysfs."""
    every = {}
    for card in pathlib.Path("/sys/class/drm").glob("card*[0-9]"):
        # One that goes while it is looked at is not there.
        with contextlib.suppress(FileNotFoundError):
            if card.name[4:].isdigit():
                sysfs = card.resolve().parent.parent
                every[sysfs] = Gpu(sysfs)
    every = [every[sysfs] for sysfs in sorted(every)]
    return [gpu for gpu in every if driver in (None, gpu.driver)]


def gpu(driver, index=0):
    return gpus(driver)[index]


class Buffer:
    """A dma-buf and what keeps it alive; close it, or use it in a `with` statement."""

    def __init__(self, name, fd, exporter=None, node=None, handle=0):
        self.name, self.fd, self.exporter, self.node, self.handle = name, fd, exporter, node, handle

    @property
    def inode(self):
        return os.fstat(self.fd).st_ino

    def set_name(self, name):
        """Whoever holds a DMA-BUF may name it, in 31 characters of any kind."""
        fcntl.ioctl(self.fd, DMA_BUF_SET_NAME, name.encode() + b"\0")

    def close(self):
        os.close(self.fd)
        if self.node is not None:
            os.close(self.node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def exported(name, exporter, node, handle):
    _, _, fd = ask(node, PRIME_HANDLE_TO_FD, "IIi", handle, os.O_RDWR | os.O_CLOEXEC, -1)
    return Buffer(name, fd, exporter, node, handle)


def dumb(exporter):
    node = exporter.open(card=True)
    handle = ask(node, CREATE_DUMB, "IIIIIIQ", 128, 128, 32, 0, 0, 0, 0)[4]
    return exported(f"{exporter} dumb", exporter, node, handle)


def radeon(domain, size=SIZE):
    exporter = gpu("radeon")
    node = exporter.open()
    handle = ask(node, RADEON_GEM_CREATE, "QQIIII", size, 4096, 0, domain, 0, 0)[2]
    return exported(f"radeon {'VRAM' if domain == RADEON_VRAM else 'GTT'}", exporter, node, handle)


def tgpu(preferred, index=0, size=SIZE):
    exporter = gpu("tgpu", index)
    node = exporter.open()
    handle = ask(node, TGPU_CREATE, "QII", size, preferred, 0)[2]
    return exported(f"tgpu {'VRAM' if preferred == TGPU_VRAM else 'system'}", exporter, node, handle)


def udmabuf():
    memory = os.memfd_create("udmabuf", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    device = os.open("/dev/udmabuf", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(memory, SIZE)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        fd = fcntl.ioctl(device, UDMABUF_CREATE, bytearray(struct.pack("IIQQ", memory, 1, 0, SIZE)))
        return Buffer("udmabuf", fd)
    finally:
        os.close(memory)
        os.close(device)


def dma_heap():
    device = os.open("/dev/dma_heap/system", os.O_RDWR | os.O_CLOEXEC)
    try:
        fd = ask(device, DMA_HEAP_ALLOC, "QIIQ", SIZE, 0, os.O_RDWR | os.O_CLOEXEC, 0)[1]
        return Buffer("dma-heap", fd)
    finally:
        os.close(device)


def of_no_device():
    """Makers of buffers of no device. Debian's 6.1 has neither."""
    return [make for make, node in ((udmabuf, "udmabuf"), (dma_heap, "dma_heap/system"))
            if pathlib.Path("/dev", node).exists()]


def plain():
    """A buffer in system memory that any device may import: of no device, where the kernel has such."""
    return (of_no_device() or [lambda: dumb(gpu("vgem"))])[0]()


def try_import(node, buffer, flags=0):
    """Imports into an open node and closes the handle again; raises OSError as the kernel says."""
    handle = ask(node, PRIME_FD_TO_HANDLE, "IIi", 0, flags, buffer.fd)[0]
    fcntl.ioctl(node, GEM_CLOSE, struct.pack("II", handle, 0))


def evict(buffer):
    """Out of a tgpu's VRAM, as under memory pressure."""
    tgpu_parameter("evict", buffer.inode)


def restore(buffer):
    """Back to where it was made for."""
    tgpu_parameter("restore", buffer.inode)


def close_handle(buffer):
    """The exporter's last handle of it, as a client does that has handed the buffer on."""
    fcntl.ioctl(buffer.node, GEM_CLOSE, struct.pack("II", buffer.handle, 0))


def tgpu_parameter(name, value=None):
    path = pathlib.Path("/sys/module/tgpu/parameters", name)
    return path.read_text().strip() if value is None else path.write_text(str(value))
