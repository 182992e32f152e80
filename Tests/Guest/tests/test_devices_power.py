"""A device that sleeps is left asleep, and one that was used falls asleep as it would have."""
import os
import subprocess
import unittest

from gi.repository import GLib

import broker
import gpus
import procs
from client import NAME, Client, Refused
from test_kernel import wait_for_status

QUERIES = 1000


def setUpModule():
    broker.unpack_without_introspection()
    subprocess.run(["load-drivers", "tgpu", "vgem"], check=True)
    broker.start()


class Power(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Client()

    def setUp(self):
        self.gpu = gpus.gpu("tgpu", 0)
        self.addCleanup(self.gpu.attribute, "power/control", "on")

    def sleep_after(self, milliseconds):
        self.gpu.attribute("power/autosuspend_delay_ms", milliseconds)
        self.gpu.attribute("power/control", "auto")

    def resumes(self):
        return int(self.gpu.attribute("resumes"))

    def ask_often(self, times):
        """New buffers and known ones, of other devices and of none, from the cache and fresh."""
        for _ in range(times // 5):
            for make in (gpus.plain, lambda: gpus.dumb(gpus.gpu("vgem"))):
                with make() as buffer:
                    self.broker.place(buffer)
                    self.broker.place(buffer, fresh=True)
            with gpus.plain() as buffer:
                self.broker.explain(buffer, usage=["scanout"], target_device=self.gpu.number)

    def test_a_sleeper_sleeps_through_a_thousand_queries(self):
        self.sleep_after(50)
        wait_for_status(self.gpu, "suspended")
        before = self.resumes()
        self.ask_often(QUERIES)
        self.assertEqual(self.resumes(), before)
        self.assertEqual(self.broker.device(self.gpu)["Power"], "suspended")
        with gpus.plain() as buffer:
            self.broker.place(buffer, wake=True, fresh=True)
        self.assertGreater(self.resumes(), before)
        wait_for_status(self.gpu, "suspended")
        self.assertNotIn(self.gpu.render, procs.drm_nodes(broker.pid()))

    def test_it_falls_asleep_though_primed_used_it(self):
        for delay in (4000, 100):   # longer and shorter than primed keeps an idle node open
            with self.subTest(delay=delay):
                self.gpu.attribute("power/control", "on")
                self.gpu.attribute("power/autosuspend_delay_ms", delay)
                opens, before = int(self.gpu.attribute("opens")), self.resumes()
                self.gpu.attribute("power/control", "auto")
                with gpus.plain() as buffer:
                    self.broker.place(buffer, fresh=True)
                # Else there would be nothing to show: it was awake, and primed did use it.
                self.assertGreater(int(self.gpu.attribute("opens")), opens)
                wait_for_status(self.gpu, "suspended")
                self.assertNotIn(self.gpu.render, procs.drm_nodes(broker.pid()))
                self.assertEqual(self.resumes(), before)

    def test_a_node_that_somebody_sends_is_not_asked(self):
        """Some drivers wake their device, and wait for it, to tell of an open node in fdinfo."""
        node = self.gpu.open()
        self.addCleanup(os.close, node)
        self.sleep_after(50)
        broker.restart()   # no DMA-BUF was seen yet, by which others are told from them
        for name in ("plane", "client"):
            with self.subTest(name), gpus.plain() as buffer:
                wait_for_status(self.gpu, "suspended")
                before = self.resumes()
                if name == "client":
                    hints = {"client": GLib.Variant("h", 1)}
                    self.broker.call(NAME, "Place", "aha{sv}", [0], hints, fds=[buffer.fd, node])
                else:
                    self.assertRaises(Refused, self.broker.place, node)
                self.assertEqual(self.resumes(), before)

    def test_no_query_no_use(self):
        opens = int(self.gpu.attribute("opens"))
        self.broker.devices()
        broker.restart()
        self.assertEqual(len(self.broker.devices()), len(gpus.gpus()))
        self.assertEqual(int(self.gpu.attribute("opens")), opens)
