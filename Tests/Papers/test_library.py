"""The client library as its packagers and users get it: built alone, with the ABI that was promised; its packages."""
import pathlib
import re
import tempfile
import unittest

from programs import PROJECT, output

LIBRARY = PROJECT / "Sources/CPrimedClient"
SYMBOLS = re.findall(r"^\t(primed_\w+);$", (LIBRARY / "primed-client.map").read_text(), re.M)
PACKAGING = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1",
             "DEBFULLNAME": "A Packager", "DEBEMAIL": "packager@debian.org"}


class Library(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="primed-library-")))

    def test_abi(self):
        """What was built against an earlier version works with this one: nothing is removed or changed. What is added
        goes into the committed ABI by abi/update."""
        output(PROJECT / "systemd/build-client", self.folder, CFLAGS="-O0 -g")
        built = self.folder / "libprimed-client.so.0"
        # abidiff's exit status says what differs; 0: nothing.
        output("abidiff", "--headers-dir2", LIBRARY / "include", LIBRARY / "abi/libprimed-client.abi", built)
        told = output("nm", "-D", "--defined-only", built)
        self.assertEqual(sorted(re.findall(r" T (\w+)@@PRIMED_CLIENT_0", told)), sorted(SYMBOLS))

    def test_header_and_map_say_the_same(self):
        header = (LIBRARY / "include/primed-client.h").read_text()
        self.assertEqual(sorted(re.findall(r"^\w[\w *]*?\*?\b(primed_\w+)\(", header, re.M)), sorted(SYMBOLS))
        listed = (PROJECT / "systemd/deb/libprimed-client0.symbols").read_text()
        self.assertEqual(re.findall(r"^ (primed_\w+)@PRIMED_CLIENT_0 ", listed, re.M), sorted(SYMBOLS))

    def test_header_in_cxx_and_c99(self):
        for language, standard in (("c", "c99"), ("c++", "c++20")):
            output("gcc", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", language,
                   LIBRARY / "include/primed-client.h", "-Wno-pragma-once-outside-header")

    def test_the_packagers_flags(self):
        output(PROJECT / "systemd/build-client", self.folder, CFLAGS="-O1 -DNDEBUG -grecord-gcc-switches -g",
               LDFLAGS="-Wl,-z,relro -Wl,-z,now")
        for name in ("libprimed-client.so.0", "libprimed-guard.so"):
            self.assertIn("BIND_NOW", output("readelf", "-d", self.folder / name))
            self.assertIn("-O1", output("readelf", "--debug-dump=info", self.folder / name))

    def test_meson(self):
        """Alone, and as a wrap of a compositor's."""
        output("meson", "setup", "-Dwerror=true", "--prefix=/usr", self.folder / "build", LIBRARY)
        output("meson", "test", "-C", self.folder / "build")
        output("meson", "install", "-C", self.folder / "build", DESTDIR=str(self.folder / "root"))
        installed = {path.name for path in (self.folder / "root").rglob("*")}
        self.assertLessEqual({"libprimed-client.so", "libprimed-client.so.0", "libprimed-guard.so", "primed-client.h",
                              "primed-client.pc"}, installed)

        compositor = self.folder / "compositor"
        (compositor / "subprojects").mkdir(parents=True)
        (compositor / "subprojects/primed-client").symlink_to(LIBRARY)
        (compositor / "meson.build").write_text(
            "project('compositor', 'c')\nexecutable('c', 'c.c', dependencies: "
            "dependency('primed-client', fallback: 'primed-client'))\n")
        (compositor / "c.c").write_text("#include <primed-client.h>\n"
                                        "int main(void) { primed_client_close(0); return 0; }\n")
        output("meson", "setup", "--wrap-mode=forcefallback", self.folder / "wrapped", compositor)
        output("ninja", "-C", self.folder / "wrapped", "c")
        output(self.folder / "wrapped/c")

    def test_from_another_swift_package(self):
        """As a compositor in Swift takes PrimedClient: built without the daemon, and run where there is no bus."""
        sources = self.folder / "Sources/compositor"
        sources.mkdir(parents=True)
        (self.folder / "Package.swift").write_text(f"""// swift-tools-version: 6.0
            import PackageDescription
            let package = Package(
              name: "compositor", dependencies: [.package(path: "{PROJECT}")],
              targets: [.executableTarget(name: "compositor", dependencies: [
                .product(name: "PrimedClient", package: "{PROJECT.name}")])])
            """)
        (sources / "main.swift").write_text("""
            import PrimedClient
            let primed = try PrimedClient(address: "unix:path=/nowhere", defaultDevice: 57984)
            print(try await primed.place([0]).device)
            """)
        built = output("swift", "build", "--package-path", self.folder)
        self.assertNotIn("Engine", built)
        self.assertEqual(output(self.folder / ".build/debug/compositor"), "57984\n")

    def test_packages(self):
        """Without Swift."""
        output(PROJECT / "systemd/build-client", self.folder)
        packages = output(PROJECT / "systemd/build-deb", "--library", "--bin", self.folder, "--output", self.folder,
                          **PACKAGING).split()
        self.assertEqual([pathlib.Path(one).name.split("_")[0] for one in packages],
                         ["libprimed-client0", "libprimed-client-dev"])
        self.assertEqual(output("lintian", "--allow-root", "--fail-on", "error,warning", *packages), "")
        root = self.folder / "root"
        for package in packages:
            output("dpkg-deb", "--extract", package, root)
        triplet = output("dpkg-architecture", "-q", "DEB_HOST_MULTIARCH").strip()
        guard = root / f"usr/lib/{triplet}/primed/libprimed-guard.so"
        self.assertEqual(output("true", LD_PRELOAD=str(guard)), "")   # nothing is missing
        self.assertTrue((root / "usr/share/man/man1/primed-guard.1.gz").exists())
        flags = output("pkg-config", "--cflags", "--libs", "primed-client", PKG_CONFIG_SYSROOT_DIR=str(root),
                       PKG_CONFIG_PATH=f"{root}/usr/lib/{triplet}/pkgconfig").split()
        output("gcc", "-o", self.folder / "place", PROJECT / "Tests/Examples/place.c", *flags)

    def test_refusal_says_what_to_do(self):
        said = output(PROJECT / "systemd/build-deb", "--library", "--bin", "/nowhere", status=1)
        self.assertIn("systemd/build-client", said)
