"""primed in the company of a compositor: it was there first and is asked all the time, and weston still
gets DRM master of its device.
"""
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

import broker
import gpus
from client import Client


def setUpModule():
    broker.unpack_without_introspection()
    subprocess.run(["load-drivers"], check=True)


class Compositor(unittest.TestCase):
    def setUp(self):
        self.runtime = tempfile.mkdtemp(prefix="xdg.")
        self.log = pathlib.Path(self.runtime, "weston.log")

    def weston(self, device):
        """weston on a device; what it says goes to its log."""
        words = ["weston", "--backend=drm-backend.so", "--use-pixman", "--continue-without-input", "--tty=2",
                 "--idle-time=0", f"--drm-device={pathlib.Path(device.card).name}", f"--log={self.log}"]
        process = subprocess.Popen(words, env={**os.environ, "XDG_RUNTIME_DIR": self.runtime},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.stop, process)
        return process

    @staticmethod
    def stop(process):
        process.kill()
        process.wait()

    def lit(self, process, seconds=90):
        """Follows weston's log until an output is enabled."""
        with subprocess.Popen(["tail", "-F", "-n", "+1", f"--pid={process.pid}", self.log],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tail:
            timer = threading.Timer(seconds, tail.kill)
            timer.start()
            try:
                return any("Output '" in line and "enabled" in line for line in tail.stdout)
            finally:
                timer.cancel()
                tail.kill()

    def test_weston_gets_master_while_primed_is_asked(self):
        for mode in ("ignored", "validated"):
            gpus.tgpu_parameter("mode", mode)
            broker.restart()
            client = Client()
            buffers = [gpus.plain(), gpus.dumb(gpus.gpu("cirrus")), gpus.tgpu(gpus.TGPU_VRAM)]
            process = self.weston(gpus.gpu("virtio_gpu"))
            stop = threading.Event()

            def ask():
                while not stop.is_set():
                    for buffer in buffers:
                        client.place(buffer, fresh=True)

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                with self.subTest(mode=mode):
                    self.assertTrue(self.lit(process), self.log.read_text() if self.log.exists() else "no log")
            finally:
                stop.set()
                asking.join()
            self.stop(process)
            self.log.unlink()
            for buffer in buffers:
                buffer.close()
            client.close()

    def test_no_master_is_held(self):
        """A card node opened first becomes master only if no one, primed included, holds it."""
        client = Client()
        self.addCleanup(client.close)
        for make in (gpus.plain, lambda: gpus.dumb(gpus.gpu("cirrus"))):
            with make() as buffer:
                for device in gpus.gpus():   # a card node is opened for who names it
                    client.place(buffer, fresh=True, target_device=device.number)
        for device in gpus.gpus():
            if device.driver == "vgem":   # a driver without KMS has no master to take
                continue
            with self.subTest(device=device):
                node = os.open(device.card, os.O_RDWR | os.O_CLOEXEC)
                try:
                    gpus.ask(node, gpus.SET_MASTER, "")
                finally:
                    os.close(node)
