"""The first law by the kernel's own counters: 1,000 uncached queries about buffers in video memory, in
each mode, and 10,000 where the flag is ignored on Linux 7, move nothing, leave no attachment and no file descriptor.
"""
import os
import subprocess
import unittest

import broker
import gpus
import kernel
from client import Client
from gpus import RADEON_VRAM, TGPU_VRAM

QUERIES = 1000
MOST_SECONDS = 900   # of the host's time, which a busy one may take


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    broker.unpack_without_introspection()


class NothingMoves(unittest.TestCase):
    def ask(self, mode, queries=QUERIES):
        gpus.tgpu_parameter("mode", mode)
        broker.restart()
        client = Client()
        self.addCleanup(client.close)
        buffers = [make() for make in (lambda: gpus.radeon(RADEON_VRAM), lambda: gpus.tgpu(TGPU_VRAM),
                                       lambda: gpus.tgpu(TGPU_VRAM, 1)) for _ in range(4)]
        for buffer in buffers:
            self.addCleanup(buffer.close)
            client.place(buffer)   # primed has tried the flag, and has opened what it keeps open
        pid = broker.pid()
        before, open_files = kernel.moves(), kernel.descriptors(pid)

        with kernel.attaching() as attached:
            client.place_each((buffers[number % len(buffers)] for number in range(queries)), fresh=True)
            self.assertEqual(attached(), [])

        self.assertEqual(kernel.moves(), before)
        kernel.wait_for_closes(pid)
        attached = kernel.attachments()
        self.assertEqual([buffer.name for buffer in buffers if attached[buffer.inode]], [])
        self.assertEqual(kernel.leaked(pid, open_files), [])
        self.assertEqual(broker.pid(), pid)

    def test_flag_ignored(self):
        self.ask("ignored", 10 * QUERIES if kernel.LINUX_7 else QUERIES)

    def test_flag_honoured(self):
        self.ask("honoured")

    def test_flag_validated(self):
        self.ask("validated")


class TheTracepoint(unittest.TestCase):
    def test_it_is_there_from_linux_7_on(self):
        self.assertEqual(kernel.ATTACH_EVENT.exists(), kernel.LINUX_7)

    def test_it_sees_an_import(self):
        with kernel.attaching() as attached, gpus.tgpu(TGPU_VRAM) as buffer:
            node = gpus.gpu("vgem").open()
            self.addCleanup(os.close, node)
            gpus.try_import(node, buffer)
            self.assertEqual(attached(), [buffer.inode] if kernel.LINUX_7 else [])


class ForgedNames(unittest.TestCase):
    def test_a_buffers_name_is_not_its_exporters(self):
        """fdinfo prints the name after what the kernel says itself, and prints it as it is."""
        gpus.tgpu_parameter("mode", "ignored")
        broker.restart()
        client = Client()
        self.addCleanup(client.close)
        with gpus.plain() as plain:
            client.place(plain)   # primed has tried the flag when this is answered
        # A driver whose buffers are of system memory, which any device may import.
        for text in ("\nexp_name:\tvirtio_gpu", "\nname:\t\nexp_name:\tvirtio_gpu"):
            with self.subTest(text=text), gpus.tgpu(TGPU_VRAM) as buffer:
                buffer.set_name(text)
                before = kernel.tgpu_moves()
                client.place(buffer)
                self.assertEqual(kernel.tgpu_moves(), before)
