"""systemd/install below DESTDIR, as a packager runs it, and uninstall after it."""
import pathlib
import re
import tempfile
import unittest

from programs import BIN, PROJECT, install, output

# A distribution that has everything elsewhere.
PKG_CONFIG = {
    "systemd": "systemdsystemunitdir=/opt/units\nsysusersdir=/opt/sysusers",
    "dbus-1": "datadir=/opt/data",
    "polkit-gobject-1": "actiondir=/opt/actions",
}


class Install(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="primed root ")))

    def files(self):
        return {f"/{path.relative_to(self.root)}" for path in self.root.rglob("*") if not path.is_dir()}

    def uninstall(self, **environment):
        output(PROJECT / "systemd/uninstall", DESTDIR=str(self.root), **environment)

    def distribution(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, variables in PKG_CONFIG.items():
            (folder / f"{name}.pc").write_text(f"{variables}\n\nName: {name}\nDescription: x\nVersion: 1\n")
        return str(folder)

    def test_leaves_nothing_behind(self):
        (self.root / "usr/share/man").mkdir(parents=True)
        (self.root / "usr/share/man/keep").write_text("somebody else's")
        before = set(self.root.rglob("*"))
        install(self.root)
        install(self.root)   # again, over itself
        self.assertIn("/usr/bin/primed", self.files())
        self.uninstall(PREFIX="/usr")
        self.assertEqual(set(self.root.rglob("*")), before)

    def test_what_a_new_version_no_longer_has_goes(self):
        install(self.root)
        old = self.root / "usr/share/doc/primed/old-page"
        old.write_text("of an earlier version")
        manifest = self.root / "usr/share/primed/manifest"
        manifest.write_text(manifest.read_text() + "/usr/share/doc/primed/old-page\n")
        install(self.root)
        self.assertFalse(old.exists())

    def test_prefix(self):
        """Programs, pages and completions go below it; what the system reads stays where it looks."""
        install(self.root, prefix="/opt/primed")
        self.assertIn("/opt/primed/bin/primed", self.files())
        unit = next(path for path in self.root.rglob("primed.service"))
        self.assertIn("\nExecStart=/opt/primed/bin/primed\n", unit.read_text())
        elsewhere = {path for path in self.files() if not path.startswith("/opt/primed/")}
        self.assertTrue(all(re.match(r"(/usr)?/lib/s|/usr/share/(dbus-1|polkit-1)/", path) for path in elsewhere),
                        elsewhere)

    def test_folders_of_the_distribution(self):
        environment = {"PKG_CONFIG_PATH": self.distribution(), "PKG_CONFIG_LIBDIR": ""}
        install(self.root, **environment)
        for path in ("units/primed.service", "sysusers/primed.conf", "actions/org.primed.policy",
                     "data/dbus-1/system.d/org.primed.Broker1.conf",
                     "data/dbus-1/system-services/org.primed.Broker1.service",
                     "data/dbus-1/interfaces/org.primed.Broker1.xml"):
            self.assertIn(f"/opt/{path}", self.files())
        self.uninstall(PREFIX="/usr", **environment)
        self.assertEqual(list(self.root.iterdir()), [])

    def test_folders_that_the_packager_names(self):
        install(self.root, UNITDIR="/u", SYSUSERSDIR="/s", BUSDATADIR="/b", POLKITDIR="/p", BASHDIR="/c",
                ZSHDIR="/z", FISHDIR="/f")
        for path in ("/u/primed.service", "/s/primed.conf", "/b/system.d/org.primed.Broker1.conf",
                     "/p/org.primed.policy", "/c/primectl", "/z/_primectl", "/f/primectl.fish"):
            self.assertIn(path, self.files())

    def test_refusals_say_what_to_do(self):
        said = output(PROJECT / "systemd/install", "--bin", "/nowhere", DESTDIR=str(self.root), status=1)
        self.assertIn("swift build -c release", said)
        said = output(PROJECT / "systemd/install", "--bin", BIN, DESTDIR=str(self.root), PREFIX="usr", status=2)
        self.assertIn("PREFIX", said)
        said = output(PROJECT / "systemd/uninstall", DESTDIR=str(self.root), status=1)
        self.assertIn("same DESTDIR and PREFIX", said)
        said = output(PROJECT / "systemd/install", "--wrong", status=2)
        self.assertIn("--help", said)
