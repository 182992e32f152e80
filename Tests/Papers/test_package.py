"""The Debian package as it is built; that it installs, upgrades and goes is shown in the guest."""
import pathlib
import tempfile
import unittest

from programs import BIN, PROJECT, output

# Debian's archive takes no package without compression, nor one of nobody's; lintian is not to be slow either.
ENVIRONMENT = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1",
               "DEBFULLNAME": "A Packager", "DEBEMAIL": "packager@debian.org"}


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="primed package ")))
        for name in ("primed", "primectl", "primed-introspect"):
            (folder / name).symlink_to(BIN / name)
        output(PROJECT / "systemd/build-client", folder)
        packages = output(PROJECT / "systemd/build-deb", "--bin", folder, "--output", folder / "made",
                          **ENVIRONMENT).splitlines()
        # The library's are looked at in test_library.
        cls.package = packages[0]

    def test_lintian(self):
        """No error and no warning; there is nothing to override."""
        self.assertEqual(output("lintian", "--allow-root", "--fail-on", "error,warning", self.package), "")

    def test_refusal_says_what_to_do(self):
        said = output(PROJECT / "systemd/build-deb", "--bin", "/nowhere", status=1)
        self.assertIn("swift build -c release", said)

    def test_contents(self):
        contents = output("dpkg-deb", "--contents", self.package)
        self.assertIn(" ./usr/bin/primectl\n", contents)
        self.assertNotIn("client", contents)
        self.assertNotIn("guard", contents)
        self.assertIn("  usr/bin/primed\n", output("dpkg-deb", "--info", self.package, "md5sums"))
