"""Fds that are not what they should be, wherever in a message they are."""
import array
import os
import signal
import socket
import subprocess
import time

from gi.repository import Gio, GLib
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

import hung_files
from client import NAME, PATH, PATIENCE, buffer, wait_until
from harness import DGPU, IGPU, STRANGER, BusTest, measures
from victims import MARGIN, VictimTest, milliseconds

BROKER = DBusAddress(PATH, bus_name=NAME, interface=NAME)
PEER = DBusAddress(PATH, bus_name=NAME, interface="org.freedesktop.DBus.Peer")


class HungFiles(VictimTest):
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
        quiet = self.measure(50)
        attacker = subprocess.Popen(
            ["/usr/bin/python3", "-c", STUCK, self.bus.address, f"{self.folder}/hung/file"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])
        why = "files that you sent can't be closed"
        for call in ("Place", "PlaceMany", "PlaceMany"):
            line = attacker.stdout.readline()
            self.assertIn("LimitsExceeded", line, call)
            self.assertIn(why, line, call)
        self.assertEqual(self.client.get("Statistics")["refused-calls"], 3)
        self.daemon.read_log(until=f"of uid {STRANGER}: {why}")
        pings, places = [], []
        for _ in range(200):
            pings.append(self.ping())
            places.append(self.place(fresh=True))
        self.assertLess(max(places), max(pings) + 5 * MARGIN * quiet.crowd(), "seconds that the slowest took")
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


class SlowCloses(VictimTest):
    """Closes that wait, without any privilege and of files of an innocent type."""

    def test_a_victim_does_not_wait_for_them(self):
        quiet = self.measure(50)
        attacker = subprocess.Popen(
            ["/usr/bin/python3", "-c", SLOW_CLOSES, self.bus.address], text=True, stdout=subprocess.PIPE,
            user=STRANGER, group=STRANGER, extra_groups=[])
        self.assertEqual(attacker.stdout.readline(), "sending\n")
        pings, places = [], []
        while attacker.poll() is None or len(places) < 200:
            pings.append(self.ping())
            places.append(self.place())
        self.assertEqual(attacker.wait(), 0)
        print(f"      {len(places)} questions; median, max in ms: Ping {milliseconds(pings)}, Place {milliseconds(places)}")
        self.assertLess(max(places), max(pings) + 3 * MARGIN * quiet.crowd(), "seconds that the slowest took")
        # Each close waits for a grace period of the kernel's, which on a busy machine is long.
        self.daemon.wait_for_no("anon_inode:inotify", 120)


# Has an epoll watch pipes, waits for it with a buffer that is a page of the file given, and sends the pipes when told
# to. While the page is not there, the wait holds the epoll's mutex, which the last close of each pipe takes. The call
# that it sends to is no method of primed's, but its last, a Place.
HELD_EPOLL = """
import array, ctypes, mmap, os, select, socket, sys, threading
from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection
libc = ctypes.CDLL(None)
broker = DBusAddress(%r, bus_name=%r, interface=%r)
peer = DBusAddress(%r, bus_name=%r, interface="org.freedesktop.DBus.Peer")
page = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 4096)
buffer = ctypes.c_char.from_buffer(page)
epoll = select.epoll()
pipes = [os.pipe() for _ in range(20)]
for _, writing in pipes: epoll.register(writing, select.EPOLLOUT)
wait = threading.Thread(target=libc.epoll_wait, args=(epoll.fileno(), ctypes.byref(buffer), 12, -1), daemon=True)
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    wait.start()
    print("waiting", flush=True)
    sys.stdin.readline()
    def send(call, fds):
        data = call.serialise(serial=next(bus.outgoing_serial), fds=fds)
        bus.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        for fd in fds: os.close(fd)
    for first in (0, 5, 10):
        send(new_method_call(peer, "Ping"), array.array("i", [w for _, w in pipes[first:first + 5]]))
    place = new_method_call(broker, "Place", "aha{sv}", ([pipes[15][1]], {}))
    send(place, array.array("i", [w for _, w in pipes[16:]]))
    print("sent", flush=True)
    sys.stdin.read()
    os._exit(0)
""" % (PATH, NAME, NAME, PATH, NAME)


class HeldEpoll(VictimTest):
    """The last close of any file that an epoll watches waits until the epoll's owner lets go of it."""

    def setUp(self):
        super().setUp()
        self.files = hung_files.HungFiles(f"{self.folder}/hung", self.daemon.process.pid)
        self.addCleanup(self.files.end)

    def test_a_victim_does_not_wait_for_it(self):
        quiet = self.measure(100)
        attacker = subprocess.Popen(
            ["/usr/bin/python3", "-c", HELD_EPOLL, self.bus.address, f"{self.folder}/hung/file"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])
        self.addCleanup(attacker.stdout.close)
        self.addCleanup(attacker.wait)
        self.addCleanup(self.files.end)
        self.assertEqual(attacker.stdout.readline(), "waiting\n")
        self.files.wait_for_read()
        # Else primed's closes might come before the attacker's own, and not be the last ones.
        self.daemon.process.send_signal(signal.SIGSTOP)
        attacker.stdin.write("send\n")
        attacker.stdin.flush()
        self.assertEqual(attacker.stdout.readline(), "sent\n")
        self.daemon.process.send_signal(signal.SIGCONT)
        self.assert_undisturbed(quiet, 200)
        self.assertGreater(self.daemon.threads(), 1, "no close was stuck")
        self.assertTrue(any(link.startswith("pipe:") for link in self.daemon.links()))
        self.files.end()
        attacker.communicate("")
        self.daemon.wait_for_fds(self.fds_at_start)
        self.daemon.wait_for_threads(1)


# Sends files whose close is stuck until it is refused, then a PlaceMany of two, and prints the three errors.
STUCK = """
import array, os, socket, sys, time
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
broker = DBusAddress(%r, bus_name=%r, interface=%r)
files = [os.open(sys.argv[2], os.O_RDWR) for _ in range(14)]
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    def ask(beside, call):
        fds = array.array("i", beside)
        data = call.serialise(serial=next(bus.outgoing_serial), fds=fds)
        bus.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        while (reply := bus.receive(timeout=10)).header.message_type == MessageType.signal: pass
        return reply
    game, heap = os.memfd_create("primed:terminal"), os.memfd_create("primed:heap")
    place = new_method_call(broker, "Place", "aha{sv}", ([game], {"fresh": ("b", True)}))
    ask([], place)
    for _ in range(400):
        reply = ask(files, place)
        if reply.header.message_type == MessageType.error: break
        time.sleep(0.01)   # closers come one by one
    print(reply.header.fields, reply.body, flush=True)
    for item in ask([], new_method_call(broker, "PlaceMany", "a(aha{sv})", ([([heap], {}), ([heap], {})],))).body[0]:
        print(item[5], flush=True)
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


# Calls ReleaseDevice, or another method of the service named, with 28 MiB of combining marks, and prints the error.
LONG_REASON = """
import sys
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
with open_dbus_connection(sys.argv[1]) as bus:
    service = DBusAddress(%r, bus_name=sys.argv[2], interface=%r)
    call = new_method_call(service, "ReleaseDevice", "ts", (int(sys.argv[3]), "e" + "\u0301" * (14 << 20)))
    print("sending", flush=True)
    while (reply := bus.send_and_get_reply(call, timeout=60)).header.message_type == MessageType.signal: pass
    print(reply.body)
""" % (PATH, NAME)


class LongWords(VictimTest):
    """Words of a length that nobody means: refused, before any right is asked for, and given back."""

    @measures
    def test_a_long_reason(self):
        """Others wait while it is read and found to be UTF-8, which takes some of the time in which the bus passes it
        on; cutting it by characters took seconds."""
        before = self.anonymous()
        ping, passing, said = self.slowest(self.ping, "test.Idle")
        place, _, refusal = self.slowest(self.place, NAME)
        print(f"      the slowest beside a reason of 28 MiB, in ms: Ping {ping * 1e3:.0f}, Place {place * 1e3:.0f};"
              f" passed on in {passing * 1e3:.0f}")
        self.assertIn("longer than 1024 bytes", refusal)
        self.assertLess(place, 3 * passing + 1, f"seconds; the other service said {said}")
        self.client.settle()   # the reply goes out before the call is let go of
        self.assertLess(self.anonymous(), before + 512, "kB of anonymous memory")

    def slowest(self, ask, service):
        """The slowest call of the victim's while a stranger sends its words, for how long that was, and what the
        stranger was told."""
        sender = subprocess.Popen(
            ["/usr/bin/python3", "-c", LONG_REASON, self.bus.address, service, str(DGPU)], text=True,
            stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])
        self.assertEqual(sender.stdout.readline(), "sending\n")
        since = time.monotonic()
        times = [ask()]
        while sender.poll() is None:
            times.append(ask())
        return max(times), time.monotonic() - since, sender.communicate()[0]

    def test_a_reason_is_logged_in_one_line(self):
        os.close(self.client.release(DGPU, "a\nb"))
        self.daemon.read_log(until="a b")

    def anonymous(self):
        return next(int(line.split()[1]) for line in open(f"/proc/{self.daemon.process.pid}/status")
                    if line.startswith("RssAnon"))
