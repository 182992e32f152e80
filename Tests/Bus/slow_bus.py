"""A bus that answers late: between a program and a private bus, it keeps back what the bus says until it is let go."""
import contextlib
import os
import pathlib
import select
import socket
import threading

from client import PATIENCE

MOST_FDS = 16


class SlowBus(threading.Thread):
    """Passes on what the program says at once. What the bus says waits while it is `held`."""

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
        self.held = True
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
        socket.send_fds(pair[source is pair[0]], [data], fds)
        for fd in fds:
            os.close(fd)

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
