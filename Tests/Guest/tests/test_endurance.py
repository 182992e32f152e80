"""For long: killed again and again under load; and a day of everything at once, after which nothing is left of it.

The day takes minutes, or as many as `Tests/Guest/run --minutes N endurance` says.
"""
import os
import pathlib
import signal
import subprocess
import time
import unittest

import askers
import broker
import gpus
import kernel
import load_client
import procs
from client import NAME, Client
from test_kernel import wait_for_status
from test_service import NameOwner

# With no deadline but such as a hang is beyond, both CPUs at once: the kills take a guest minutes otherwise.
PACE = "free"

KILLS = 200
MINUTES = int(pathlib.Path("/parcel/minutes").read_text())
MOST_SECONDS = 1200 + 60 * MINUTES   # for one test
DROP_IN = pathlib.Path("/run/systemd/system/primed.service.d/endurance.conf")
VISITOR = 7   # a tgpu that comes and goes
CACHE = 256   # buffers: what may be kept is full after a few rounds, so that what grows then is lost
ROUNDS = 10   # until it is full
GROWTH = 256   # KiB of its own, of memory that fits better or worse: after 6 minutes it was 100


def setUpModule():
    subprocess.run(["load-drivers", "tgpu", "vgem", "vkms"], check=True)
    broker.unpack_without_introspection()
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text("[Unit]\nStartLimitIntervalSec=0\n"
                       f"[Service]\nExecStart=\nExecStart=/usr/local/bin/primed --cache {CACHE}\n")
    broker.command("systemctl", "daemon-reload")
    broker.restart()


class Endurance(unittest.TestCase):
    def test_killed_under_load(self):
        """Only the call that it was killed over fails; each time it is killed when it has answered."""
        killed, owner, client = set(), NameOwner(), Client()
        with gpus.plain() as buffer, load_client.asking(self, buffer, kills=KILLS):
            for _ in range(KILLS):
                client.place(buffer)
                pid = client.ask_bus("GetConnectionUnixProcessID", "s", NAME)
                owner.changes.clear()
                os.kill(pid, signal.SIGKILL)
                owner.wait_for_new(60)
                killed.add(pid)
        self.assertEqual(len(killed), KILLS)
        procs.at_rest(broker.pid(), 64)

    def test_days_of_everything_leave_nothing(self):
        self.home, self.sink = gpus.gpu("tgpu", 0), gpus.gpu("vkms")
        self.days(lambda days: days < ROUNDS)
        procs.at_rest(broker.pid(), 64, 60)
        pid, before, moves = broker.pid(), procs.weight(broker.pid()), kernel.tgpu_moves()
        end = time.monotonic() + 60 * MINUTES
        days = self.days(lambda _: time.monotonic() < end)
        procs.at_rest(pid, before.descriptors, 60)
        after = procs.weight(pid)
        print(f"      {days} rounds in {MINUTES} min; {before} before, {after} after")
        self.assertGreater(days, 3 * MINUTES)
        self.assertEqual(broker.pid(), pid)
        self.assertEqual(kernel.tgpu_moves(), moves)
        self.assert_no_master(pid)
        self.assertEqual(after[:2], before[:2])
        self.assertLess(after.kilobytes, before.kilobytes + GROWTH)

    def days(self, more):
        """Rounds while `more(count)` says so, with others that ask meanwhile; returns their count."""
        permanent = [int(gpu.number) for gpu in gpus.gpus()]
        count = 0
        with gpus.tgpu(gpus.TGPU_VRAM) as buffer:
            with askers.Askers(2, "vram", expected=self.home.number, fallbacks=permanent, fresh=True) as crowd, \
                    askers.Askers(1, "plain") as others:
                while more(count):
                    client = Client()
                    self.day(client, buffer)
                    client.close()
                    count += 1
            kernel.until(lambda: kernel.attachments()[buffer.inode] == 0, "no attachment")
        for report in (*crowd.reports, *others.reports):
            self.assertEqual((report["errors"], report["wrong"]), ([], []))
        return count

    def assert_no_master(self, pid):
        """By what the kernel shows of open files, and by its letting another process be master of the card that
        primed opened."""
        self.assertFalse(kernel.is_master(pid), "primed is master of a card")
        node = self.sink.open(card=True)
        try:
            gpus.ask(node, gpus.SET_MASTER, "")
        finally:
            os.close(node)

    def day(self, client, buffer):
        """Devices come and go, a card is named, another device is released, its driver is slow, sleeps; callers
        leave."""
        gpus.tgpu_parameter("add", VISITOR)
        client.place(buffer, fresh=True, wake=True, target_device=self.sink.number)
        gpus.tgpu_parameter("remove", VISITOR)
        os.close(client.release(gpus.gpu("vgem").number, "a day"))
        other = gpus.gpu("tgpu", 1)
        other.attribute("import_delay_ms", 20)
        try:
            for _ in range(10):
                with gpus.plain() as plain:
                    caller = Client()
                    caller.place(plain, fresh=True)
                    caller.close()
        finally:
            other.attribute("import_delay_ms", 0)
        self.assertFalse(kernel.is_master(broker.pid()), "primed is master of a card")
        self.night(client, other, buffer)

    def night(self, client, gpu, buffer):
        """While the device sleeps nothing wakes it, whoever asks."""
        gpu.attribute("power/autosuspend_delay_ms", 0)
        gpu.attribute("power/control", "auto")
        try:
            # What was on its way to the device when it fell asleep has ended when this is answered.
            for _ in range(2):
                wait_for_status(gpu, "suspended")
                with gpus.plain() as plain:
                    client.place(plain, fresh=True)
            wait_for_status(gpu, "suspended")
            resumes = gpu.attribute("resumes")
            for _ in range(20):
                with gpus.plain() as plain:
                    client.place(plain, fresh=True)
                client.place(buffer, fresh=True, target_device=gpu.number)
            self.assertEqual(gpu.attribute("resumes"), resumes, "a device was woken")
        finally:
            gpu.attribute("power/control", "on")
