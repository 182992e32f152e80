"""How long after udevd has told of a new device primed tells of it on the bus, and how long a Ping takes: prints
both medians, in ms. Run by Tests/Benchmarks/run."""
import os
import socket
import statistics
import subprocess
import threading
import time

import broker
import gpus

ROUNDS = 25
UDEV = 2   # the multicast group that udevd sends to when it is through with an event


class Watch:
    def __init__(self):
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
        self.netlink.bind((0, UDEV))
        self.first, self.heard = None, threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()
        self.client = broker.Broker()
        self.added = self.client.signals("InterfacesAdded", broker.OBJECT_MANAGER)

    def listen(self):
        while True:
            text = self.netlink.recv(65536)
            if self.first is None and b"ACTION=add" in text and b"SUBSYSTEM=drm" in text:
                self.first = time.monotonic()
                self.heard.set()

    def add(self, number):
        """Seconds from udevd's word to primed's."""
        self.first = None
        self.heard.clear()
        self.added.seen.clear()
        gpus.tgpu_parameter("add", number)
        self.added.wait(lambda *_: True)
        told = time.monotonic()
        self.heard.wait()
        return told - self.first

    def ping(self):
        """Seconds of a round trip to primed."""
        began = time.monotonic()
        self.client._call("org.freedesktop.DBus.Peer", "Ping", "")
        return time.monotonic() - began

    def remove(self, number):
        removed = self.client.signals("InterfacesRemoved", broker.OBJECT_MANAGER)
        gpus.tgpu_parameter("remove", number)
        removed.wait(lambda *_: True)
        removed.close()


broker.install_without_introspection()
subprocess.run(["load-drivers", "tgpu"], check=True)
watch = Watch()
uevents, pings = [], []
for _ in range(ROUNDS):
    uevents.append(watch.add(9))
    watch.remove(9)
    pings.append(watch.ping())
print(*(f"{statistics.median(times) * 1000:.3f}" for times in (uevents, pings)), flush=True)
os._exit(0)
