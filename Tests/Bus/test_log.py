"""What the log says: of devices a line a change, of queries none unless debugging, of nonsense a few."""
import os
import tempfile

from client import Client
from harness import DGPU, BusTest, laptop


class Log(BusTest):
    scenario = laptop(steps=[{"unplug": "dgpu"}, {"plug": "dgpu"}, {"hang": "dgpu"}, {"unplug": "dgpu"}])

    # A test of others' would have to read the log as it comes: primed waits for room in the pipe.
    options = ("--log-level", "debug")

    def lines(self, text):
        """Those with `text`, so far; whatever primed logged before it last answered is there."""
        self.client.ping()
        self.client.ping()   # the bus has told whose connection a refused call came from
        self.daemon.read_log()
        return [line for line in self.daemon.log.splitlines() if text in line]

    def test_a_line_a_device_that_comes_or_goes(self):
        self.assertEqual(len(self.lines("/dev/dri/renderD129 is there: amdgpu")), 1)
        self.daemon.happen("unplug dgpu")
        self.assertEqual(len(self.lines("/dev/dri/renderD129 is gone")), 1)
        self.daemon.happen("plug dgpu")
        self.assertEqual(len(self.lines("/dev/dri/renderD129 is there")), 2)

    def test_a_line_when_a_device_does_not_answer(self):
        self.daemon.happen("unplug dgpu")
        self.daemon.happen("plug dgpu")
        self.daemon.happen("hang dgpu")
        for _ in range(3):
            self.client.place("game", fresh=True)
        self.assertEqual(len(self.lines("/dev/dri/renderD129 does not answer")), 1)
        self.daemon.happen("unplug dgpu")   # its driver has a buffer until it goes
        self.client.place("warm-up", fresh=True)

    def test_a_release_names_who_and_why(self):
        guard = self.client.release(DGPU, "for\nVFIO")
        name = self.client.bus.get_unique_name()
        self.assertEqual(len(self.lines(f"/dev/dri/renderD129 released for {name}: for VFIO")), 1)
        os.close(guard)
        self.daemon.read_log(until="/dev/dri/renderD129 is back")

    def test_a_query_is_a_line_for_those_who_debug(self):
        answer = self.client.place("game")
        told = [line for line in self.lines(f"told {self.client.bus.get_unique_name()} of buffer {answer.buffer}:")]
        self.assertEqual(told, [line for line in told if line.startswith("primed: debug: ")])
        self.assertEqual(len(told), 1)

    def refuse(self, client):
        with tempfile.TemporaryFile() as file, self.refused("NotDmaBuf"):
            client.place(file.fileno())

    def test_who_sends_nonsense_is_named_once(self):
        for _ in range(50):
            self.refuse(self.client)
        lines = self.lines("refused a call")
        self.assertEqual(len(lines), 1)
        self.assertIn(f"from {self.client.bus.get_unique_name()} of uid {os.getuid()}: plane 0", lines[0])
        self.assertEqual(self.client.get("Statistics")["refused-calls"], 50)

    def test_many_who_do_cannot_fill_the_log(self):
        for _ in range(20):
            client = Client(self.bus.address)
            self.refuse(client)
            client.close()
        self.assertLessEqual(len(self.lines("refused a call")), 5)
