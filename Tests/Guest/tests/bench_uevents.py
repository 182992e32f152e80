"""How long after udevd has told of a new device primed tells of it on the bus, and how long a Ping takes: prints
[[ms, ms]], a pair a round. Run by Tests/Benchmarks/guest.py."""
import json
import os
import socket
import subprocess
import sys
import threading
import time

import broker
import gpus
from client import MANAGER, Client

ROUNDS = int(sys.argv[1])
UDEV = 2   # the multicast group that udevd sends to when it is through with an event


class Watch:
    def __init__(self):
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
        self.netlink.bind((0, UDEV))
        self.first, self.heard = None, threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()
        self.client = Client()
        self.added = self.client.signals("InterfacesAdded", MANAGER)

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
        self.added.clear()
        gpus.tgpu_parameter("add", number)
        self.added.wait(lambda *_: True)
        told = time.monotonic()
        self.heard.wait()
        return told - self.first

    def ping(self):
        """Seconds of a round trip to primed."""
        began = time.monotonic()
        self.client.ping()
        return time.monotonic() - began

    def remove(self, number):
        removed = self.client.signals("InterfacesRemoved", MANAGER)
        gpus.tgpu_parameter("remove", number)
        removed.wait(lambda *_: True)
        removed.close()


broker.unpack_without_introspection()
subprocess.run(["load-drivers", "tgpu"], check=True)
watch = Watch()
taken = []
for _ in range(ROUNDS):
    told = watch.add(9)
    watch.remove(9)
    taken.append((told * 1000, watch.ping() * 1000))
print(json.dumps(taken), flush=True)
os._exit(0)
