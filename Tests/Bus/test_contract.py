"""The contract, as dbus/ has it: answers, hints, errors, introspection, properties."""
import os
import re
import shlex
import subprocess
import tempfile
import textwrap
import xml.etree.ElementTree as xml

from gi.repository import GLib

from client import DEVICE, ERROR, INTENT, IN_PLACE, NAME, NATIVE, PATH, PATIENCE, opened, wait_until
from harness import DGPU, IGPU, PROJECT, BusTest, dev_t, laptop

CARD_OF_IGPU = dev_t(1)


class Answers(BusTest):
    def test_place(self):
        answer = self.client.place("game")
        self.assertEqual((answer.device, answer.access, answer.confidence), (DGPU, NATIVE, INTENT))
        self.assertEqual(answer.details, {}, "a plain answer is as small as can be")
        again = self.client.place("game", explain=True)
        self.assertEqual(again.buffer, answer.buffer)
        self.assertTrue(again.details["cached"])
        self.assertEqual(again.generation, self.client.get("Generation"))

    def test_fresh_is_not_from_the_cache(self):
        self.client.place("game")
        self.assertFalse(self.client.place("game", fresh=True, explain=True).details["cached"])

    def test_explanation(self):
        details = self.client.place("game", explain=True).details
        self.assertEqual(details["node"], "/dev/dri/renderD129")
        self.assertEqual(details["home"], DGPU)
        self.assertEqual(details["home-memory"], "dedicated")
        self.assertEqual({device for device, _, _ in details["devices"]}, {IGPU, DGPU})
        for key in ("residency", "reason", "rule", "evidence"):
            self.assertTrue(details[key], key)
        self.assertNotIn("attachments", details, "nothing tells of them here")

    def test_planes(self):
        self.assertEqual(self.client.place("video", "video.1").device, IGPU)
        self.assertEqual(self.client.place("video", "video", "video.1", "video.1").device, IGPU)

    def test_card_and_render_numbers_mean_the_device(self):
        for number in (DGPU, dev_t(0)):
            answer = self.client.place("heap", primary_device=number)
            self.assertEqual((answer.device, answer.access), (DGPU, IN_PLACE))
        self.assertEqual(self.client.place("heap", primary_device=CARD_OF_IGPU).device, IGPU)

    def test_unknown_hints_are_ignored(self):
        answer = self.client.place(
            "game", colour=GLib.Variant("(sai)", ("mauve", [1])), usage=["sample", "sniff"])
        self.assertEqual(answer.device, DGPU)

    def test_hint_that_names_no_device(self):
        answer = self.client.place("game", target_device=dev_t(77), explain=True)
        self.assertEqual(answer.device, DGPU)
        self.assertIn("target-device", " ".join(answer.details["evidence"]))

    def test_pidfd_and_pid_name_the_client(self):
        client = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        pidfd = os.pidfd_open(client.pid)
        try:
            with opened(["game"]) as fds:
                hints = {"client": GLib.Variant("h", 1)}
                reply = self.client.call(NAME, "Place", "aha{sv}", [0], hints, fds=[*fds, pidfd])
            self.assertEqual(reply[0], DGPU)
            self.assertEqual(self.client.place("game", client=client.pid).device, DGPU)
        finally:
            os.close(pidfd)
            client.communicate()
        wait_until(lambda: self.client.ping() or self.daemon.fds() == self.fds_at_start, "the client's end")

    def test_place_many(self):
        pipe, other = os.pipe()
        try:
            good, bad, planes = self.client.place_many(
                (["game"], {}), ([pipe], {}), (["video", "video.1"], {"explain": True}))
        finally:
            os.close(pipe)
            os.close(other)
        self.assertEqual((good.device, planes.device), (DGPU, IGPU))
        self.assertIn("reason", planes.details)
        self.assertEqual(bad[:5], (0, 0, 0, 0, 0))
        self.assertTrue(bad.details["error"].startswith(ERROR + "NotDmaBuf: plane 0"), bad.details)
        self.assertEqual(self.client.place_many(), [])

    def test_one_bad_item_fails_alone(self):
        wrong, planes, good = self.client.place_many(
            (["game"], {"wake": GLib.Variant("s", "yes")}), (["game"] * 5, {}), (["terminal"], {}))
        self.assertTrue(wrong.details["error"].startswith(ERROR + "InvalidArgument: hint wake"), wrong.details)
        self.assertTrue(planes.details["error"].startswith(ERROR + "TooManyPlanes"), planes.details)
        self.assertEqual(good.device, IGPU)

    def test_defaults_are_the_connections_own(self):
        other = self.connect()
        self.client.set_defaults(primary_device=DGPU)
        self.assertEqual(self.client.place("heap").device, DGPU)
        self.assertEqual(other.place("heap").device, IGPU)
        self.assertEqual(self.client.place("heap", primary_device=IGPU).device, IGPU)
        self.client.set_defaults()
        self.assertEqual(self.client.place("heap").device, IGPU)


class Errors(BusTest):
    def not_dmabufs(self):
        ends = os.pipe()
        with tempfile.TemporaryFile() as file:
            yield "a pipe", ends[0]
            yield "a regular file", file.fileno()
        with opened(["stranger"]) as fds:
            yield "a memfd of no buffer", fds[0]
        path = os.open("/dev/null", os.O_PATH)
        yield "an O_PATH fd", path
        for fd in (*ends, path):
            os.close(fd)

    def test_not_a_dmabuf(self):
        for what, fd in self.not_dmabufs():
            with self.subTest(what), self.refused("NotDmaBuf", "plane 0"):
                self.client.place(fd)
            with self.subTest(f"{what} as plane 1"), self.refused("NotDmaBuf", "plane 1"):
                self.client.place("game", fd)

    def test_number_of_planes(self):
        with self.refused("InvalidArgument", "no plane"):
            self.client.place()
        with self.refused("TooManyPlanes"):
            self.client.place("game", "game", "game", "game", "game")

    def test_wrong_signature(self):
        for signature, values in (("s", ["x"]), ("ah", [[]]), ("a{sv}", [{}])):
            with self.subTest(signature), self.refused("org.freedesktop.DBus.Error.InvalidArgs"):
                self.client.call(NAME, "Place", signature, *values)

    def test_hints_of_the_wrong_type(self):
        wrong = {"sampling_device": "u", "target_device": "s", "primary_device": "i", "usage": "s",
                 "format": "t", "modifier": "u", "client": "t", "wake": "u", "fresh": "s", "explain": "y"}
        values = {"s": "x"}
        for hint, type_ in wrong.items():
            variant = GLib.Variant(type_, values.get(type_, 1))
            with self.subTest(hint), self.refused("InvalidArgument", hint.replace("_", "-")):
                self.client.place("game", **{hint: variant})
            with self.subTest(f"default {hint}"), self.refused("InvalidArgument"):
                self.client.set_defaults(**{hint: variant})

    def test_a_bad_call_changes_nothing(self):
        with self.refused("InvalidArgument"):
            self.client.set_defaults(primary_device=DGPU, wake=GLib.Variant("s", "yes"))
        self.assertEqual(self.client.place("heap").device, IGPU)

    def test_more_than_anyone_could_mean(self):
        """Refused without being read to its end."""
        for signature, value in (("as", ["x"] * 70_000), ("av", [GLib.Variant("s", "x")] * 2_000),
                                 ("a{ss}", {str(i): "" for i in range(2_000)})):
            with self.subTest(signature), self.refused("InvalidArgument", "1024 values"):
                self.client.place("game", colour=GLib.Variant(signature, value))
        with self.refused("InvalidArgument", "64 keys"):
            self.client.place("game", **{f"key{i}": GLib.Variant("y", 0) for i in range(70)})
        with self.refused("InvalidArgument"):
            self.client.place("game", usage=["sample"] * 70)
        with opened(["game"]) as fds:
            with self.refused("TooManyPlanes"):
                self.client.call(NAME, "Place", "aha{sv}", [0] * 70_000, {}, fds=fds)
            with self.refused("TooManyPlanes"):
                self.client.call(NAME, "PlaceMany", "a(aha{sv})", [([0] * 70_000, {})], fds=fds)
            with self.refused("LimitsExceeded"):
                self.client.call(NAME, "PlaceMany", "a(aha{sv})", [([0], {})] * 70_000, fds=fds)

    def test_too_many_items(self):
        with self.refused("LimitsExceeded"):
            self.client.place_many(*[([], {})] * 65)

    def test_release_of_no_device(self):
        with self.refused("UnknownDevice"):
            self.client.release(dev_t(77))

    def test_release_of_a_released_device(self):
        guard = self.client.release(DGPU)
        try:
            with self.refused("Released"):
                self.client.release(dev_t(0))
        finally:
            self.client.listen()
            os.close(guard)
        self.client.wait_for("PlacementsInvalidated")

    def test_unknown_members(self):
        with self.refused("org.freedesktop.DBus.Error.UnknownMethod"):
            self.client.call(NAME, "Move", "")
        with self.refused("org.freedesktop.DBus.Error.UnknownProperty"):
            self.client.get("Colour")
        with self.refused("org.freedesktop.DBus.Error.PropertyReadOnly"):
            self.client.call("org.freedesktop.DBus.Properties", "Set", "ssv", NAME, "Version",
                             GLib.Variant("s", "2"))


def members(interface):
    """An interface of introspection data as a set of lines, without its documentation."""
    lines = set()
    for member in interface:
        if member.tag == "annotation":
            continue
        arguments = [(one.get("name"), one.get("type"), one.get("direction", "in" if member.tag == "method" else "out"))
                     for one in member.findall("arg")]
        notes = sorted((one.get("name"), one.get("value")) for one in member.findall("annotation"))
        lines.add((member.tag, member.get("name"), member.get("type"), member.get("access"),
                   tuple(arguments), tuple(notes)))
    return lines


def examples(name):
    """{member: its example's lines} of an interface's documentation."""
    text = (PROJECT / "dbus" / f"{name}.xml").read_text()
    found = {}
    for comment in re.findall(r"<!--\n(.*?)-->", text, re.S):
        member, example = re.match(r" *([\w.]+):", comment)[1], re.search(r"\n *Examples?\b[^\n]*:\n(.*)", comment, re.S)
        if example:
            found[member] = textwrap.dedent(example[1]).strip().splitlines()
    return found


class Documentation(BusTest):
    scenario = "hybrid-laptop"
    known_buffer = "terminal"

    def run_example(self, words, **how):
        """As it stands there: this bus is its system bus."""
        return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                              env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.bus.address}, **how)

    def test_every_member_has_an_example(self):
        for name in (NAME, DEVICE):
            members = {one.get("name") for one in self.documented(name) if one.get("name")}
            self.assertEqual(members - examples(name).keys(), set())

    def test_examples_of_calls_work_as_they_stand(self):
        for member, lines in sorted(examples(NAME).items(), key=lambda one: one[0] == "ReleaseDevice"):
            if not lines[0].startswith("busctl"):
                continue
            *call, printed = lines if " get-property " in lines[0] else [*lines, ""]
            done = self.run_example(shlex.split(" ".join(call)))
            with self.subTest(member):
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                if member == "ReleaseDevice":
                    self.assertRegex(done.stdout, r"^h \d+\n$")
                elif member in ("Statistics", "Advise"):
                    kind = {"Statistics": "a{st} ", "Advise": "a(tsau)ta{sv} "}[member]
                    self.assertTrue(done.stdout.startswith(kind), done.stdout)
                elif printed.endswith(" ..."):
                    self.assertTrue(done.stdout.startswith(printed[:-3]), done.stdout)
                else:
                    self.assertEqual(done.stdout.strip(), printed)

    def test_examples_in_python_work_as_they_stand(self):
        for member in ("Place", "PlaceMany"):
            with opened(["game", "game"]) as fds, self.subTest(member):
                script = f"import dbus, os\nos.dup2({fds[0]}, 5)\nos.dup2({fds[1]}, 6)\n"
                script += "\n".join(examples(NAME)[member]).replace("broker.Place", "answer = broker.Place")
                done = self.run_example(["/usr/bin/python3", "-c", script + "\nprint(len(answer))"], pass_fds=fds)
                self.assertEqual(done.stdout, {"Place": "6\n", "PlaceMany": "2\n"}[member], done.stderr)

    def test_examples_of_properties_have_their_types(self):
        for one in self.documented(DEVICE).findall("property"):
            line, = examples(DEVICE)[one.get("name")]
            self.assertTrue(line.startswith(one.get("type") + " "), line)

    def introspect(self, path):
        return xml.fromstring(self.client.call("org.freedesktop.DBus.Introspectable", "Introspect", "", path=path)[0])

    def documented(self, name):
        return xml.parse(PROJECT / "dbus" / f"{name}.xml").getroot().find("interface")

    def test_introspection_is_as_documented(self):
        device = next(path for path in self.client.objects())
        for name, path in ((NAME, PATH), (DEVICE, device)):
            live = self.introspect(path).find(f"interface[@name='{name}']")
            self.assertEqual(members(live), members(self.documented(name)))

    def test_standard_interfaces(self):
        names = {one.get("name") for one in self.introspect(PATH).findall("interface")}
        self.assertLessEqual(
            {f"org.freedesktop.DBus.{word}" for word in ("Peer", "Introspectable", "Properties", "ObjectManager")},
            names)

    def test_properties_have_their_documented_types(self):
        device = next(path for path in self.client.objects())
        for name, path in ((NAME, PATH), (DEVICE, device)):
            types = {one.get("name"): one.get("type") for one in self.documented(name).findall("property")}
            body = GLib.Variant("(s)", (name,))
            reply = self.client.bus.call_sync(NAME, path, "org.freedesktop.DBus.Properties", "GetAll", body,
                                              None, 0, -1, None).get_child_value(0)
            live = {}
            for i in range(reply.n_children()):
                entry = reply.get_child_value(i)
                live[entry.get_child_value(0).unpack()] = entry.get_child_value(1).get_variant().get_type_string()
            self.assertEqual(live, types)


class Mainline(BusTest):
    scenario = laptop(kernel={"noMove": "ignored"})

    def test_evidence_is_what_is_in_use(self):
        self.client.place("game")
        self.assertEqual(self.client.get("NoMove"), "ignored")
        self.assertEqual(self.client.get("Evidence"), ["declared", "driver-record", "safe-import", "passive"])


class Properties(BusTest):
    def test_broker(self):
        values = self.client.get_all()
        self.assertEqual(values["PrimaryDevice"], IGPU)
        self.assertIn(values["NoMove"], ("honoured", "ignored", "unknown"))
        self.assertIn("declared", values["Evidence"])
        self.assertEqual({row[6] for row in values["Pairs"]}, {"table"})

    def test_evidence_is_what_is_in_use(self):
        self.client.place("game")
        self.assertEqual(self.client.get("NoMove"), "honoured")
        self.assertEqual(self.client.get("Evidence"), ["declared", "driver-record", "no-move-import", "safe-import",
                                                       "passive"])

    def test_devices(self):
        devices = {one[DEVICE]["RenderDevice"]: one[DEVICE] for one in self.client.objects().values()}
        self.assertEqual(set(devices), {IGPU, DGPU})
        self.assertEqual(devices[DGPU]["Driver"], "amdgpu")
        self.assertEqual(devices[DGPU]["DedicatedMemory"], 8 << 30)
        self.assertEqual(devices[IGPU]["Connectors"], ["eDP-1"])
        self.assertEqual(devices[IGPU]["ConnectedConnectors"], ["eDP-1"])
        self.assertEqual((devices[IGPU]["Primary"], devices[DGPU]["Primary"]), (True, False))
        self.assertEqual(devices[IGPU]["State"], "ready")

    def test_statistics_count(self):
        before = self.client.get("Statistics")
        self.client.place("game")
        self.client.place("game")
        after = self.client.get("Statistics")
        self.assertEqual(after["queries"] - before["queries"], 2)
        self.assertEqual(after["hits"] - before["hits"], 1)
        self.assertEqual(after["cached-buffers"] - before["cached-buffers"], 1)

    def test_log_control(self):
        log = {"interface": "org.freedesktop.LogControl1", "path": "/org/freedesktop/LogControl1"}
        self.assertEqual(self.client.get("SyslogIdentifier", **log), "primed")
        self.assertEqual(self.client.get("LogTarget", **log), "console")

        def set_level(level):
            self.client.call("org.freedesktop.DBus.Properties", "Set", "ssv", log["interface"], "LogLevel",
                             GLib.Variant("s", level), path=log["path"])
        set_level("warning")
        self.assertEqual(self.client.get("LogLevel", **log), "warning")
        with self.refused("InvalidArgument"):
            set_level("shout")
        self.assertEqual(self.client.get("LogLevel", **log), "warning")
