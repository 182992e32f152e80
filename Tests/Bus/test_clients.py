"""Clients that know nothing of us, each asking what it can."""
import json
import os
import subprocess

from client import INTENT, NAME, NATIVE, PATH, PATIENCE, opened, wait_until
from harness import DGPU, IGPU, BusTest

PLACE = "org.primed.Broker1.Place"


class Tool(BusTest):

    def run_tool(self, *command, code=0, fds=()):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, pass_fds=fds, stdin=subprocess.DEVNULL,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.bus.address})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr


class Tools(Tool):
    """Command line tools."""

    def test_busctl(self):
        bus = f"--address={self.bus.address}"
        self.assertIn("/device/", self.run_tool("busctl", bus, "tree", NAME))
        described = self.run_tool("busctl", bus, "introspect", NAME, PATH)
        for member in (".Place ", ".PlaceMany", ".Generation", ".PlacementChanged"):
            self.assertIn(member, described)
        self.assertEqual(self.run_tool("busctl", bus, "get-property", NAME, PATH, NAME, "PrimaryDevice"), f"t {IGPU}\n")
        self.assertEqual(
            self.run_tool("busctl", bus, "call", NAME, PATH, NAME, "SetDefaults", "a{sv}", "1", "wake", "b", "true"), "")
        refused = self.run_tool("busctl", bus, "call", NAME, PATH, NAME, "Place", "aha{sv}", "0", "0", code=1)
        self.assertIn("no plane", refused)
        counters = json.loads(self.run_tool("busctl", bus, "-j", "get-property", NAME, PATH, NAME, "Statistics"))
        self.assertGreaterEqual(counters["data"]["queries"], 1)

    def test_gdbus(self):
        to = ("--address", self.bus.address, "--dest", NAME, "--object-path", PATH)
        self.assertIn("interface org.primed.Broker1 ", self.run_tool("gdbus", "introspect", *to))
        refused = self.run_tool("gdbus", "call", *to, "--method", PLACE, "@ah []", "@a{sv} {}", code=1)
        self.assertIn("org.primed.Broker1.Error.InvalidArgument", refused)
        managed = self.run_tool(
            "gdbus", "call", *to, "--method", "org.freedesktop.DBus.ObjectManager.GetManagedObjects")
        self.assertEqual(managed.count("'StableId'"), 2)

    def test_dbus_send(self):
        to = (f"--bus={self.bus.address}", "--print-reply", f"--dest={NAME}", PATH)
        value = self.run_tool("dbus-send", *to, "org.freedesktop.DBus.Properties.Get",
                              f"string:{NAME}", "string:PrimaryDevice")
        self.assertRegex(value, rf"variant\s+uint64 {IGPU}\n")
        refused = self.run_tool("dbus-send", *to, PLACE, "string:x", code=1)
        self.assertIn("org.freedesktop.DBus.Error.InvalidArgs", refused)

    def test_qdbus(self):
        to = ("qdbus", "--bus", self.bus.address, NAME)
        self.assertIn(f"{PATH}/device/", self.run_tool(*to))
        methods = self.run_tool(*to, PATH)
        for member in ("method", PLACE, "signal void org.primed.Broker1.PlacementsInvalidated"):
            self.assertIn(member, methods)
        self.assertEqual(self.run_tool(*to, PATH, "org.primed.Broker1.PrimaryDevice"), f"{IGPU}\n")
        self.assertRegex(self.run_tool(*to, PATH, "org.primed.Broker1.Generation"), r"^\d+\n$")


class Guards(Tool):
    """Tools that can't send fds can still be sent one; a guard goes with the tool's process."""

    def released(self, *command, says):
        self.assertRegex(self.run_tool(*command), says)
        wait_until(lambda: self.client.place("game", explain=True).device == DGPU, "the guard's end")

    def test_busctl(self):
        self.released("busctl", f"--address={self.bus.address}", "call", NAME, PATH, NAME, "ReleaseDevice", "ts",
                      str(DGPU), "test", says=r"^h \d+\n$")

    def test_gdbus(self):
        self.released("gdbus", "call", "--address", self.bus.address, "--dest", NAME, "--object-path", PATH,
                      "--method", f"{NAME}.ReleaseDevice", str(DGPU), "test", says=r"^\(handle 0,\)\n$")

    def test_dbus_send(self):
        self.released("dbus-send", f"--bus={self.bus.address}", "--print-reply", f"--dest={NAME}", PATH,
                      f"{NAME}.ReleaseDevice", f"uint64:{DGPU}", "string:test", says="file descriptor")

    def test_qdbus(self):
        """It can show no fd, and drops it."""
        self.released("qdbus", "--bus", self.bus.address, NAME, PATH, f"{NAME}.ReleaseDevice", str(DGPU), "test",
                      says=r"^\s*$")


class Libraries(BusTest):
    """Bindings that send fds."""

    def test_glib(self):
        answer = self.client.place("game", explain=True)
        self.assertEqual((answer.device, answer.access, answer.confidence), (DGPU, NATIVE, INTENT))

    def test_dbus_python(self):
        # In a process of its own: libdbus and GLib each bring a main loop.
        script = (
            "import dbus, dbus.bus, os, sys\n"
            "bus = dbus.bus.BusConnection(sys.argv[1])\n"
            f"broker = dbus.Interface(bus.get_object('{NAME}', '{PATH}'), '{NAME}')\n"
            "fd = os.memfd_create('primed:game')\n"
            "planes = dbus.Array([dbus.types.UnixFd(fd)], signature='h')\n"
            "answer = broker.Place(planes, dbus.Dictionary({'explain': True}, signature='sv'))\n"
            "print(int(answer[0]), int(answer[1]), answer[5]['rule'])\n"
            "try: broker.Place(dbus.Array([dbus.types.UnixFd(0)]), dbus.Dictionary({}, signature='sv'))\n"
            "except dbus.DBusException as e: print(e.get_dbus_name())\n"
            "with_guard = broker.ReleaseDevice(dbus.UInt64(answer[0]), 'test')\n"
            "print(os.fstat(with_guard.take()).st_mode & 0o170000 == 0o010000)\n")
        done = subprocess.run(["/usr/bin/python3", "-c", script, self.bus.address], capture_output=True, text=True,
                              timeout=PATIENCE, stdin=subprocess.DEVNULL)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 3, done.stderr)
        self.assertTrue(lines[0].startswith(f"{DGPU} {NATIVE} "), lines)
        self.assertEqual(lines[1:], ["org.primed.Broker1.Error.NotDmaBuf", "True"])
        self.client.listen()
        if self.state_of_dgpu() != "ready":
            self.client.wait_for("PlacementsInvalidated")
        self.assertEqual(self.state_of_dgpu(), "ready", "the guard died with its process")

    def state_of_dgpu(self):
        return next(one["org.primed.Broker1.Device"]["State"] for one in self.client.objects().values()
                    if one["org.primed.Broker1.Device"]["RenderDevice"] == DGPU)

    def test_pure_wire(self):
        """jeepney: no D-Bus library below it, the wire format in Python."""
        from jeepney import DBusAddress, MessageType, new_method_call
        from jeepney.io.blocking import open_dbus_connection
        broker = DBusAddress(PATH, bus_name=NAME, interface=NAME)
        with open_dbus_connection(self.bus.address, enable_fds=True) as bus, opened(["video", "video.1"]) as fds:
            hints = {"explain": ("b", True), "usage": ("as", ["sample", "scanout"]), "format": ("u", 0x34325258)}
            call = new_method_call(broker, "Place", "aha{sv}", (list(fds), hints))
            reply = bus.send_and_get_reply(call, timeout=PATIENCE)
            self.assertEqual(reply.header.message_type, MessageType.method_return, reply.body)
            self.assertEqual(reply.body[:2], (IGPU, NATIVE))
            self.assertEqual(reply.body[5]["cached"], ("b", False))
            many = new_method_call(broker, "PlaceMany", "a(aha{sv})", ([([fds[0]], {}), ([fds[1]], {})],))
            answers = bus.send_and_get_reply(many, timeout=PATIENCE).body[0]
            self.assertEqual([one[0] for one in answers], [IGPU, IGPU])
            bad = new_method_call(broker, "Place", "aha{sv}", ([], {}))
            refused = bus.send_and_get_reply(bad, timeout=PATIENCE)
            self.assertEqual(refused.header.message_type, MessageType.error)
