"""Calls that primed must refuse: the named error, and nothing left open by them."""
import os
import subprocess
import tempfile
import unittest

from gi.repository import GLib

import broker
import gpus
import kernel
from client import ERROR, NAME, Client, Refused

INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    broker.unpack_without_introspection()


class BadCalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Client()
        cls.buffer = gpus.plain()
        cls.broker.place(cls.buffer)
        cls.pid = broker.pid()
        cls.before = kernel.descriptors(cls.pid)

    @classmethod
    def tearDownClass(cls):
        cls.buffer.close()
        cls.broker.close()

    def tearDown(self):
        """primed goes on, and holds no more than before."""
        self.broker.place(self.buffer)
        self.assertEqual(broker.pid(), self.pid)
        kernel.until(lambda: not kernel.leaked(self.pid, self.before), "all closed that came")

    def refused(self, error, call, *arguments, **hints):
        with self.assertRaises(Refused) as failure:
            call(*arguments, **hints)
        self.assertEqual(failure.exception.name, error, failure.exception)
        self.assertTrue(failure.exception.message)
        return failure.exception.message

    def not_a_dma_buf(self, fd):
        self.refused(ERROR + "NotDmaBuf", self.broker.place, fd)
        message = self.refused(ERROR + "NotDmaBuf", self.broker.place, self.buffer, fd)
        self.assertIn("1", message)   # the plane, counted from 0

    def test_pipe(self):
        for fd in os.pipe():
            self.addCleanup(os.close, fd)
            self.not_a_dma_buf(fd)

    def test_regular_file(self):
        with tempfile.TemporaryFile() as file:
            self.not_a_dma_buf(file.fileno())

    def test_memfd(self):
        # The name of a memfd is free: it can't pass for a DMA-BUF by it.
        for name in ("memory", "dmabuf:", "/dmabuf:"):
            fd = os.memfd_create(name)
            self.addCleanup(os.close, fd)
            self.not_a_dma_buf(fd)

    def test_o_path(self):
        for path in ("/", "/dev/null", gpus.gpu("tgpu").render, f"/proc/self/fd/{self.buffer.fd}"):
            with self.subTest(path=path):
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                self.addCleanup(os.close, fd)
                self.not_a_dma_buf(fd)

    def test_device_node(self):
        node = gpus.gpu("tgpu").open()
        self.addCleanup(os.close, node)
        self.not_a_dma_buf(node)

    def test_no_plane(self):
        self.refused(ERROR + "InvalidArgument", self.broker.place)

    def test_five_planes(self):
        self.refused(ERROR + "TooManyPlanes", self.broker.place, *[self.buffer] * 5)

    def test_four_planes_are_fine(self):
        self.assertEqual(self.broker.place(*[self.buffer] * 4).buffer, self.buffer.inode)

    def test_wrong_signature(self):
        for signature, values in (("", ()), ("ah", ([0],)), ("s", ("words",)), ("aha{ss}", ([0], {})),
                                  ("aha{sv}u", ([0], {}, 1)), ("ha{sv}", (0, {}))):
            with self.subTest(signature=signature):
                fds = [self.buffer.fd] if "h" in signature else []
                self.refused(INVALID_ARGS, lambda: self.broker.call(NAME, "Place", signature, *values, fds=fds))

    def test_wrong_hint_types(self):
        word = GLib.Variant("s", "word")
        for hint in ("sampling_device", "target_device", "primary_device", "format", "modifier",
                     "client", "wake", "fresh", "explain", "usage"):
            with self.subTest(hint=hint):
                self.refused(ERROR + "InvalidArgument", self.broker.place, self.buffer, **{hint: word})
        for hint, value in (("sampling_device", GLib.Variant("u", 1)), ("usage", GLib.Variant("au", [1])),
                            ("wake", GLib.Variant("u", 1)), ("modifier", GLib.Variant("u", 0))):
            with self.subTest(hint=hint, value=value):
                self.refused(ERROR + "InvalidArgument", self.broker.place, self.buffer, **{hint: value})

    def test_unknown_hints_are_ignored(self):
        answer = self.broker.place(self.buffer, of_the_future=GLib.Variant("s", "word"))
        self.assertEqual(answer.buffer, self.buffer.inode)

    def test_unknown_devices_in_hints_are_ignored_and_said(self):
        answer = self.broker.explain(self.buffer, primary_device=os.makedev(226, 250))
        self.assertTrue(any("primary" in line for line in answer.details["evidence"]), answer.details["evidence"])


class HeldByNobody(unittest.TestCase):
    def test_a_buffer_dies_with_its_last_client(self):
        """primed keeps no buffer alive, cached or not."""
        client = Client()
        self.addCleanup(client.close)
        with gpus.tgpu(gpus.TGPU_VRAM) as buffer:
            inode = buffer.inode
            client.place(buffer)
            self.assertIn(inode, kernel.attachments())
        kernel.until(lambda: inode not in kernel.attachments(), "the buffer gone from bufinfo")
