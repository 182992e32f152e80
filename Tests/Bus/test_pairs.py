"""An administrator's own rows of the pair table: read at the start and again on SIGHUP."""
import pathlib
import signal

from client import IN_PLACE, NATIVE
from harness import DGPU, IGPU, BusTest, Primed


class OwnPairs(BusTest):
    """`terminal` is the i915's; the flag is honoured, and so the amdgpu is known to reach it."""

    def begin(self, text):
        """primed anew, with these rows."""
        self.client.close()
        self.daemon.stop()
        self.file = pathlib.Path(self.folder, "pairs")
        self.file.write_bytes(text)
        self.daemon = Primed(self.bus.address, self.folder, self.scenario, options=["--pairs", str(self.file)])
        self.addCleanup(self.daemon.stop)
        self.client = self.connect()
        self.client.listen()
        self.client.place("warm-up")
        self.client.settle()
        self.fds_at_start = self.daemon.wait_for_fds()

    def rewrite(self, text):
        """Other rows, and a reload; waits for its signal."""
        count = len(self.client.named("PlacementsInvalidated"))
        self.file.write_bytes(text)
        self.daemon.process.send_signal(signal.SIGHUP)
        return self.client.wait_for("PlacementsInvalidated", count + 1)

    def terminal(self):
        answer = self.client.place("terminal", primary_device=DGPU)
        return answer.device, answer.access

    def test_a_row_changes_an_answer(self):
        self.begin(b"i915 amdgpu pins nothing hangs  # seen here\n")
        self.assertEqual(self.terminal(), (IGPU, NATIVE))

    def test_rows_are_shown(self):
        self.begin(b"i915 amdgpu pins nothing hangs ..6.12  # seen here\n")
        first, second = self.client.get("Pairs")[:2]
        self.assertEqual(first, ("i915", "amdgpu", "pins", "nothing", "hangs", "..6.12", "own",
                                 "own, line 1: seen here"))
        self.assertEqual(second[6], "table")
        self.rewrite(b"# none\n")
        self.assertEqual({row[6] for row in self.client.get("Pairs")}, {"table"})

    def test_reload(self):
        self.begin(b"")
        self.assertEqual(self.terminal(), (DGPU, IN_PLACE))
        before = self.client.get("Generation")
        generation, devices = self.rewrite(b"i915 amdgpu fails unknown unknown\n")
        self.assertGreater(generation, before)
        self.assertEqual(sorted(devices), [IGPU, DGPU])
        self.assertEqual(self.terminal(), (IGPU, NATIVE), "not from the cache of other rows")
        self.rewrite(b"# none\n")
        self.assertEqual(self.terminal(), (DGPU, IN_PLACE))

    def test_kernels(self):
        """The simulated kernel is a 7.3."""
        self.begin(b"i915 amdgpu pins nothing hangs 7.4..\n")
        self.assertEqual(self.terminal(), (DGPU, IN_PLACE))
        self.rewrite(b"i915 amdgpu pins nothing hangs 6.13..7.3\n")
        self.assertEqual(self.terminal(), (IGPU, NATIVE))

    def test_bad_lines_are_left_out(self):
        self.begin(b"\n# fine\ni915 amdgpu sticks nothing works\ni915 amdgpu pins nothing hangs\n\xff\xfe\n")
        self.daemon.read_log(until=f"{self.file}:3: attach and map are one of")
        self.daemon.read_log(until=f"{self.file}:5: expected: exporter importer")
        self.assertEqual(self.terminal(), (IGPU, NATIVE))

    def test_many_bad_lines_are_few_complaints(self):
        self.begin(b"bad\n" * 1000)
        self.daemon.read_log(until=f"{self.file}: 980 more lines are left out")
        self.assertNotIn(f"{self.file}:21:", self.daemon.log)

    def test_a_long_file_is_cut(self):
        self.begin(b"i915 amdgpu pins nothing hangs\n" + b"#" * 70_000)
        self.daemon.read_log(until=f"{self.file} is longer than 65536 bytes")
        self.assertEqual(self.terminal(), (IGPU, NATIVE))

    def test_what_is_no_file_is_complained_of(self):
        self.begin(b"")
        self.file.unlink()
        self.file.mkdir()
        self.daemon.process.send_signal(signal.SIGHUP)
        self.daemon.read_log(until=f"{self.file} can't be read: Is a directory")
        self.assertEqual(self.terminal(), (DGPU, IN_PLACE))
