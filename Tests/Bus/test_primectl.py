"""primectl against a running primed: what programs read, what people are told when it goes wrong."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import harness
from client import NATIVE, PATIENCE
from harness import DGPU, IGPU, BusTest, Primed, laptop


class Asking(BusTest):
    """The tool on this test's bus."""

    scenario = laptop(steps=[{"unplug": "dgpu"}, {"plug": "dgpu"}])

    def start(self, *words):
        primectl = harness.primed.with_name("primectl")
        process = subprocess.Popen([primectl, *words, "--bus", self.bus.address], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def run_it(self, *words, status=0, command=()):
        """(stdout, stderr)"""
        primectl = harness.primed.with_name("primectl")
        done = subprocess.run([primectl, *words, "--bus", self.bus.address, *command], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def json(self, *words):
        return json.loads(self.run_it(*words, "--json")[0])


class Primectl(Asking):
    def test_devices(self):
        told = {one["StableId"]: one for one in self.json("devices")}
        self.assertEqual({one["RenderDevice"] for one in told.values()}, {IGPU, DGPU})
        for name in ("renderD129", "card0", "/dev/dri/renderD129", "amdgpu", str(DGPU)):
            self.assertEqual([one["RenderDevice"] for one in self.json("devices", name)], [DGPU])
        self.assertIn(f"RenderDevice              {DGPU} (226:129)\n", self.run_it("devices", "amdgpu")[0])
        _, said = self.run_it("devices", "renderD7", status=1)
        self.assertIn("no such device; there are: /dev/dri/render", said)

    def test_a_device_by_what_the_list_shows(self):
        for words in (("devices", "dgpu"), ("device", "dgpu"), ("device", "renderD129")):
            self.assertEqual([one["RenderDevice"] for one in self.json(*words)], [DGPU])

    def test_a_command_that_is_none(self):
        for word, said in (("devcies", "there is no command devcies; did you mean devices?"),
                           ("frobnicate", "there is no command frobnicate; there are: overview, status")):
            done = subprocess.run([harness.primed.with_name("primectl"), word], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (64, ""))
            self.assertIn(said, done.stderr)

    def test_topology_says_who_reaches_what(self):
        told = self.run_it("topology")[0]
        self.assertRegex(told, r"reaches +\S")
        self.assertNotEqual(told, self.run_it("overview")[0])

    def test_a_picture_to_standard_output_or_a_file(self):
        out, said = self.run_it("matrix", "--svg", "-")
        self.assertTrue(out.startswith("<svg") and out.endswith("</svg>\n"))
        self.assertEqual(said, "")
        path = f"{self.folder}/matrix.svg"
        out, said = self.run_it("matrix", "--svg", path)
        self.assertEqual((out, said), ("", f"primectl: {path} is written\n"))
        _, said = self.run_it("matrix", "--svg", "-", "--json", status=64)
        self.assertIn("not both", said)

    def test_a_scenario_that_is_none(self):
        _, said = self.run_it("matrix", "--simulate", "nosuch", status=1)
        self.assertEqual(said.count("nosuch"), 1, said)

    def test_explain_has_a_line_for_every_source(self):
        sources = self.json("explain", "--buffer", "game")["sources"]
        self.assertEqual([one["source"] for one in sources], [
            "declared", "driver-record", "introspection", "no-move-import", "safe-import", "passive"])
        for one in sources:
            self.assertTrue((one["said"] is None) != (one["silence"] is None), one)
        self.assertIn("the scenario has none", self.run_it("explain", "--buffer", "game")[0])

    def test_place(self):
        told = self.json("place", "--buffer", "game", "--hint", "primary-device=card1")
        self.assertEqual((told["device"], told["access"]), (DGPU, "native"))
        self.assertEqual(self.client.place("game").access, NATIVE)
        _, said = self.run_it("place", "--buffer", "nothing", status=1)
        self.assertIn("scenario show", said)

    def test_place_with_candidates_and_verdicts(self):
        words = ["place", "--buffer", "game", "--hint", "candidates=renderD129,card1", "--hint", "verdicts"]
        self.assertEqual(self.json(*words)["device"], DGPU)
        self.assertEqual(self.json("explain", *words[1:])["device"], DGPU)
        self.json("place", "--buffer", "game", "--hint", "candidates=", "--hint", "verdicts=false")
        _, said = self.run_it("place", "--buffer", "game", "--hint", "candidates", status=64)
        self.assertIn("candidates=", said)
        _, said = self.run_it("place", "--buffer", "game", "--hint", "candidates=renderD7", status=1)
        self.assertIn("no such device", said)

    def test_advise(self):
        told = self.json("advise", "amdgpu:sample,capture", "renderD128")
        self.assertEqual(told["generation"], self.client.get("Generation"))
        places = self.client.advise((DGPU, 5), (IGPU, 0))[0]
        self.assertEqual([place["device"] for place in told["places"]], [place[0] for place in places])
        self.assertIn("ALLOCATE ON" if places else "copy", self.run_it("advise", "amdgpu:sample", "i915")[0])
        for words, mend, status in ((["amdgpu:play"], "play is none of sample, scanout, capture", 64),
                                    (["amdgpu"] * 9, "more than 8", 64), (["renderD7:sample"], "no such device", 1),
                                    (["amdgpu", "--hint", "usage=sample"], "no such hint; one of format", 64)):
            with self.subTest(words):
                self.assertIn(mend, self.run_it("advise", *words, status=status)[1])

    def test_status(self):
        told = self.json("status")
        self.assertEqual(told["Version"], self.client.get("Version"))
        self.assertIn("queries", told["Statistics"])

    def test_release_lasts_as_long_as_the_command(self):
        script = f"'{harness.primed.with_name('primectl')}' devices amdgpu --json --bus '{self.bus.address}'; exit 7"
        released, _ = self.run_it("release", "amdgpu", command=["--", "sh", "-c", script], status=7)
        self.assertEqual(json.loads(released)[0]["State"], "released")
        self.daemon.read_log(until="is back")
        self.assertEqual(self.json("devices", "amdgpu")[0]["State"], "ready")

    def test_the_shell_completes_devices(self):
        """bash's function, as the shell calls it; the system bus is the test's."""
        script = ("source <(primectl --generate-completion-script bash)\n"
                  "words='primectl devices render'\n"
                  "COMP_WORDS=($words) COMP_CWORD=2 COMP_LINE=$words COMP_POINT=${#words}\n"
                  "$(complete -p primectl | sed -E 's/.* -F ([^ ]+) .*/\\1/') primectl render devices\n"
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        path = f"{harness.primed.parent}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "--norc", "-c", script], text=True, stdout=subprocess.PIPE, timeout=PATIENCE,
                              env={**os.environ, "PATH": path, "DBUS_SYSTEM_BUS_ADDRESS": self.bus.address})
        self.assertEqual(sorted(done.stdout.split()), ["renderD128", "renderD129"])

    def test_holders(self):
        self.assertEqual(self.json("holders", "amdgpu"), [])

    def test_monitor(self):
        monitor = self.start("monitor", "--json")
        happened = lambda: json.loads(monitor.stdout.readline())
        self.assertEqual(happened(), {"what": "running", "running": True})
        self.daemon.happen("unplug dgpu")
        self.assertEqual({happened()["what"] for _ in range(3)}, {"removed", "changed", "invalidated"})
        self.daemon.happen("plug dgpu")
        added = next(one for one in iter(happened, None) if one["what"] == "added")
        self.assertEqual(added["device"]["RenderDevice"], DGPU)

    def test_monitor_what_is_asked_for(self):
        kinds = "running,removed,changed"
        monitor = self.start("monitor", "--json", "--what", "running,removed", "--device", "renderD129")
        other = self.start("monitor", "--json", "--what", kinds, "--device", "renderD128")
        happened = lambda one: json.loads(one.stdout.readline())["what"]
        self.assertEqual([happened(monitor), happened(other)], ["running", "running"])
        self.daemon.happen("unplug dgpu")
        self.assertEqual(happened(monitor), "removed")
        # primed tells first who went, then what that changes.
        self.assertEqual(happened(other), "changed")
        self.daemon.happen("plug dgpu")
        _, said = self.run_it("monitor", "--what", "came", status=64)
        self.assertIn("--what came: one of running, invalidated", said)

    def test_monitor_of_a_device_that_is_not_there(self):
        _, said = self.run_it("monitor", "--device", "nosuch", status=1)
        self.assertIn("nosuch: no such device; there are: /dev/dri/renderD128", said)

    def test_monitor_says_only_what_changed(self):
        monitor = self.start("monitor", "--json", "--what", "running,changed")
        happened = lambda: json.loads(monitor.stdout.readline())
        self.assertEqual(happened()["what"], "running")
        generation, primary = self.client.get("Generation"), self.client.get("PrimaryDevice")
        for event in ("unplug dgpu", "plug dgpu"):
            self.daemon.happen(event)
        while True:
            changed = happened()
            if changed["path"] == "/org/primed/Broker1":
                self.assertIn("Generation", changed["properties"])
                self.assertNotEqual(changed["properties"].get("PrimaryDevice"), primary)
                primary = changed["properties"].get("PrimaryDevice", primary)
                if changed["properties"]["Generation"] >= generation + 2:
                    return

    def test_monitor_in_words(self):
        monitor = self.start("monitor")
        happened = lambda: monitor.stdout.readline().split("  ", 1)[1]
        self.assertEqual(happened(), "primed runs\n")
        self.daemon.happen("unplug dgpu")
        told = {happened() for _ in range(3)}
        self.assertIn("/dev/dri/renderD129 (dgpu) went\n", told)
        # The primary device is the one with the panel, as before.
        self.assertRegex("".join(told), r"primed: Generation \d+\n")
        self.daemon.happen("plug dgpu")

    def test_monitor_outlives_primed(self):
        monitor = self.start("monitor", "--json")
        self.assertTrue(json.loads(monitor.stdout.readline())["running"])
        self.daemon.stop()
        self.assertEqual(json.loads(monitor.stdout.readline()), {"what": "running", "running": False})
        self.daemon = Primed(self.bus.address, self.folder, self.scenario)
        self.addCleanup(self.daemon.stop)
        self.assertTrue(next(one for one in iter(monitor.stdout.readline, None) if '"running": true' in one))
        self.fds_at_start = self.daemon.wait_for_fds()

    def test_says_that_it_waits(self):
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        try:
            asking = self.start("devices")
            self.assertIn("waiting for primed", asking.stderr.readline())
        finally:
            os.kill(self.daemon.process.pid, signal.SIGCONT)
        self.assertIn("renderD129", asking.communicate(timeout=PATIENCE)[0])
        self.assertEqual(asking.returncode, 0)


class Recent(unittest.TestCase):
    """What primed writes to its log for primectl: a primed of its own, whose log is a file."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="primed-bus-")))
        self.folder.chmod(0o755)
        self.bus = harness.bus_kind(self.folder, self.enterContext(open(self.folder / "bus.log", "w+")))
        self.addCleanup(self.bus.stop)
        (self.folder / "laptop.json").write_text(json.dumps(laptop(steps=[{"unplug": "dgpu"}])))
        self.log = self.folder / "primed.log"
        words = [harness.primed, "--bus", self.bus.address, "--simulate", self.folder / "laptop.json"]
        self.primed = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=self.enterContext(self.log.open("w")))
        self.addCleanup(self.primed.wait)
        self.addCleanup(self.primed.terminate)
        subprocess.run(["gdbus", "wait", "--address", self.bus.address, "--timeout", "20", "org.primed.Broker1"],
                       check=True)
        self.run_it("place", "--buffer", "game")

    def run_it(self, *words):
        primectl = harness.primed.with_name("primectl")
        return subprocess.run([primectl, *words, "--bus", self.bus.address], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout

    def test_topology(self):
        told = self.run_it("topology", "--recent", "--log", self.log)
        self.assertRegex(told, r"buffers +b\d+ in dedicated memory -> renderD129, native")
        self.assertNotIn("buffers", self.run_it("topology"))

    def test_capture_keeps_what_was_unplugged(self):
        os.kill(self.primed.pid, signal.SIGUSR1)
        while len(json.loads(self.run_it("devices", "--json"))) > 1:
            pass
        scenario = json.loads(self.run_it("capture", "-", "--log", self.log))
        self.assertEqual(sorted(one["driver"] for one in scenario["devices"]), ["amdgpu", "i915"])
        self.assertEqual(len(scenario["buffers"]), 1)
        self.assertEqual([step["unplug"] for step in scenario["steps"] if "unplug" in step], ["amdgpu-0"])
        place = next(step for step in scenario["steps"] if "place" in step)
        self.assertEqual(place["expect"]["device"], "amdgpu-0")

    def test_report_has_the_last_answers(self):
        self.run_it("report", self.folder / "report.html", "--log", self.log)
        page = (self.folder / "report.html").read_text()
        self.assertIn("<td>native</td>", page[page.index('id="answers"'):])
        self.assertIn("<td>not by introspection</td><td>the scenario has none</td>", page)


class NoDaemon(Asking):
    leaves_daemon_running = False

    def test_says_how_to_start_it(self):
        self.daemon.stop()
        for words in (["devices"], ["status"], ["place", "--buffer", "game"], ["holders", "amdgpu"],
                      ["release", "amdgpu"]):
            _, said = self.run_it(*words, status=1)
            self.assertIn("start it: primed --bus unix:path=", said)


class Guard(unittest.TestCase):
    def test_it_runs_the_program_with_the_guard(self):
        primectl = harness.primed.with_name("primectl")
        with tempfile.TemporaryDirectory(prefix="primed-guard-") as folder:
            subprocess.run([harness.PROJECT / "systemd/build-client", folder], check=True)
            program = pathlib.Path(folder, "primectl")
            program.write_bytes(primectl.read_bytes())
            program.chmod(0o755)
            done = subprocess.run([program, "guard", "--all", "--log", "--bus", "unix:path=/x", "--", "env"],
                                  capture_output=True, text=True, timeout=PATIENCE)
            told = dict(line.split("=", 1) for line in done.stdout.splitlines())
            self.assertEqual({name: told.get(name) for name in (
                "LD_PRELOAD", "PRIMED_GUARD_ALL", "PRIMED_GUARD_LOG", "PRIMED_GUARD_BUS")}, {
                "LD_PRELOAD": f"{folder}/libprimed-guard.so", "PRIMED_GUARD_ALL": "1", "PRIMED_GUARD_LOG": "1",
                "PRIMED_GUARD_BUS": "unix:path=/x"})
            self.assertEqual(subprocess.run([program, "guard", "--", "sh", "-c", "exit 7"]).returncode, 7)
            missing = subprocess.run([program, "guard", "--", "/nonexistent"], capture_output=True, text=True)
            self.assertEqual(missing.returncode, 1)
            self.assertIn("/nonexistent", missing.stderr)

            for words, variables, address in (
                    (["--bus", "system"], {}, None), ([], {}, None),
                    (["--bus", "session"], {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/s"}, "unix:path=/s"),
                    (["--bus", "session"], {"XDG_RUNTIME_DIR": "/run/user/7"}, "unix:path=/run/user/7/bus")):
                with self.subTest(words, variables=variables):
                    clean = {name: value for name, value in os.environ.items()
                             if name not in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")}
                    done = subprocess.run([program, "guard", *words, "--", "env"], capture_output=True, text=True,
                                          check=True, env={**clean, "PRIMED_GUARD_BUS": "stale", **variables})
                    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
                    self.assertEqual(told.get("PRIMED_GUARD_BUS"), address)
            refused = subprocess.run([program, "guard", "--bus", "sesion", "--", "env"], capture_output=True, text=True)
            self.assertEqual(refused.returncode, 64)
            self.assertIn("--bus sesion: give system, session or a D-Bus address", refused.stderr)

    def test_it_finds_the_guard_where_it_is_installed(self):
        """By systemd/install and by the package."""
        with tempfile.TemporaryDirectory(prefix="primed-guard-") as folder:
            root = pathlib.Path(folder)
            (root / "bin").mkdir()
            (root / "bin/primectl").write_bytes(harness.primed.with_name("primectl").read_bytes())
            (root / "bin/primectl").chmod(0o755)
            words = [root / "bin/primectl", "guard", "--", "sh", "-c", "echo $LD_PRELOAD"]
            missing = subprocess.run(words, capture_output=True, text=True)
            self.assertEqual(missing.returncode, 1)
            self.assertIn("libprimed-client0", missing.stderr)
            for place in ("lib/primed", "lib/x86_64-linux-gnu/primed"):
                (root / place).mkdir(parents=True)
                guard = root / place / "libprimed-guard.so"
                subprocess.run(["gcc", "-shared", "-o", guard, "-x", "c", "/dev/null"], check=True)
                found = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
                self.assertEqual(os.path.realpath(found), str(guard))
                guard.unlink()

    def test_nothing_to_run(self):
        primectl = harness.primed.with_name("primectl")
        self.assertEqual(subprocess.run([primectl, "guard"], capture_output=True).returncode, 64)
