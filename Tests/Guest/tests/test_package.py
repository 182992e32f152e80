"""The Debian package: what comes, what stays the administrator's, and that nothing is left behind."""
import pathlib
import subprocess
import unittest

import broker
import gpus
import load_client
from client import Client
from footprint import UNIT, accounts, state, tree

PACKAGES = pathlib.Path("/parcel/deb")


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu"], check=True)


class Package(unittest.TestCase):
    def dpkg(self, *words):
        # This guest's dpkg leaves documentation out; a user's does not.
        return broker.command("dpkg", "--path-include=/usr/*", "--force-unsafe-io", *words)

    def test_life(self):
        """One after the other, as it happens to a package; each step takes the guest many seconds."""
        before, accounts_before = tree(), accounts()
        self.addCleanup(self.dpkg, "--purge", "primed")
        first, later = next(PACKAGES.glob("primed_*.deb")), next(PACKAGES.glob("later/primed_*.deb"))
        self.dpkg("-i", first)
        self.check_installed(before, first)
        self.check_upgrade(later)
        self.check_upgrade_when_disabled(later)
        self.check_removed()
        self.dpkg("--purge", "primed")
        self.assertEqual(tree(), before)
        self.assertEqual(accounts(), accounts_before)
        self.assertEqual(broker.command("systemctl", "list-units", "--all", "--no-legend", UNIT), "")

    def check_removed(self):
        """What runs is stopped; the purge then takes what Debian keeps for a later installation."""
        broker.command("systemctl", "start", UNIT)
        self.dpkg("--remove", "primed")
        self.assertEqual(state()[1], "inactive")
        self.assertEqual(subprocess.run(["pgrep", "-x", "primed"]).returncode, 1)
        self.assertFalse(pathlib.Path("/usr/bin/primed").exists())

    def check_installed(self, before, package):
        self.assertEqual(state(), ("enabled", "active"))
        self.assertEqual(broker.command("dpkg", "--verify", "primed"), "")
        # No settings: none to ask an administrator about at an upgrade.
        self.assertEqual(broker.command("dpkg-query", "-W", "-f", "${Conffiles}", "primed"), "")
        mine = {path: status for path, status in tree().items() if path not in before}
        for path in ("bin/primed", "bin/primectl", "share/man/man8/primed.8.gz", "share/man/man1/primectl.1.gz",
                     "share/man/man5/org.primed.Broker1.5.gz"):
            self.assertIn(f"/usr/{path}", mine)
        self.assertEqual({(uid, gid) for _, _, uid, gid in mine.values()}, {("0", "0")})
        writable = [path for path, (kind, mode, _, _) in mine.items() if int(mode, 8) & 0o022 and kind != "l"]
        self.assertEqual(writable, [])
        self.assertEqual(Client().get("Version"), version_of(package))

    def check_upgrade(self, newer):
        before = broker.pid()
        with gpus.plain() as buffer, load_client.asking(self, buffer, clients=1):
            self.dpkg("-i", newer)
        self.assertEqual(state(), ("enabled", "active"))
        self.assertNotEqual(broker.pid(), before)
        Client().generation()

    def check_upgrade_when_disabled(self, newer):
        broker.command("systemctl", "disable", "--now", UNIT)
        self.dpkg("-i", newer)
        self.assertEqual(state()[0], "disabled")


def version_of(file):
    return broker.command("dpkg-deb", "-f", file, "Version").strip()
