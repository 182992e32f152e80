"""Tests/phases: the status of a long run is that of its phases, whatever its end has to put away."""
import subprocess
import unittest

from programs import PROJECT


class Phases(unittest.TestCase):
    def test_all_pass(self):
        self.status(0, "phase one true", says="===== one: ")

    def test_all_pass_with_one_beside(self):
        self.status(0, "beside one echo told; phase two true; meet", says="told\n")

    def test_the_first_that_fails_is_the_last(self):
        self.status(7, "phase one exit 7; phase two true", lacks="two")
        self.status(1, "phase one false; phase two true", lacks="two")

    def test_one_beside_that_fails(self):
        self.status(1, "beside one false; beside two true; phase three true; meet; phase four true", lacks="four")

    def test_what_runs_beside_goes_with_the_run(self):
        """The reader of the pipe sees its end only once nobody holds it."""
        self.status(1, "exec 3>&1; inner() { sleep infinity >&3; }; beside one inner; phase two false", says="two\n")

    def status(self, status, commands, says="", lacks=None):
        done = subprocess.run(["bash", "-c", f"set -euo pipefail; . Tests/phases; {commands}"], cwd=PROJECT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertIn(says, done.stdout)
        if lacks:
            self.assertNotIn(lacks, done.stdout)
