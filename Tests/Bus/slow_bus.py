"""Buses that answer late or lose answers: each stands between programs and a private bus."""
import collections
import contextlib
import os
import pathlib
import select
import socket
import sys
import threading

from jeepney.low_level import Header, HeaderFields, calc_msg_size

from client import PATIENCE

MOST_FDS = 16


class SlowBus(threading.Thread):
    """Passes on what the program says at once. What the bus says waits while it is `held`."""

    held = True

    def __init__(self, folder, bus):
        super().__init__(daemon=True)
        self.bus = bus
        self.path = pathlib.Path(folder) / "slow"
        self.address = f"unix:path={self.path}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen()
        self.changing, self.woken = socket.socketpair()
        self.lock = threading.RLock()
        self.connections = []   # (program, bus)
        self.count = 0          # of all that were ever made
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError):   # closed
            while True:
                with self.lock:
                    pairs = list(self.connections)
                    sources = [self.listener, self.woken, *(ours for ours, _ in pairs)]
                    sources += [] if self.held else [theirs for _, theirs in pairs]
                for ready in select.select(sources, [], [])[0]:
                    self.take(ready, pairs)

    def take(self, ready, pairs):
        if ready is self.woken:
            self.woken.recv(64)
        elif ready is self.listener:
            ours, theirs = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
            theirs.connect(str(self.bus.path))
            with self.lock:
                self.connections.append((ours, theirs))
                self.count += 1
        else:
            for pair in pairs:
                if ready in pair and ready.fileno() >= 0:   # not closed with the other end
                    self.forward(pair, ready)

    def forward(self, pair, source):
        data, fds, _, _ = socket.recv_fds(source, 65536, MOST_FDS)
        if not data:
            with self.lock:
                self.connections.remove(pair)
            for end in pair:
                end.close()
            return
        self.pass_on(pair, source, data, fds)
        for fd in fds:
            os.close(fd)

    def pass_on(self, pair, source, data, fds):
        socket.send_fds(pair[source is pair[0]], [data], fds)

    def let_go(self):
        """When this returns, the bus's first word has been passed on."""
        with self.lock:
            for pair in self.connections:
                select.select([pair[1]], [], [], PATIENCE)
                self.forward(pair, pair[1])
            self.held = False
        self.changing.send(b"x")

    def hang_up(self):
        """When this returns, the program's connections are closed; others may come."""
        with self.lock:
            for pair in self.connections:
                with contextlib.suppress(OSError):   # has hung up by itself
                    pair[0].shutdown(socket.SHUT_RDWR)

    def close(self):
        self.hang_up()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.path.unlink()


class LossyBus(SlowBus):
    """Loses replies, as dbus-daemon does its own while the receiver's queue is full. `calls` are the methods that were
    called through it, `lost` those whose reply did not come."""

    held = False

    def __init__(self, folder, bus):
        self.losing = collections.Counter()
        self.calls, self.lost, self.serials, self.rest = [], [], {}, {}
        self.changed = threading.Condition()
        super().__init__(folder, bus)

    def lose(self, method, count):
        """The next `count` replies to this method."""
        self.losing[method] += count

    def wait_for(self, condition, what):
        """Until this is true of what was called and lost."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), f"no {what}; called: {self.calls}, lost: {self.lost}"

    def pass_on(self, pair, source, data, fds):
        """Each message by itself: sd-bus drops one whose fds came with the one before."""
        to_bus = source is pair[0]
        for part in self.parts(source, data):
            header = Header.from_buffer(part)[0] if is_message(part) else None
            count = header.fields.get(HeaderFields.unix_fds, 0) if header else 0
            if header and to_bus:
                self.note(pair, header)
            lost = header and not to_bus and self.is_lost(pair, header)
            if not lost:
                super().pass_on(pair, source, part, fds[:count])
            fds = fds[count:]

    def parts(self, source, data):
        """The handshake's lines and the messages that are whole now."""
        data = self.rest.pop(source, b"") + data
        while data:
            if is_message(data):
                end = calc_msg_size(data) if len(data) >= 16 else len(data) + 1
            else:
                end = data.find(b"\n") + 1 or len(data) + 1
            if end > len(data):
                self.rest[source] = data
                return
            yield data[:end]
            data = data[end:]

    def note(self, pair, header):
        method = header.fields.get(HeaderFields.member)
        self.serials[pair, header.serial] = method
        with self.changed:
            self.calls.append(method)
            self.changed.notify_all()

    def is_lost(self, pair, header):
        method = self.serials.pop((pair, header.fields.get(HeaderFields.reply_serial)), None)
        if not self.losing[method]:
            return False
        self.losing[method] -= 1
        with self.changed:
            self.lost.append(method)
            self.changed.notify_all()
        return True

    def stop(self):
        self.close()
        self.bus.stop()


def is_message(data):
    return data[:1] == (b"l" if sys.byteorder == "little" else b"B") and not data.startswith(b"BEGIN")
