"""Tests/Guest/vm.py: a crash of QEMU is no verdict about what ran in it, and everything else is."""
import sys
import unittest

from programs import PROJECT

sys.path.append(str(PROJECT / "Tests/Guest"))
import vm


class Crashes(unittest.TestCase):
    def run_with(self, *ends):
        """What comes of runs that end so, one after the other; and what was said."""
        left, said = list(ends), []

        def run():
            end = left.pop(0)
            if isinstance(end, Exception):
                raise end
            return end

        try:
            return vm.again_after_crash(run, said.append), said
        except vm.GuestDied as death:
            return death, said

    def test_what_crashed_is_run_again(self):
        crash = vm.Crashed("QEMU crashed (signal 11)\nthe console's end")
        self.assertEqual(self.run_with(crash, crash, 0), (0, ["guest: QEMU crashed (signal 11): once more"] * 2))

    def test_what_always_crashes_fails(self):
        crash = vm.Crashed("QEMU crashed (signal 11)")
        self.assertIs(self.run_with(*[crash] * vm.TRIES)[0], crash)

    def test_what_died_otherwise_fails_at_once(self):
        death = vm.GuestDied("no end after 600 s")
        self.assertEqual(self.run_with(death, 0), (death, []))
