"""A Wayland client that links nothing: windows whose pixels are DMA-BUFs that the test has made, by the wire, so that a
test says which request comes when.
"""
import os
import pathlib
import select
import socket
import struct
import time

XRGB8888 = 0x34325258
WIDTH = HEIGHT = 128
MOST_SECONDS = 60

DISPLAY = 1


class ProtocolError(Exception):
    pass


class Client:
    """`story` tells what the compositor did, for a message."""

    def __init__(self, runtime, display, story=lambda: ""):
        self.story = story
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(pathlib.Path(runtime, display)))
        self.last, self.rest, self.handlers = DISPLAY, b"", {DISPLAY: self._on_display}
        self.globals = {}
        registry = self.new(self._on_global)
        self.request(DISPLAY, 1, registry)
        self.roundtrip()
        self.compositor, _ = self._bind(registry, "wl_compositor", 4)
        self.shell, _ = self._bind(registry, "xdg_wm_base", 1)
        self.dmabuf, self.dmabuf_version = self._bind(registry, "zwp_linux_dmabuf_v1", 6)
        self.handlers[self.shell] = lambda _, data: self.request(self.shell, 3, *struct.unpack("I", data[:4]))

    def _bind(self, registry, interface, version):
        """The object and its version: what the compositor has, or the one wanted."""
        name, has = self.globals[interface]
        number = self.new()
        self.request(registry, 0, name, interface, min(has, version), number)
        return number, min(has, version)

    def _on_display(self, event, data):
        if event == 0:
            raise ProtocolError(f"object {struct.unpack('II', data[:8])}: {data[12:].decode(errors='replace')}")

    def _on_global(self, event, data):
        name, length = struct.unpack("II", data[:8])
        text = data[8:8 + length - 1].decode()
        self.globals[text] = (name, struct.unpack("I", data[-4:])[0])

    def new(self, handler=lambda event, data: None):
        self.last += 1
        self.handlers[self.last] = handler
        return self.last

    def request(self, target, number, *arguments, fds=()):
        body = b""
        for argument in arguments:
            if isinstance(argument, int):
                body += struct.pack("I", argument & 0xFFFFFFFF)
            else:
                array = argument if isinstance(argument, bytes) else argument.encode() + b"\0"
                body += struct.pack("I", len(array)) + array + b"\0" * (-len(array) % 4)
        message = struct.pack("II", target, (len(body) + 8) << 16 | number) + body
        socket.send_fds(self.socket, [message], list(fds))

    def dispatch(self, seconds):
        """Handles what comes in this time, or at once if some is there. False: nothing came."""
        if not select.select([self.socket], [], [], max(0, seconds))[0]:
            return False
        received, fds, _, _ = socket.recv_fds(self.socket, 65536, 16)
        for fd in fds:
            os.close(fd)
        if not received:
            raise ProtocolError("the compositor has hung up")
        self.rest += received
        while len(self.rest) >= 8:
            source, word = struct.unpack("II", self.rest[:8])
            if len(self.rest) < word >> 16:
                break
            data, self.rest = self.rest[8:word >> 16], self.rest[word >> 16:]
            self.handlers.get(source, lambda event, data: None)(word & 0xFFFF, data)
        return True

    def until(self, holds, what):
        deadline = time.monotonic() + MOST_SECONDS
        while not holds():
            if not self.dispatch(deadline - time.monotonic()) and time.monotonic() > deadline:
                raise AssertionError(f"not in {MOST_SECONDS} s: {what}\n{self.story()}")

    def roundtrip(self):
        done = []
        self.request(DISPLAY, 0, self.new(lambda *_: done.append(True)))
        self.until(lambda: done, "wl_display.sync")

    def close(self):
        self.socket.close()


class Window:
    """A toplevel that is configured and has no content yet."""

    def __init__(self, client, title):
        self.client, self.title = client, title
        self.configured, self.frames = [], 0
        self.surface, self.xdg, self.toplevel = client.new(), client.new(self._on_configure), client.new()
        client.request(client.compositor, 0, self.surface)
        client.request(client.shell, 2, self.xdg, self.surface)
        client.request(self.xdg, 1, self.toplevel)
        client.request(self.toplevel, 2, title)
        client.request(self.surface, 6)
        client.until(lambda: self.configured, "xdg_surface.configure")

    def _on_configure(self, event, data):
        self.configured.append(True)
        self.client.request(self.xdg, 4, *struct.unpack("I", data[:4]))

    def commit(self, buffer):
        """Attaches a wl_buffer and asks to be told of the frame; does not wait."""
        self.client.request(self.surface, 1, buffer, 0, 0)
        self.client.request(self.surface, 9, 0, 0, WIDTH, HEIGHT)
        self.client.request(self.surface, 3, self.client.new(self._on_frame))
        self.client.request(self.surface, 6)

    def _on_frame(self, event, data):
        self.frames += 1

    def wait_for_frame(self):
        known = self.frames
        self.client.until(lambda: self.frames > known, f"a frame of {self.title}")

    def destroy(self):
        for number in (self.toplevel, self.xdg, self.surface):
            self.client.request(number, 0)


def wl_buffer(client, buffer, sampling_device=None, immediately=True):
    """A wl_buffer of a buffer of gpus.py; 0 if the compositor refused it."""
    answers = []
    params = client.new(lambda event, data: answers.append(struct.unpack("I", data)[0] if event == 0 else 0))
    client.request(client.dmabuf, 1, params)
    client.request(params, 1, 0, 0, WIDTH * 4, 0, 0, fds=[buffer.fd])
    if sampling_device is not None:
        client.request(params, 4, struct.pack("Q", sampling_device))
    if immediately:
        number = client.new()
        client.request(params, 3, number, WIDTH, HEIGHT, XRGB8888, 0)
    else:
        client.request(params, 2, WIDTH, HEIGHT, XRGB8888, 0)
        client.until(lambda: answers, "created or failed")
        number = answers[0]
    client.request(params, 0)
    return number


def destroy(client, buffer):
    client.request(buffer, 0)
