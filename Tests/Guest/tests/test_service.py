"""primed as a system service: its sandbox, how it starts, stops and fails, and who may do what."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest
from xml.etree import ElementTree

import broker
import gpus
import hung_files
import load_client
import procs
from client import DEVICE, MANAGER, NAME, PATH, PROPERTIES, Client, Refused

UNIT = "primed.service"
DROP_IN = pathlib.Path("/run/systemd/system/primed.service.d")
EXPOSURE = 13   # tenths
# KiB: pages of its own, and all resident ones, files' pages included.
ANONYMOUS, RESIDENT = 1 << 10, 12 << 10
RELEASE = "org.primed.release-device"


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu", "tgpu"], check=True)
    broker.unpack_without_introspection()


def show(*properties):
    """{property: value} of the unit."""
    lines = broker.command("systemctl", "show", UNIT, *(f"-p{name}" for name in properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def until(what, seconds=20):
    """Asks again until it is so; each asking is a call to another process, which takes its time."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so in {seconds} s")
    return found


def as_nobody(*words):
    return subprocess.run(["runuser", "-u", "nobody", "--", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class NameOwner:
    """Waits for changes of the owner of primed's name."""

    def __init__(self):
        self.changes = Client().signals("NameOwnerChanged", path="/org/freedesktop/DBus", arg0=NAME)

    def wait_for_new(self, seconds=20):
        """Until another connection owns the name."""
        self.changes.wait(lambda name, old, new: new != "", seconds)


class Sandbox(unittest.TestCase):
    def status(self):
        lines = pathlib.Path(f"/proc/{broker.pid()}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def test_exposure(self):
        broker.command("systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE}", UNIT)

    def test_unit_is_understood(self):
        self.assertEqual(broker.command("systemd-analyze", "verify", "--man=no", UNIT), "")

    def test_bus_is_there_first(self):
        for kind, others in show("After", "Wants").items():
            self.assertIn("dbus.socket", others.split(), kind)

    def test_user_without_privileges(self):
        status = self.status()
        self.assertEqual(set(status["Uid"].split()), {broker.command("id", "-u", "primed").strip()})
        self.assertEqual({status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}, {"0" * 16})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_it_can_do_its_work_there(self):
        broker.restart()   # others gave it reasons to complain
        with gpus.plain() as buffer:
            answer = Client().explain(buffer)
        self.assertIn(answer.device, [gpu.number for gpu in gpus.gpus()])
        self.assertEqual(answer.details["home-memory"], "system")
        broker.command("journalctl", "--sync")
        journal = broker.command("journalctl", "-b", "-p", "warning", "-q", "-o", "cat", f"_PID={broker.pid()}")
        self.assertEqual(journal, "")


class Documentation(unittest.TestCase):
    """The interface that is installed as documentation is the one that the service has."""

    INSTALLED = pathlib.Path("/usr/share/dbus-1/interfaces")
    EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"

    def members(self, xml, interface):
        """{(kind, name): signature}, annotations included, whatever the order."""
        found = {}
        for member in ElementTree.fromstring(xml).find(f"interface[@name='{interface}']"):
            signature = [(arg.get("direction"), arg.get("type"), arg.get("name")) for arg in member.findall("arg")]
            notes = {note.get("name"): note.get("value") for note in member.findall("annotation")}
            if member.tag == "property":
                signature = member.get("type"), member.get("access"), notes.pop(self.EMITS, "true")
            found[member.tag, member.get("name")] = signature, notes
        return found

    def check(self, interface, path):
        client = Client()
        live, = client.call("org.freedesktop.DBus.Introspectable", "Introspect", "", path=path)
        documented = (self.INSTALLED / f"{interface}.xml").read_text()
        self.assertEqual(self.members(live, interface), self.members(documented, interface))

    def test_broker(self):
        self.check(NAME, PATH)

    def test_device(self):
        self.check(DEVICE, next(iter(Client().devices())))


class Life(unittest.TestCase):
    def setUp(self):
        # Tests start it more often than systemd lets a service start.
        broker.command("systemctl", "reset-failed", UNIT)
        broker.start()
        self.addCleanup(broker.start)

    def drop_in(self, text):
        DROP_IN.mkdir(exist_ok=True)
        (DROP_IN / "test.conf").write_text(text)
        self.addCleanup(broker.command, "systemctl", "daemon-reload")
        self.addCleanup((DROP_IN / "test.conf").unlink)
        broker.command("systemctl", "daemon-reload")

    def test_ready_means_that_the_name_is_owned(self):
        for _ in range(3):
            broker.command("systemctl", "reset-failed", UNIT)
            broker.restart()
            self.assertTrue(Client().ask_bus("NameHasOwner", "s", NAME))

    def test_stop(self):
        broker.command("systemctl", "stop", UNIT)
        self.assertEqual(show("ActiveState", "Result", "ExecMainStatus"),
                         {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"})

    def test_stop_while_a_driver_hangs(self):
        gpu = gpus.gpu("tgpu")
        self.addCleanup(gpu.attribute, "import_delay_ms", 0)
        gpu.attribute("import_delay_ms", 600_000)
        client = Client()
        with gpus.plain() as buffer:
            client.place(buffer)
        self.assertEqual(client.device(gpu)["State"], "unresponsive")
        self.test_stop()

    def test_restart_while_a_close_is_stuck_for_good(self):
        """The process that waits in its close can't end; the next one serves all the same."""
        broker.command("modprobe", "fuse")
        before = broker.pid()
        files = hung_files.HungFiles("/run/primed-hung", before)
        self.addCleanup(os.rmdir, files.folder)
        self.addCleanup(files.end)
        file = os.open(f"{files.folder}/file", os.O_RDWR)
        self.addCleanup(os.close, file)
        with self.assertRaises(Refused):
            Client().place(file)
        files.wait_for_flush()
        broker.command("systemctl", "reset-failed", UNIT)
        # TimeoutStopSec=1 several times; a systemd that waits for the process to end waits for ever.
        subprocess.run(["systemctl", "restart", UNIT], check=True, timeout=60)
        self.assertTrue(pathlib.Path(f"/proc/{before}").exists(), "nothing was stuck")
        self.assertNotEqual(broker.pid(), before)
        with gpus.plain() as buffer:
            self.assertIn(Client().place(buffer).device, [gpu.number for gpu in gpus.gpus()])

    def test_a_wrong_option_is_said_once(self):
        self.addCleanup(broker.command, "systemctl", "reset-failed", UNIT)
        self.drop_in("[Service]\nExecStart=\nExecStart=/usr/local/bin/primed --cache 5\n")
        self.assertNotEqual(subprocess.run(["systemctl", "restart", UNIT], stderr=subprocess.DEVNULL).returncode, 0)
        self.assertEqual(show("ActiveState", "ExecMainStatus", "NRestarts"),
                         {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"})
        broker.command("journalctl", "--sync")
        said = broker.command("journalctl", "-b", "-t", "primed", "-q", "-o", "cat", "-n", "1")
        self.assertEqual(said, "--cache 5: give a number from 64 to 1048576; see primed --help\n")

    def test_a_call_starts_it_in_its_sandbox(self):
        broker.command("systemctl", "stop", UNIT)
        Client().generation()
        self.assertEqual(show("ActiveState")["ActiveState"], "active")
        self.assertEqual(pathlib.Path(f"/proc/{broker.pid()}").owner(), "primed")

    def test_activation_starts_nothing_outside_of_it(self):
        broker.command("systemctl", "disable", "--now", UNIT)
        self.addCleanup(broker.command, "systemctl", "enable", UNIT)
        with self.assertRaises(Refused):
            Client().generation()
        self.assertEqual(subprocess.run(["pgrep", "-x", "primed"]).returncode, 1)

    def test_killed_and_back(self):
        owner, before = NameOwner(), broker.pid()
        os.kill(before, signal.SIGKILL)
        owner.wait_for_new()
        self.assertNotEqual(until(broker.pid), before)

    def test_watchdog(self):
        self.drop_in("[Service]\nWatchdogSec=2\n")
        broker.restart()
        owner, before = NameOwner(), broker.pid()
        os.kill(before, signal.SIGSTOP)
        owner.wait_for_new(60)
        self.assertNotEqual(until(broker.pid), before)

    def test_status_line_counts_devices(self):
        def count():
            return show("StatusText")["StatusText"]
        here = len(gpus.gpus())
        until(lambda: count() == f"{here} DRM devices")
        gpus.tgpu_parameter("add", 7)
        until(lambda: count() == f"{here + 1} DRM devices")
        gpus.tgpu_parameter("remove", 7)
        until(lambda: count() == f"{here} DRM devices")

    def test_it_is_small_at_rest(self):
        """After a first look at every device, and an answer."""
        client = Client()
        self.addCleanup(client.close)
        with gpus.plain() as buffer:
            client.place(buffer)
        procs.at_rest(broker.pid(), 64)
        resident, own = memory(broker.pid())
        deadline = time.monotonic() + 5
        while own > ANONYMOUS and time.monotonic() < deadline:   # given back a second after the last fd of a caller's
            resident, own = memory(broker.pid())
        print(f"      {resident} KiB resident, of which {own} are its own", flush=True)
        self.assertLessEqual(own, ANONYMOUS, "\n".join(["KiB"] + [f"{kib} {name}" for kib, name in footprint(broker.pid())]))
        self.assertLessEqual(resident, RESIDENT)


def memory(pid):
    """KiB: resident; of these, the process's own."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return [int(re.search(rf"^{word}: +(\d+) kB", rollup, re.MULTILINE)[1]) for word in ("Rss", "Anonymous")]


def footprint(pid):
    """The mappings that have the most pages of the process's own: KiB, and what is mapped."""
    found, name = [], ""
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            name = " ".join(line.split()[1:2] + line.split()[5:])
        elif line.startswith("Anonymous:"):
            found.append((int(line.split()[1]), name))
    return sorted(found, reverse=True)[:25]


class Journal(unittest.TestCase):
    """What primed logs, with the fields that an administrator can ask for."""

    def setUp(self):
        broker.command("systemctl", "reset-failed", UNIT)
        broker.restart()
        self.client = Client()
        self.client.generation()
        self.seen = len(self.all())

    def all(self):
        broker.command("journalctl", "--sync")
        lines = broker.command("journalctl", "-b", "-q", "-o", "json", "--all", f"_PID={broker.pid()}").splitlines()
        return [json.loads(line) for line in lines]

    def new(self, text=""):
        """Lines since the test began, with `text`."""
        self.client.generation()
        return [line for line in self.all()[self.seen:] if text in line["MESSAGE"]]

    def fields(self, line, *names):
        return tuple(line.get(f"PRIMED_{name}") for name in names)

    def test_a_line_a_device_change(self):
        for change, member in (("add", "InterfacesAdded"), ("remove", "InterfacesRemoved")):
            signals = self.client.signals(member, MANAGER)
            gpus.tgpu_parameter(change, 7)
            signals.wait(lambda path, interfaces: True)
        lines = self.new()
        self.assertEqual([self.fields(line, "DEVICE") for line in lines], [("platform-tgpu.7",)] * 2)
        self.assertIn("is there: tgpu", lines[0]["MESSAGE"])
        self.assertIn("is gone", lines[1]["MESSAGE"])
        self.assertEqual({(line["PRIORITY"], line["SYSLOG_IDENTIFIER"]) for line in lines}, {("6", "primed")})

    def test_no_line_per_query(self):
        with gpus.plain() as buffer:
            for _ in range(100):
                self.client.place(buffer, fresh=True)
        self.assertEqual(self.new(), [])

    def test_a_line_per_query_for_those_who_debug(self):
        broker.command("systemctl", "service-log-level", UNIT, "debug")
        with gpus.plain() as buffer:
            answer = self.client.place(buffer)
        line, = self.new("told ")
        chosen = next(one for one in self.client.devices().values()
                      if answer.device in (one["RenderDevice"], one["PrimaryDevice"]))
        self.assertEqual(self.fields(line, "SENDER", "BUFFER", "DEVICE"),
                         (self.client.bus.get_unique_name(), str(answer.buffer), chosen["StableId"]))

    def test_a_release_names_who_and_why(self):
        tgpu = gpus.gpu("tgpu")
        guard = self.client.release(tgpu.number, "to test")
        back = self.client.signals("PropertiesChanged", PROPERTIES)
        os.close(guard)
        back.wait(lambda interface, changed, gone: changed.get("State") == "ready")
        released, back = self.new()
        self.assertIn("to test", released["MESSAGE"])
        self.assertEqual(self.fields(released, "DEVICE", "SENDER"),
                         (self.client.device(tgpu)["StableId"], self.client.bus.get_unique_name()))
        self.assertEqual(self.fields(back, "DEVICE"), self.fields(released, "DEVICE"))

    def test_nonsense_cannot_fill_it(self):
        with open("/etc/hostname") as file:
            for _ in range(12):
                client = Client()
                for _ in range(20):
                    with self.assertRaises(Refused):
                        client.place(file.fileno())
                client.close()
        lines = self.new("refused a call")
        self.assertIn(len(lines), range(1, 6))
        self.assertEqual({self.fields(line, "UID") for line in lines}, {("0",)})
        self.assertEqual(len({self.fields(line, "SENDER") for line in lines}), len(lines))
        self.assertEqual(self.client.get("Statistics")["refused-calls"], 12 * 20)


class LogControl(unittest.TestCase):
    """org.freedesktop.LogControl1, as systemctl uses it."""

    def setUp(self):
        broker.start()

    def control(self, what, *words):
        return broker.command("systemctl", f"service-log-{what}", UNIT, *words).strip()

    def test_level(self):
        self.addCleanup(self.control, "level", "info")
        self.assertEqual(self.control("level"), "info")
        for level in ("debug", "warning", "emerg", "info"):
            self.control("level", level)
            self.assertEqual(self.control("level"), level)

    def test_target(self):
        self.addCleanup(self.control, "target", "journal")
        self.assertEqual(self.control("target"), "journal")
        self.control("target", "console")
        self.assertEqual(self.control("target"), "console")

    def test_what_it_does_not_know(self):
        """systemctl would not even send it."""
        for what, word, mend in (("Level", "loud", "emerg to debug"), ("Target", "printer", "journal or console")):
            with self.assertRaisesRegex(AssertionError, mend):
                broker.command("busctl", "set-property", NAME, "/org/freedesktop/LogControl1",
                               "org.freedesktop.LogControl1", f"Log{what}", "s", word)

    def test_identifier(self):
        told = broker.command("busctl", "get-property", NAME, "/org/freedesktop/LogControl1",
                              "org.freedesktop.LogControl1", "SyslogIdentifier")
        self.assertEqual(told, 's "primed"\n')


class Reload(unittest.TestCase):
    RULES = pathlib.Path("/run/udev/rules.d/60-primed.rules")

    def setUp(self):
        broker.start()

    def test_keeps_it_running(self):
        before = broker.pid()
        broker.command("systemctl", "reload", UNIT)
        self.assertEqual(broker.pid(), before)
        self.assertEqual(show("ActiveState")["ActiveState"], "active")

    def test_reads_udev_properties_as_the_example_shows(self):
        """The shipped example, with this machine's ID_PATH put in and its first rule switched on."""
        chosen = gpus.gpu("tgpu", 1)   # which imports others' buffers, as a primary device does where there is one
        client = Client()
        self.assertNotEqual(client.get("PrimaryDevice"), chosen.number)
        path = broker.command("udevadm", "info", "-q", "property", "--property=ID_PATH", "--value", chosen.card)
        example = pathlib.Path("/usr/local/share/doc/primed/60-primed.rules.example").read_text()
        rule = next(line for line in example.splitlines() if "PRIMED_PRIMARY" in line)
        self.RULES.parent.mkdir(exist_ok=True)
        self.RULES.write_text(rule.lstrip("#").replace("pci-0000:03:00.0", path.strip()) + "\n")
        self.addCleanup(self.trigger)
        self.addCleanup(self.RULES.unlink)
        self.trigger()
        broker.command("systemctl", "reload", UNIT)
        self.assertEqual(client.get("PrimaryDevice"), chosen.number)

    def test_a_setting_that_means_nothing_is_told(self):
        rules = "".join(f'SUBSYSTEM=="drm", KERNEL=="card*", ENV{{{name}}}="{word}"\n'
                        for name, word in (("PRIMED_ROLE", "toaster"), ("PRIMED_PRIMARY", "yes")))
        self.RULES.parent.mkdir(exist_ok=True)
        self.RULES.write_text(rules)
        self.addCleanup(self.trigger)
        self.addCleanup(self.RULES.unlink)
        self.trigger()
        broker.command("systemctl", "reload", UNIT)
        Client().generation()
        broker.command("journalctl", "--sync")
        said = broker.command("journalctl", "-b", "-q", "-o", "cat", "-p", "warning", f"_PID={broker.pid()}")
        devices = len(Client().devices())
        for line in ("PRIMED_ROLE=toaster of card0, which means nothing: give one of render, display, split",
                     "PRIMED_PRIMARY=yes of card0, which means nothing: give 0 or 1"):
            self.assertEqual(said.count(line), 1, said)
        self.assertEqual(said.count("\n"), 2 * devices, "lines: each setting of each device once")

    def trigger(self):
        broker.command("udevadm", "control", "--reload")
        broker.command("udevadm", "trigger", "--settle", "--subsystem-match=drm")


class UnderLoad(unittest.TestCase):
    RESTARTS = 3

    def test_restart(self):
        broker.command("systemctl", "reset-failed", UNIT)
        broker.start()
        with gpus.plain() as buffer, load_client.asking(self, buffer):
            for _ in range(self.RESTARTS):
                broker.restart()


class Policy(unittest.TestCase):
    """What the bus, and polkit, let others do."""

    def setUp(self):
        broker.start()

    def test_nobody_else_owns_the_name(self):
        request = ["busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                   "RequestName", "su", NAME, "0"]
        for done in (as_nobody(*request), subprocess.run(request, stdout=subprocess.PIPE,
                                                         stderr=subprocess.STDOUT, text=True)):
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("Access denied", done.stdout)

    def test_everyone_may_ask(self):
        for words in (["get-property", NAME, PATH, NAME, "Version"],
                      ["introspect", NAME, PATH], ["tree", NAME],
                      ["call", NAME, PATH, NAME, "SetDefaults", "a{sv}", "0"]):
            with self.subTest(call=words[0]):
                done = as_nobody("busctl", *words)
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_only_root_sets_the_log_level(self):
        done = as_nobody("busctl", "set-property", NAME, "/org/freedesktop/LogControl1",
                         "org.freedesktop.LogControl1", "LogLevel", "s", "debug")
        self.assertIn("denied", done.stdout.lower())
        self.assertEqual(broker.command("systemctl", "service-log-level", UNIT).strip(), "info")

    RULES = pathlib.Path("/etc/polkit-1/rules.d/10-primed-test.rules")

    def release(self, *options):
        """The words of a call that releases a tgpu."""
        return ["busctl", *options, "call", NAME, PATH, NAME, "ReleaseDevice", "ts",
                str(gpus.gpu("tgpu").number), "test"]

    def state(self):
        return Client().device(gpus.gpu("tgpu"))["State"]

    def test_release_takes_an_administrator(self):
        done = as_nobody(*self.release())
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(self.state(), "ready")

    def test_a_caller_that_can_not_wait_for_the_user_is_told(self):
        done = as_nobody(*self.release("--allow-interactive-authorization=no"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ALLOW_INTERACTIVE_AUTHORIZATION", done.stdout)

    def test_polkit_may_let_others(self):
        self.RULES.write_text("polkit.addRule(function(action, subject) {"
                              f' if (action.id == "{RELEASE}" && subject.user == "nobody")'
                              " return polkit.Result.YES; });")
        self.addCleanup(broker.command, "systemctl", "restart", "polkit")
        self.addCleanup(self.RULES.unlink)
        broker.command("systemctl", "restart", "polkit")
        done = as_nobody(*self.release())
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"^h \d+$")
        until(lambda: self.state() == "ready")

    def test_nobody_waits_for_those_who_wait_for_polkit(self):
        broker.command("systemctl", "start", "polkit")
        polkit = int(broker.command("systemctl", "show", "-P", "MainPID", "polkit"))
        os.kill(polkit, signal.SIGSTOP)
        self.addCleanup(os.kill, polkit, signal.SIGCONT)
        waiting = [subprocess.Popen(["runuser", "-u", "nobody", "--", *self.release()], stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True) for _ in range(6)]
        until(lambda: sum(process.poll() is not None for process in waiting) == 2)
        with gpus.plain() as buffer:
            Client().place(buffer, fresh=True)
        self.assertRegex(broker.command(*self.release()), r"^h \d+$")
        os.kill(polkit, signal.SIGCONT)
        said = [process.communicate(timeout=60)[0] for process in waiting]
        self.assertEqual(sum("others of your calls" in one for one in said), 2, said)
        self.assertEqual([process.returncode != 0 for process in waiting], [True] * 6)
        until(lambda: self.state() == "ready")
