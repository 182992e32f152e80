"""The first law by the kernel's own counters: 1,000 uncached queries about buffers in video memory, in
each mode, move nothing, leave no attachment and no file descriptor.
"""
import subprocess
import unittest

import broker
import gpus
import kernel
from gpus import RADEON_VRAM, TGPU_VRAM

QUERIES = 1000


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    broker.install_without_introspection()


class NothingMoves(unittest.TestCase):
    def thousand_queries(self, mode):
        gpus.tgpu_parameter("mode", mode)
        broker.restart()
        client = broker.Broker()
        self.addCleanup(client.close)
        buffers = [make() for make in (lambda: gpus.radeon(RADEON_VRAM), lambda: gpus.tgpu(TGPU_VRAM),
                                       lambda: gpus.tgpu(TGPU_VRAM, 1)) for _ in range(4)]
        for buffer in buffers:
            self.addCleanup(buffer.close)
            client.place(buffer)   # primed has tried the flag, and has opened what it keeps open
        pid = broker.pid()
        before, open_files = kernel.moves(), kernel.descriptors(pid)

        client.place_each((buffers[number % len(buffers)] for number in range(QUERIES)), fresh=True)

        self.assertEqual(kernel.moves(), before)
        attached = kernel.attachments()
        self.assertEqual([buffer.name for buffer in buffers if attached[buffer.inode]], [])
        self.assertEqual(kernel.dma_bufs(pid), [])
        self.assertEqual(kernel.leaked(pid, open_files), [])
        self.assertEqual(broker.pid(), pid)

    def test_flag_ignored(self):
        self.thousand_queries("ignored")

    def test_flag_honoured(self):
        self.thousand_queries("honoured")

    def test_flag_validated(self):
        self.thousand_queries("validated")


class ForgedNames(unittest.TestCase):
    def test_a_buffers_name_is_not_its_exporters(self):
        """fdinfo prints the name after what the kernel says itself, and prints it as it is."""
        gpus.tgpu_parameter("mode", "ignored")
        broker.restart()
        client = broker.Broker()
        self.addCleanup(client.close)
        # A driver whose buffers are of system memory, which any device may import.
        for text in ("\nexp_name:\tvirtio_gpu", "\nname:\t\nexp_name:\tvirtio_gpu"):
            with self.subTest(text=text), gpus.tgpu(TGPU_VRAM) as buffer:
                buffer.set_name(text)
                before = kernel.tgpu_moves()
                client.place(buffer)
                self.assertEqual(kernel.tgpu_moves(), before)
