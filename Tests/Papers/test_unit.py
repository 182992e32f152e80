"""systemd/primed.service, as far as it can be judged without starting it. The guest starts it."""
import json
import re
import unittest

from programs import PROJECT, output

UNIT = PROJECT / "systemd/primed.service"
EXPOSURE = 13   # tenths; the guest asks the running system for the same


class Unit(unittest.TestCase):
    def security(self, *options):
        return output("systemd-analyze", "security", "--offline=true", "--no-pager", *options, UNIT)

    def test_exposure(self):
        self.security(f"--threshold={EXPOSURE}")

    def test_a_comment_says_why_each_thing_is_left_open(self):
        """Whatever systemd-analyze would still like is named in a comment "Left open"."""
        comments = " ".join(re.findall(r"^# ?(.*)", UNIT.read_text(), re.M))
        reasons = " ".join(re.findall(r"Left open, .*?(?=Left open|$)", comments))
        open_ones = [one for one in json.loads(self.security("--json=short")) if not one["set"]]
        self.assertGreaterEqual(len(open_ones), 1)
        for one in open_ones:
            name = re.match(r"\w+", one["name"])[0]
            family = re.search(r"~(AF_\w+)", one["name"])
            self.assertIn(family[1] if family else name, reasons, one["description"])
