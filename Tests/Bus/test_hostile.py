"""Fds that are not what they should be, wherever in a message they are."""
import array
import os
import socket
import subprocess
import time

from gi.repository import Gio, GLib
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

import hung_files
from client import NAME, PATH, PATIENCE, buffer, wait_until
from harness import DGPU, IGPU, STRANGER, BusTest

BROKER = DBusAddress(PATH, bus_name=NAME, interface=NAME)
PEER = DBusAddress(PATH, bus_name=NAME, interface="org.freedesktop.DBus.Peer")


class HungFiles(BusTest):
    """primed's close of a stranger's file never returns; nobody waits for it."""

    def setUp(self):
        super().setUp()
        self.files = hung_files.HungFiles(f"{self.folder}/hung", self.daemon.process.pid)
        self.addCleanup(self.files.end)
        self.sender = open_dbus_connection(self.bus.address, enable_fds=True)
        self.addCleanup(self.sender.close)

    def tearDown(self):
        self.files.end()
        self.daemon.wait_for_threads(1)
        super().tearDown()

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

    def test_who_has_too_many_is_refused_and_nobody_else(self):
        """By a user who is not ours: its closers are as many as it may have, and hold up nobody's files."""
        attacker = subprocess.Popen(
            ["/usr/bin/python3", "-c", STUCK, self.bus.address, f"{self.folder}/hung/file"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])
        self.assertIn("LimitsExceeded", attacker.stdout.readline())
        slowest, before = 0, time.monotonic()
        for _ in range(200):
            self.assertEqual(self.client.place("game", fresh=True).device, DGPU)
            slowest, before = max(slowest, time.monotonic() - before), time.monotonic()
        self.assertLess(slowest, 0.25, "seconds that a victim's slowest question took")
        self.assertLess(self.daemon.threads(), 12)
        self.daemon.wait_for_no("/memfd:primed:game ")
        attacker.communicate("")


# Sends inotify fds in calls that primed does not handle: closing one waits for a grace period of the kernel.
SLOW_CLOSES = """
import array, ctypes, os, socket, sys
from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection
libc = ctypes.CDLL(None)
peer = DBusAddress(%r, bus_name=%r, interface="org.freedesktop.DBus.Peer")
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    print("sending", flush=True)
    for _ in range(7):   # 128 is what one user may have
        fds = array.array("i", [libc.inotify_init1(0) for _ in range(16)])
        for fd in fds: libc.inotify_add_watch(fd, b"/tmp", 0xfff)
        data = new_method_call(peer, "Ping").serialise(serial=next(bus.outgoing_serial), fds=fds)
        bus.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        for fd in fds: os.close(fd)
        bus.receive(timeout=10)
""" % (PATH, NAME)


class SlowCloses(BusTest):
    """Closes that wait, without any privilege and of files of an innocent type."""

    def test_a_victim_does_not_wait_for_them(self):
        attacker = subprocess.Popen(
            ["/usr/bin/python3", "-c", SLOW_CLOSES, self.bus.address], text=True, stdout=subprocess.PIPE,
            user=STRANGER, group=STRANGER, extra_groups=[])
        self.assertEqual(attacker.stdout.readline(), "sending\n")
        times = []
        while attacker.poll() is None or len(times) < 200:
            since = time.monotonic()
            self.assertEqual(self.client.place("game").device, DGPU)
            times.append(time.monotonic() - since)
        self.assertEqual(attacker.wait(), 0)
        times.sort()
        print(f"      {len(times)} questions: p50 {times[len(times) // 2] * 1e3:.1f} ms, max {times[-1] * 1e3:.1f} ms")
        self.assertLess(times[-1], 0.15, "seconds that the slowest took")
        self.daemon.wait_for_no("anon_inode:inotify")


# Sends files whose close is stuck until it is refused, and prints what came.
STUCK = """
import array, os, socket, sys, time
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
broker = DBusAddress(%r, bus_name=%r, interface=%r)
files = [os.open(sys.argv[2], os.O_RDWR) for _ in range(14)]
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    def ask(beside, hints):
        fds = array.array("i", beside)
        game = os.memfd_create("primed:terminal")
        call = new_method_call(broker, "Place", "aha{sv}", ([game], hints))
        data = call.serialise(serial=next(bus.outgoing_serial), fds=fds)
        bus.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os.close(game)
        while (reply := bus.receive(timeout=10)).header.message_type == MessageType.signal: pass
        return reply
    ask([], {"fresh": ("b", True)})
    for _ in range(400):
        reply = ask(files, {"fresh": ("b", True)})
        if reply.header.message_type == MessageType.error: break
        time.sleep(0.01)   # closers come one by one
    print(reply.header.fields, flush=True)
    sys.stdin.read()
""" % (PATH, NAME, NAME)


POLKIT = "org.freedesktop.PolicyKit1"
POLKIT_INTERFACE = Gio.DBusNodeInfo.new_for_xml(f"""
<node><interface name='{POLKIT}.Authority'><method name='CheckAuthorization'>
  <arg type='(sa{{sv}})' direction='in'/><arg type='s' direction='in'/><arg type='a{{ss}}' direction='in'/>
  <arg type='u' direction='in'/><arg type='s' direction='in'/><arg type='(bba{{ss}})' direction='out'/>
</method><method name='CancelCheckAuthorization'><arg type='s' direction='in'/></method></interface></node>""").interfaces[0]

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
    def authority(self, cancelled):
        """A polkit that answers nothing by itself: the questions to it, and those that were taken back."""
        polkit, asked = self.connect(), []
        polkit.ask_bus("RequestName", "su", POLKIT, 4)

        def called(bus, sender, path, interface, member, body, call):
            words = body.unpack()
            if member == "CancelCheckAuthorization":
                cancelled.append(words[0])
            else:
                asked.append((call, words[-1]))

        polkit.bus.register_object("/org/freedesktop/PolicyKit1/Authority", POLKIT_INTERFACE, called, None, None)
        return polkit, asked

    def releaser(self):
        return subprocess.Popen(["/usr/bin/python3", "-c", RELEASER, self.bus.address, str(DGPU)], text=True,
                                stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])

    def test_who_waits_for_it_keeps_no_fd_here(self):
        polkit, asked = self.authority([])
        releaser = self.releaser()
        wait_until(lambda: asked, "primed to ask polkit")
        self.client.settle()
        self.daemon.wait_for_fds(self.fds_at_start)
        asked[0][0].return_value(GLib.Variant("((bba{ss}))", ((False, False, {}),)))
        self.assertIn("this takes root", releaser.communicate(timeout=PATIENCE)[0])

    def test_who_leaves_is_not_asked_for(self):
        cancelled = []
        polkit, asked = self.authority(cancelled)
        releaser = self.releaser()
        wait_until(lambda: asked, "primed to ask polkit")
        releaser.kill()
        releaser.communicate()
        wait_until(lambda: cancelled, "primed to take its question back")
        self.assertEqual(cancelled, [asked[0][1]])


class LongWords(BusTest):
    """Words of a length that nobody means: refused, before any right is asked for, and given back."""

    def test_a_long_reason(self):
        before = self.anonymous()
        marks = "e" + "\u0301" * (14 << 20)
        since = time.monotonic()
        with self.refused("InvalidArgument", "longer than 1024 bytes"):
            self.client.release(DGPU, marks)
        print(f"      a reason of 28 MiB: {time.monotonic() - since:.2f} s")
        self.client.settle()   # the reply goes out before the call is let go of
        self.assertLess(self.anonymous(), before + 512, "kB of anonymous memory")
        self.assertEqual(self.client.place("game").device, DGPU)

    def test_a_reason_is_logged_in_one_line(self):
        os.close(self.client.release(DGPU, "a\nb"))
        self.daemon.read_log(until="a b")

    def anonymous(self):
        return next(int(line.split()[1]) for line in open(f"/proc/{self.daemon.process.pid}/status")
                    if line.startswith("RssAnon"))
