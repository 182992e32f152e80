"""Floods, hung devices, full tables, lost buses: primed stays on the bus, or ends as it should."""
import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import tempfile
import time

from gi.repository import GLib

import harness
import hung_files
import private_bus
from client import ERROR, INTENT, NAME, NATIVE, PATH, Refused, wait_until
from harness import DGPU, IGPU, STRANGER, BusTest, Primed, laptop, measures
from slow_bus import LossyBus

# Each asks about another buffer, so that each is a question of its own.
GAMES = [{"id": f"game{i}", "exporter": "dgpu", "home": "dedicated", "residency": "dedicated"} for i in range(400)]
HUNG = laptop(buffers=[*GAMES, *laptop()["buffers"]], steps=[{"hang": "dgpu"}, {"unplug": "dgpu"}])


class HungDevice(BusTest):
    """It keeps every question about it under way until the probe deadline."""

    scenario = HUNG

    def tearDown(self):
        # Its driver has one buffer until it goes.
        self.client.listen()
        self.daemon.happen("unplug dgpu")
        self.client.wait_for("InterfacesRemoved")
        self.client.place("warm-up", fresh=True)
        super().tearDown()

    def flood(self, client, count):
        """Asks about `count` buffers at once; the list fills with the answers."""
        answers = []
        for first in range(0, count, 50):
            names = [f"game{i}" for i in range(first, min(first + 50, count))]
            client.place_many_later(names, answers.extend)
        return answers

    def refused(self, answers):
        """How many, all of them for the limit's sake."""
        errors = [one.details["error"] for one in answers if "error" in one.details]
        self.assertEqual([one for one in errors if not one.startswith(ERROR + "LimitsExceeded")], [])
        return len(errors)

    def identify(self, client):
        """Has primed learn whose connection it is, as its first question does."""
        client.set_defaults()


class Floods(HungDevice):
    """The limits' figures are Tests/BrokerTests' business."""

    def test_shares_are_given_back(self):
        self.identify(self.client)
        self.daemon.happen("hang dgpu")
        for _ in range(2):
            answers = self.flood(self.client, 200)
            wait_until(lambda: len(answers) == 200, "all answers")
            self.assertEqual(self.refused(answers), 0)

    def test_who_has_too_many_under_way_is_counted_and_named(self):
        """A connection has 256 questions under way at most."""
        self.identify(self.client)
        self.daemon.happen("hang dgpu")
        # All that it finds when it goes on is read before the first buffer is looked at.
        self.daemon.process.send_signal(signal.SIGSTOP)
        answers, last = self.flood(self.client, 300), []
        self.client.place_later(last.append, "video")
        self.client.ask_bus("GetId")   # the bus has passed them on
        self.daemon.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(answers) == 300 and last, "all answers")
        why = "too many questions of yours"
        self.assertEqual(self.refused(answers), 300 - 256)
        self.assertEqual(sum(why in one.details.get("error", "") for one in answers), 300 - 256)
        self.assertIn(why, last[0].message)
        self.assertEqual(self.client.get("Statistics")["refused-calls"], 300 - 256 + 1)
        self.daemon.read_log(until=f"of uid {os.getuid()}: {why}")

    def test_who_leaves_with_questions_under_way_leaves_nothing(self):
        flooder = self.connect()
        self.daemon.happen("hang dgpu")
        flooder.place_many_later(["game1", "game2", "game3"], lambda answers: None)
        flooder.bus.flush_sync(None)
        flooder.close()
        self.clients.remove(flooder)
        wait_until(lambda: self.client.get("Statistics")["pending-queries"] == 0, "the deadline")


class FewFds(HungDevice):
    """RLIMIT_NOFILE is reached: questions are refused, and primed stays on the bus."""

    limits = ("prlimit", "--nofile=424")

    def test_refused_and_still_there(self):
        self.identify(self.client)
        self.client.place("terminal")
        self.daemon.happen("hang dgpu")
        answers = self.flood(self.client, 100)
        self.assertEqual(self.connect().place("terminal").device, IGPU, "what is known needs no fd")
        wait_until(lambda: len(answers) == 100, "all answers")
        self.assertEqual(self.refused(answers), 100 - 20, "half of what is left is other users'")


@measures
class SlowReader(BusTest):
    def test_who_does_not_read_keeps_nothing_here(self):
        """Asks and never reads the answers."""
        script = ("import os, socket, sys\n"
                  "from jeepney import DBusAddress, new_method_call\n"
                  "from jeepney.io.blocking import open_dbus_connection\n"
                  f"broker = DBusAddress('{PATH}', bus_name='{NAME}', interface='{NAME}')\n"
                  "bus = open_dbus_connection(sys.argv[1], enable_fds=True)\n"
                  "fd = os.memfd_create('primed:game')\n"
                  "hints = {'explain': ('b', True)}\n"
                  "bus.sock.settimeout(2)\n"
                  "try:\n"
                  "  for _ in range(20000): bus.send(new_method_call(broker, 'Place', 'aha{sv}', ([fd], hints)))\n"
                  "except OSError: pass\n"
                  "print('sent', flush=True)\n"
                  "sys.stdin.read()\n")
        reader = subprocess.Popen([sys.executable, "-c", script, self.bus.address], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.client.place("game")
            self.assertEqual(self.client.place("terminal").device, IGPU, "others are served meanwhile")
            self.assertEqual(reader.stdout.readline(), "sent\n")
            self.assertEqual(self.client.place("terminal").device, IGPU)
            resident = next(int(line.split()[1]) for line in open(f"/proc/{self.daemon.process.pid}/status")
                            if line.startswith("VmRSS"))
            self.assertLess(resident, 64 * 1024, "kB resident")
        finally:
            reader.communicate("")


class Ends(BusTest):
    leaves_daemon_running = False

    def test_lost_bus(self):
        self.bus.stop()
        self.assertEqual(self.daemon.exit_code(), 1, "systemd starts it again")
        self.daemon.read_log()
        self.assertIn("the bus is lost: it ended, or closed the connection", self.daemon.log)
        self.bus.start()
        again = Primed(self.bus.address, self.folder, self.scenario)
        self.addCleanup(again.stop)
        self.assertEqual(self.connect().place("game").device, DGPU)

    def test_stopped(self):
        self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.exit_code(), 0)

    def test_reloaded(self):
        before = self.client.get("Generation")
        self.daemon.process.send_signal(signal.SIGHUP)
        self.client.settle()
        self.assertEqual(self.client.get("Generation"), before)

    def test_name_is_taken(self):
        second = Primed(self.bus.address, self.folder, self.scenario, wait=False)
        self.addCleanup(second.stop)
        self.assertEqual(second.exit_code(), 1)
        second.read_log()
        self.assertIn(NAME, second.log)

    def test_no_bus(self):
        lonely = Primed("unix:path=/nonexistent", self.folder, self.scenario, wait=False)
        self.addCleanup(lonely.stop)
        self.assertEqual(lonely.exit_code(), 1)


class UsedUpFds(BusTest):
    """Files whose close is stuck take all fds: primed says so and ends, rather than be deaf."""

    limits = ("prlimit", "--nofile=424")
    leaves_daemon_running = False

    def test_a_line_and_another_start(self):
        files = hung_files.HungFiles(f"{self.folder}/hung", self.daemon.process.pid)
        self.addCleanup(files.end)
        file, sender = files.open(), self.connect()
        for _ in range(3):
            sender.call_later(lambda reply: None, "Unknown", None, [file] * 200)
        os.close(file)
        self.daemon.read_log(until="of 424 fds are in use, ")
        self.assertIn("the bus is lost: its message had no room", self.daemon.log)
        wait_until(lambda: not self.client.ask_bus("NameHasOwner", "s", NAME), "the name to be free")
        again = Primed(self.bus.address, self.folder, self.scenario)
        self.addCleanup(again.stop)
        self.assertEqual(self.client.place("game").device, DGPU)
        files.end()   # until then the kernel keeps the process
        self.assertEqual(self.daemon.exit_code(), 1)


class Policy(BusTest):
    """The shipped bus policy, with root for the user primed; dbus-daemon reads it, dbus-broker's
    launcher would."""

    def start_bus(self):
        text = (harness.PROJECT / "dbus/org.primed.Broker1.conf").read_text()
        return private_bus.Daemon(self.folder, self.bus_log, policy=text.replace('user="primed"', 'user="root"'))

    def busctl(self, *words):
        return self.as_stranger("busctl", f"--address={self.bus.address}", *words)

    def test_everyone_may_ask(self):
        reply = self.busctl("call", NAME, PATH, NAME, "SetDefaults", "a{sv}", "0")
        self.assertEqual(reply.returncode, 0, reply.stderr)
        reply = self.busctl("get-property", NAME, PATH, NAME, "Generation")
        self.assertEqual(reply.returncode, 0, reply.stderr)

    def test_strangers_may_not_set_properties(self):
        path, interface = "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"
        reply = self.busctl("set-property", NAME, path, interface, "LogLevel", "s", "debug")
        self.assertIn("Access denied", reply.stderr)

    def test_strangers_may_not_release(self):
        reply = self.as_stranger(
            "dbus-send", f"--bus={self.bus.address}", "--print-reply", f"--dest={NAME}", PATH,
            f"{NAME}.ReleaseDevice", f"uint64:{DGPU}", "string:mine")
        self.assertIn("AccessDenied: this takes root", reply.stderr)
        self.assertEqual(self.client.place("game").device, DGPU)

    def test_strangers_may_not_own_the_name(self):
        reply = self.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                            "RequestName", "su", NAME, "4")
        self.assertIn("Access denied", reply.stderr)

    def test_strangers_see_their_own_counters_only(self):
        self.client.place("game")
        reply = self.busctl("get-property", NAME, PATH, NAME, "Statistics")
        self.assertEqual(reply.stdout, 'a{st} 3 "cached-buffers" 0 "pending-queries" 0 "watched-buffers" 0\n')
        everything = self.busctl("--json=short", "call", NAME, PATH, "org.freedesktop.DBus.Properties", "GetAll",
                                 "s", NAME)
        counters = json.loads(everything.stdout)["data"][0]["Statistics"]["data"]
        self.assertEqual(counters, {"cached-buffers": 0, "pending-queries": 0, "watched-buffers": 0})
        self.assertIn("queries", self.client.get("Statistics"))
        self.assertEqual(self.client.get_all()["Statistics"].keys(), self.client.get("Statistics").keys())


# Asks about the simulated buffers named on the command line, and prints what came.
ASKER = """
import os, sys
from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection
broker = DBusAddress(%r, bus_name=%r, interface=%r)
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    for name in sys.argv[2:]:
        fd = os.memfd_create("primed:" + name)
        body = bus.send_and_get_reply(new_method_call(broker, "Place", "aha{sv}", ([fd], {})), timeout=10).body
        print(*body[:3] if len(body) > 1 else body)
        os.close(fd)
""" % (PATH, NAME, NAME)


class CacheShares(BusTest):
    """The buffers of one user don't make those of another forgotten."""

    scenario = laptop(buffers=[*GAMES, *laptop()["buffers"]])
    options = ("--cache", "64")

    def test_a_flood_pushes_out_its_own(self):
        mine = ["game", "terminal", "heap"]
        before = [self.client.place(name)[:4] for name in mine]
        flood = self.as_stranger("/usr/bin/python3", "-c", ASKER, self.bus.address, *(f"game{i}" for i in range(200)))
        self.assertEqual(set(flood.stdout.splitlines()), {f"{DGPU} {NATIVE} {INTENT}"}, flood.stderr)
        statistics = self.client.get("Statistics")
        self.assertEqual(statistics["cached-buffers"], 64, "the cache was full")
        for name, answer in zip(mine, before):
            again = self.client.place(name, explain=True)
            self.assertTrue(again.details["cached"], name)
            self.assertEqual(again[:4], answer)


# Asks about "game" again and again, COUNT times with `fresh` and a window of 32; prints what came of the last.
FRESH_FLOOD = """
import os, sys
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
broker = DBusAddress(%r, bus_name=%r, interface=%r)
with open_dbus_connection(sys.argv[1], enable_fds=True) as bus:
    sent = answered = 0
    while answered < int(sys.argv[2]):
        if sent < int(sys.argv[2]) and sent - answered < 32:
            fd = os.memfd_create("primed:game")
            hints = {"fresh": ("b", True), "explain": ("b", True)}
            bus.send(new_method_call(broker, "Place", "aha{sv}", ([fd], hints)))
            os.close(fd)
            sent += 1
        else:
            reply = bus.receive(timeout=10)
            answered += reply.header.message_type != MessageType.signal
    print(reply.body[0], reply.body[5]["evidence"][1])
""" % (PATH, NAME, NAME)

# A preload library: what logind says of every user, as its environment has it.
SEATED = """
#include <stdlib.h>
int sd_uid_is_on_seat(unsigned uid, int active, const char *seat) { return getenv("SEATED") != NULL; }
"""


class Seats(BusTest):
    """Whoever is not at the machine has nothing looked at again and nothing woken."""

    seated = False
    scenario = laptop(devices=[*laptop()["devices"],
                               {"id": "asleep", "driver": "nouveau", "render": 130, "power": "suspended"}])

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="primed-seat-"))
        (pathlib.Path(folder) / "seat.c").write_text(SEATED)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{folder}/seat.so", f"{folder}/seat.c"], check=True)
        self.limits = ("env", f"LD_PRELOAD={folder}/seat.so", *(["SEATED=1"] if self.seated else []))
        super().setUp()

    def flood(self, count):
        before = self.client.get("Statistics")["looks"]
        flood = self.as_stranger("/usr/bin/python3", "-c", FRESH_FLOOD, self.bus.address, str(count))
        self.assertEqual(flood.returncode, 0, flood.stderr)
        self.assertTrue(flood.stdout.startswith(f"{DGPU} "), flood.stdout)
        return self.client.get("Statistics")["looks"] - before, flood.stdout

    def wake(self):
        """A stranger's question about a buffer, with `wake`; the sleeping device's power after it."""
        asker = ASKER.replace("([fd], {})", "([fd], {'wake': ('b', True), 'explain': ('b', True)})")
        asker = asker.replace("body[:3]", "body[5]['evidence'][1]")
        asked = self.as_stranger("/usr/bin/python3", "-c", asker, self.bus.address, "heap")
        self.client.settle()
        asleep = [one["org.primed.Broker1.Device"]["Power"] for path, one in self.client.objects().items()
                  if one.get("org.primed.Broker1.Device", {}).get("Driver") == "nouveau"]
        return asleep, asked.stdout

    def test_no_look_is_forced(self):
        looks, evidence = self.flood(300)
        self.assertLessEqual(looks, 1)
        self.assertIn("wake and fresh are ignored", evidence)

    def test_nothing_is_woken(self):
        power, evidence = self.wake()
        self.assertEqual(power, ["suspended"])
        self.assertIn("ignored", evidence)


class FreshFlood(Seats):
    """Who is at the machine forces so many looks a second, and then the last look is the answer."""

    seated = True

    def test_no_look_is_forced(self):
        since = time.monotonic()
        looks, evidence = self.flood(600)
        self.assertGreater(looks, 0)
        # A window of questions may join one look.
        self.assertLessEqual(looks, 64 * (2 + time.monotonic() - since))
        self.assertNotIn("ignored", evidence)

    def test_nothing_is_woken(self):
        power, evidence = self.wake()
        self.assertEqual(power, ["active"])


# Has so many connections, each of which says SetDefaults; prints how many of them primed refused.
CALLERS = """
import sys
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
broker = DBusAddress(%r, bus_name=%r, interface=%r)
connections, refused = [], 0
for _ in range(int(sys.argv[2])):
    bus = open_dbus_connection(sys.argv[1])
    reply = bus.send_and_get_reply(new_method_call(broker, "SetDefaults", "a{sv}", ({"primary-device": ("t", 1)},)))
    refused += reply.header.message_type == MessageType.error
    connections.append(bus)
print(refused, flush=True)
sys.stdin.read()
""" % (PATH, NAME, NAME)


class ManyCallers(BusTest):
    """More of them than the bus lets primed watch: who has few is served."""

    def callers(self, user, count):
        """Connections of this user's, until the test ends; how many of them were refused."""
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", CALLERS, self.bus.address, str(count)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, user=user, group=STRANGER, extra_groups=[])
        self.addCleanup(process.communicate, "")
        return int(process.stdout.readline())

    def assert_root_is_served(self):
        root = self.connect()
        root.set_defaults(primary_device=DGPU)
        self.assertEqual(root.place("heap").device, DGPU)
        self.assertEqual(self.client.place("terminal").device, IGPU)

    def test_root_is_served_beside_one_user_who_has_all(self):
        self.assertEqual(self.callers(STRANGER, 460), 460 - 128)
        self.assert_root_is_served()
        self.daemon.read_log(until="too many connections ask primed")

    def test_root_is_served_beside_several_who_have_all(self):
        users = sorted({user.pw_uid for user in pwd.getpwall()} - {0, STRANGER})[:4]
        self.assertEqual(len(users), 4)
        for user in users:
            self.assertEqual(self.callers(user, 128), 0)
        self.assert_root_is_served()

    def start_bus(self):
        return private_bus.Daemon(self.folder, self.bus_log, max_connections_per_user=1024)

    def test_the_largest_gives_way(self):
        callers = [self.connect() for _ in range(460)]
        for caller in callers:
            caller.set_defaults(primary_device=DGPU)
        asked = self.as_stranger("/usr/bin/python3", "-c", ASKER, self.bus.address, "game", "terminal")
        self.assertEqual(len(asked.stdout.splitlines()), 2, asked.stderr)
        self.assertNotIn("too many", asked.stdout)
        self.assertEqual(callers[-1].place("heap").device, DGPU, "the newest keeps what it said")
        self.assertEqual(callers[0].place("heap").device, IGPU, "the oldest was forgotten")


class LossyBusTest(BusTest):
    """dbus-daemon drops its own replies to primed while its queue to primed is full of anybody's fds."""

    def start_bus(self):
        return LossyBus(self.folder, super().start_bus())


class LostReplies(LossyBusTest):
    def test_whose_a_connection_is_is_asked_again(self):
        self.bus.lose("GetConnectionUnixUser", 2)
        self.assertEqual(self.connect().place("heap", fresh=True).device, IGPU)
        self.assertEqual(self.bus.lost, ["GetConnectionUnixUser"] * 2)

    def test_the_signal_of_its_end_is_asked_for_again(self):
        def calls(method):
            return self.bus.calls.count(method)

        asked = calls("AddMatch")
        self.bus.lose("AddMatch", 1)
        asker = self.connect()
        asker.set_defaults(primary_device=DGPU)
        self.bus.wait_for(lambda: calls("AddMatch") == asked + 2, "second question")
        self.assertEqual(asker.place("heap").device, DGPU, "what it said is kept")
        asker.close()
        self.clients.remove(asker)
        self.bus.wait_for(lambda: calls("RemoveMatch") == 2, "end of both")


class WatchdogAndLostReplies(LossyBusTest):
    limits = ("env", "WATCHDOG_USEC=600000")

    def test_one_lost_answer_does_not_end_it(self):
        self.bus.lose("Ping", 1)
        self.bus.wait_for(lambda: self.bus.lost == ["Ping"], "lost answer")
        self.daemon.forget_notices()
        self.daemon.wait_for_notice("WATCHDOG=1")


class Watchdog(BusTest):
    """systemd's watchdog is fed by an answer that came by way of the bus, and by nothing else."""

    leaves_daemon_running = False
    limits = ("env", "WATCHDOG_USEC=600000")

    def test_fed_while_the_bus_passes_on_our_calls(self):
        for _ in range(3):
            self.daemon.wait_for_notice("WATCHDOG=1")

    def test_it_ends_when_the_bus_does_not(self):
        self.daemon.wait_for_notice("WATCHDOG=1")
        os.kill(self.bus.process.pid, signal.SIGSTOP)
        try:
            self.assertEqual(self.daemon.exit_code(), 1)
        finally:
            os.kill(self.bus.process.pid, signal.SIGCONT)
        self.daemon.read_log()
        self.assertIn("don't come back to us by way of the bus", self.daemon.log)


class FewMatches(BusTest):
    """A bus that has no match left for primed: who can't be watched is refused, and primed stays."""

    def start_bus(self):
        return private_bus.Daemon(self.folder, self.bus_log, max_match_rules_per_connection=8)

    def test_refused_and_still_there(self):
        clients = [self.connect() for _ in range(16)]
        refused = 0
        for client in clients:
            try:
                client.set_defaults(primary_device=DGPU)
                self.assertEqual(client.place("heap").device, DGPU)
            except Refused as error:
                self.assertEqual(error.name, ERROR + "LimitsExceeded")
                self.assertEqual(client.place("warm-up").device, IGPU, "what is known is answered")
                refused += 1
        self.assertEqual(refused, 16 + 1 - 8)


class Forgeries(BusTest):
    """Signals that anybody can send to primed alone, in the bus's name."""

    def test_others_do_not_go_by_anybodys_word(self):
        self.client.set_defaults(primary_device=DGPU)
        name = self.client.bus.get_unique_name()
        self.connect().bus.emit_signal(
            self.daemon_name(), "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
            GLib.Variant("(sss)", (name, name, "")))
        self.clients[-1].ping()
        self.assertEqual(self.client.place("heap").device, DGPU)

    def daemon_name(self):
        return self.client.ask_bus("GetNameOwner", "s", NAME)
