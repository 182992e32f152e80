"""Installed by its script, and uninstalled: nothing is left behind."""
import subprocess
import unittest

import broker
from footprint import UNIT, accounts, state, tree


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu"], check=True)


class Install(unittest.TestCase):
    def test_leaves_nothing_behind(self):
        before, accounts_before = tree(), accounts()
        broker.install()
        self.assertEqual(state(), ("enabled", "active"))
        self.assertIn("primed", accounts())
        broker.install()   # again, over itself
        self.assertEqual(state(), ("enabled", "active"))
        broker.command("systemctl", "disable", "--now", UNIT)
        broker.install()
        self.assertEqual(state(), ("disabled", "inactive"))
        broker.command("/parcel/systemd/uninstall")
        self.assertEqual(tree(), before)
        self.assertEqual(accounts(), accounts_before)
        self.assertEqual(state()[1], "inactive")
