"""A DisplayLink adapter in user space: the kernel's own vhci-hcd asks it by USB/IP, and the real udl binds to it.

    with displaylink.Adapter(): ...      it is plugged in; pulled at the end

Messages: Documentation/usb/usbip_protocol.rst; what the driver asks: drivers/gpu/drm/udl/udl_main.c, udl_edid.c.
"""
import pathlib
import socket
import struct
import subprocess
import threading

import gpus
import kernel

CONTROLLER = pathlib.Path("/sys/devices/platform/vhci_hcd.0")
HIGH_SPEED = 3
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
STALLED = -32   # EPIPE
HEADER = struct.Struct(">IIIII iiiiI 8s")
REPLY = struct.Struct(">IIIII iiiii 8x")

# Descriptors (USB 2.0, 9.6): one vendor-specific interface with a bulk endpoint for pixels.
DEVICE = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, 0x17E9, 0x0001, 0x0100, 1, 2, 3, 1)
INTERFACE = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 1, 0xFF, 0, 0, 0)
ENDPOINT = struct.pack("<BBBBHB", 7, 5, 1, 2, 512, 0)
CONFIGURATION = struct.pack("<BBHBBBBB", 9, 2, 9 + len(INTERFACE + ENDPOINT), 1, 1, 0, 0x80, 250) + INTERFACE + ENDPOINT
# udl_parse_vendor_descriptor(): version 1 and no keys.
FIRMWARE = bytes((5, 0x5F, 1, 0, 3))
STRINGS = {0: b"\x09\x04", 1: "Test".encode("utf-16le"), 2: "Sink".encode("utf-16le"), 3: "1".encode("utf-16le")}


def edid():
    """Of a monitor with 1024x768 at 60 Hz (VESA E-EDID 1.3)."""
    timing = struct.pack("<H", 6500) + bytes.fromhex("004041002630 18883600 2cc810000018")
    name = b"\0\0\0\xfc\0Test sink\n"
    block = b"\0" + b"\xff" * 6 + b"\0" + struct.pack(">HHIBB", 0x5114, 1, 1, 1, 30) + bytes((1, 3, 0x80, 30, 20, 120, 0x0A))
    block = block.ljust(38, b"\0") + b"\1" * 16 + timing + name.ljust(18) + (b"\0\0\0\x10".ljust(18, b"\0")) * 2 + b"\0"
    return block + bytes((-sum(block) & 0xFF,))


EDID = edid()


def descriptor(kind, index):
    if kind == 3 and index in STRINGS:
        return bytes((2 + len(STRINGS[index]), 3)) + STRINGS[index]
    return {1: DEVICE, 2: CONFIGURATION, 0x5F: FIRMWARE}.get(kind)


def control(setup):
    """What is answered to a request on endpoint 0; None: not supported."""
    kind, request, value, _, length = struct.unpack("<BBHHH", setup)
    if not kind & 0x80:
        return b""
    if request == 6:
        return descriptor(value >> 8, value & 0xFF)
    if kind == 0xC0:   # the vendor's; 2: a byte of EDID, behind a status of 0
        return bytes((0, EDID[value >> 8 & 127])) if request == 2 else bytes(length)
    return {0: b"\1\0", 8: b"\1"}.get(request)


class Adapter:
    def __init__(self, port=0):
        self.port = port

    def __enter__(self):
        subprocess.run(["modprobe", "-a", "vhci-hcd", "udl"], check=True)
        self.ours, theirs = socket.socketpair()
        with theirs:
            (CONTROLLER / "attach").write_text(f"{self.port} {theirs.fileno()} {0x10001 + self.port} {HIGH_SPEED}\n")
        self.pixels = 0   # bytes that were sent to it
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        kernel.until(lambda: gpus.gpus("udl"), "a udl device", 60)
        subprocess.run(["udevadm", "settle"], check=True)
        return self

    def __exit__(self, *_):
        self.ours.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.ours.close()
        kernel.until(lambda: not gpus.gpus("udl"), "no udl device", 60)

    def _serve(self):
        with self.ours.makefile("rb") as stream:
            while len(header := stream.read(HEADER.size)) == HEADER.size:
                self._answer(stream, header)

    def _answer(self, stream, header):
        command, number, _, reads, endpoint, _, length, _, _, _, setup = HEADER.unpack(header)
        if command == UNLINK:   # what it names was answered already
            self.ours.sendall(REPLY.pack(UNLINKED, number, 0, 0, 0, 0, 0, 0, 0, 0))
            return
        data = b"" if reads else stream.read(length)
        status, answer = 0, b""
        if endpoint == 0:
            answer = control(setup)
            if answer is None:
                status, answer = STALLED, b""
            answer = answer[:length] if reads else b""
        else:
            self.pixels += len(data)
        done = len(answer) if reads else len(data)
        self.ours.sendall(REPLY.pack(SUBMITTED, number, 0, 0, 0, status, done, 0, 0, 0) + answer)
