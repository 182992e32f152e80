"""Devices that come and go faster than anyone can follow, while clients ask."""
import os
import pathlib
import signal
import subprocess
import unittest

import askers
import broker
import gpus
import kernel
import procs
from client import MANAGER, Client

PAIRS = 1000
IDS = (10, 11, 12, 13)   # tgpu.N that come and go; their minors are used again and again


def setUpModule():
    # What a socket takes: Linux's default, and Debian's up to 6.12. Today's 4 MiB hold so many events that udevd works
    # on them for minutes before one is lost.
    pathlib.Path("/proc/sys/net/core/rmem_max").write_text("212992")
    broker.unpack_without_introspection()
    subprocess.run(["load-drivers", "tgpu", "vgem", "vkms"], check=True)
    broker.start()


class Storm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Client()

    def setUp(self):
        gpus.tgpu_parameter("mode", "validated")
        self.addCleanup(gpus.tgpu_parameter, "mode", "ignored")

    def named(self):
        return sorted(device["RenderDevice"] or device["PrimaryDevice"] for device in self.broker.devices().values())

    def there(self):
        return sorted(gpu.number for gpu in gpus.gpus())

    def test_a_thousand_pairs_leave_no_trace(self):
        """A buffer in the VRAM of tgpu.0 can be used there only: nobody else may be named for it, least of
        all a device whose number was tgpu.10's a moment ago and is another's now."""
        home = gpus.gpu("tgpu", 0).number
        permanent = [int(gpu.number) for gpu in gpus.gpus()]
        with gpus.tgpu(gpus.TGPU_VRAM) as buffer:
            self.broker.place(buffer)
        procs.at_rest(broker.pid(), 64)
        before = procs.weight(broker.pid())
        with askers.Askers(4, "vram", expected=home, fallbacks=permanent, fresh=True) as crowd:
            for i in range(PAIRS):
                if i >= len(IDS):
                    gpus.tgpu_parameter("remove", IDS[i % len(IDS)])
                gpus.tgpu_parameter("add", IDS[i % len(IDS)])
            for number in IDS:
                gpus.tgpu_parameter("remove", number)
            broker.command("udevadm", "settle")
            kernel.until(lambda: self.named() == self.there(), "the bus shows what there is", 60)
        crowd.check(self)
        self.assertEqual(kernel.tgpu_moves(), 0)
        procs.at_rest(broker.pid(), before.descriptors)
        self.assertLess(procs.weight(broker.pid()).kilobytes, before.kilobytes + 3072)

    def test_lost_events_are_made_up_for(self):
        pid = broker.pid()
        added = self.broker.signals("InterfacesAdded", MANAGER)
        self.addCleanup(added.close)
        lost = dropped_events(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            card = gpus.gpu("vkms").sysfs / "drm" / os.path.basename(gpus.gpu("vkms").card) / "uevent"
            while dropped_events(pid) == lost:
                for _ in range(500):
                    card.write_text("change")
                broker.command("udevadm", "settle")
            gpus.tgpu_parameter("add", 20)
            broker.command("udevadm", "settle")
        finally:
            os.kill(pid, signal.SIGCONT)
        self.addCleanup(gpus.tgpu_parameter, "remove", 20)
        added.wait(lambda path, _: "tgpu" in path)
        self.assertGreater(dropped_events(pid), lost)   # else there was nothing to make up for
        self.assertEqual(self.named(), self.there())


def dropped_events(pid):
    """By the kernel, of the process's sockets for uevents (protocol 15)."""
    inodes = {name[8:-1] for name in kernel.descriptors(pid) if name.startswith("socket:[")}
    rows = [line.split() for line in pathlib.Path("/proc/net/netlink").read_text().splitlines()[1:]]
    return sum(int(row[8]) for row in rows if row[1] == "15" and row[9] in inodes)
