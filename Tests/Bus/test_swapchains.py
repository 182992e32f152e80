"""Buffers of one swapchain teach each other, for as long as their client lives."""
import subprocess
import time

from client import NATIVE, PATIENCE, STATE
from harness import DGPU, BusTest, laptop

XR24 = 0x34325258


class Swapchains(BusTest):
    scenario = laptop()
    scenario["buffers"] += [{"id": f"b{number}", "exporter": "dgpu", "home": "dedicated", "residency": "dedicated"}
                            for number in range(20)]

    def setUp(self):
        super().setUp()
        self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)   # until its input ends
        self.addCleanup(self.end)

    def end(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def place(self, number, client=None):
        return (client or self.client).place(f"b{number}", client=self.process.pid, format=XR24)

    def count(self, name):
        return self.client.get("Statistics")[name]

    def test_a_resize_storm_costs_no_import(self):
        self.place(0)
        before = self.count("imports")
        for number in range(1, 20):
            answer = self.place(number)
            self.assertEqual((answer.device, answer.access, answer.confidence), (DGPU, NATIVE, STATE))
            self.assertIn("recheck", answer.details)
        self.assertEqual(self.count("imports"), before)
        self.assertEqual((self.count("seeded"), self.count("sibling-groups")), (19, 1))
        self.end()
        self.wait_until_forgotten()

    def test_forgotten_with_the_client(self):
        self.place(0)
        self.assertEqual(self.count("sibling-groups"), 1)
        self.end()
        self.wait_until_forgotten()
        before = self.count("imports")
        self.place(1)
        self.assertGreater(self.count("imports"), before, "a process of the same number is another client")

    def test_what_one_compositor_says_teaches_no_other(self):
        self.place(0)
        before = self.count("imports")
        other = self.connect()
        self.place(1, other)
        self.assertGreater(self.count("imports"), before)
        self.end()
        self.wait_until_forgotten()

    def wait_until_forgotten(self):
        """primed sees the end by itself and tells nobody: looks until it shows."""
        deadline = time.monotonic() + PATIENCE
        while self.count("sibling-groups"):
            self.assertLess(time.monotonic(), deadline, "still known")
