"""Fds that are not what they should be, wherever in a message they are."""
import array
import os
import socket
import subprocess

from gi.repository import Gio, GLib
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

import hung_files
from harness import DGPU, IGPU, NAME, PATH, PATIENCE, STRANGER, BusTest, buffer, wait_until

BROKER = DBusAddress(PATH, bus_name=NAME, interface=NAME)
PEER = DBusAddress(PATH, bus_name=NAME, interface="org.freedesktop.DBus.Peer")


class HungFiles(BusTest):
    """primed's close of a stranger's file never returns; nobody waits for it."""

    def setUp(self):
        super().setUp()
        self.files = hung_files.HungFiles(f"{self.folder}/hung", self.daemon.process.pid)
        self.sender = open_dbus_connection(self.bus.address, enable_fds=True)
        self.threads_at_start = self.threads()

    def tearDown(self):
        self.assertGreater(self.threads(), self.threads_at_start, "a close that hangs")
        self.sender.close()
        self.files.end()
        wait_until(lambda: self.client.ping() or self.threads() == self.threads_at_start, "the hung closes' end")
        super().tearDown()

    def threads(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/task"))

    def send(self, call, beside=()):
        """Sends the fds of the body and, before them, those that no body names."""
        fds = array.array("i", beside)
        data = call.serialise(serial=next(self.sender.outgoing_serial), fds=fds)
        self.sender.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])

    def reply(self):
        """The body of the answer that comes next; signals come between."""
        while True:
            message = self.sender.receive(timeout=PATIENCE)
            if message.header.message_type != MessageType.signal:
                return message.body

    def assert_serving(self):
        self.files.wait_for_flush()
        self.assertEqual(self.client.place("game").device, DGPU)
        self.assertEqual(self.client.place("terminal", fresh=True).device, IGPU)

    def test_as_a_plane(self):
        file = self.files.open()
        self.send(new_method_call(BROKER, "Place", "aha{sv}", ([file], {})))
        os.close(file)
        self.assert_serving()
        self.assertIn("plane 0", self.reply()[0])

    def test_as_a_client(self):
        file, game = self.files.open(), buffer("game")
        self.send(new_method_call(BROKER, "Place", "aha{sv}", ([game], {"client": ("h", file)})))
        os.close(file)
        os.close(game)
        self.assert_serving()
        self.assertEqual(self.reply()[0], DGPU)

    def test_in_an_unknown_hint(self):
        file, game = self.files.open(), buffer("game")
        self.send(new_method_call(BROKER, "Place", "aha{sv}", ([game], {"colour": ("h", file)})))
        os.close(file)
        os.close(game)
        self.assert_serving()
        self.assertEqual(self.reply()[0], DGPU)

    def test_in_a_call_that_is_not_ours(self):
        file = self.files.open()
        self.send(new_method_call(PEER, "Ping", "h", (file,)))
        os.close(file)
        self.assert_serving()

    def test_named_by_no_body(self):
        file, game = self.files.open(), buffer("game")
        self.send(new_method_call(BROKER, "Place", "aha{sv}", ([game], {})), beside=[file, file])
        os.close(file)
        os.close(game)
        self.files.wait_for_flush()
        self.assert_serving()
        self.assertEqual(self.reply()[0], DGPU)


POLKIT = "org.freedesktop.PolicyKit1"
POLKIT_INTERFACE = Gio.DBusNodeInfo.new_for_xml(f"""
<node><interface name='{POLKIT}.Authority'><method name='CheckAuthorization'>
  <arg type='(sa{{sv}})' direction='in'/><arg type='s' direction='in'/><arg type='a{{ss}}' direction='in'/>
  <arg type='u' direction='in'/><arg type='s' direction='in'/><arg type='(bba{{ss}})' direction='out'/>
</method></interface></node>""").interfaces[0]

# Calls ReleaseDevice with fds that its body does not name, and prints what came.
RELEASER = """
import array, os, socket, sys
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
broker = DBusAddress(%r, bus_name=%r, interface=%r)
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    call = new_method_call(broker, "ReleaseDevice", "ts", (int(sys.argv[2]), "mine"))
    fds = array.array("i", [os.memfd_create("beside") for _ in range(8)])
    data = call.serialise(serial=next(bus.outgoing_serial), fds=fds)
    bus.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    while (reply := bus.receive(timeout=10)).header.message_type == MessageType.signal: pass
    print(reply.body[0])
""" % (PATH, NAME, NAME)


class Polkit(BusTest):
    def test_who_waits_for_it_keeps_no_fd_here(self):
        polkit, asked = self.connect(), []
        polkit.call("org.freedesktop.DBus", "RequestName", "su", POLKIT, 4, name="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus")
        polkit.bus.register_object("/org/freedesktop/PolicyKit1/Authority", POLKIT_INTERFACE,
                                   lambda *call: asked.append(call[-1]), None, None)
        releaser = subprocess.Popen(["/usr/bin/python3", "-c", RELEASER, self.bus.address, str(DGPU)],
                                    text=True, stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])
        wait_until(lambda: asked, "primed to ask polkit")
        self.client.settle()
        self.assertEqual(self.daemon.fds(), self.fds_at_start)
        asked[0].return_value(GLib.Variant("((bba{ss}))", ((False, False, {}),)))
        self.assertIn("this takes root", releaser.communicate(timeout=PATIENCE)[0])
