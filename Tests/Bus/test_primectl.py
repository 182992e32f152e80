"""primectl against a running primed: what programs read, what people are told when it goes wrong."""
import json
import os
import signal
import subprocess

import harness
from harness import DGPU, IGPU, NATIVE, PATIENCE, BusTest, Primed, laptop


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

    def test_place(self):
        told = self.json("place", "--buffer", "game", "--hint", "primary-device=card1")
        self.assertEqual((told["device"], told["access"]), (DGPU, "native"))
        self.assertEqual(self.client.place("game").access, NATIVE)
        _, said = self.run_it("place", "--buffer", "nothing", status=1)
        self.assertIn("scenario show", said)

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

    def test_monitor_in_words(self):
        monitor = self.start("monitor")
        happened = lambda: monitor.stdout.readline().split("  ", 1)[1]
        self.assertEqual(happened(), "primed runs\n")
        self.daemon.happen("unplug dgpu")
        told = {happened() for _ in range(3)}
        self.assertIn("/dev/dri/renderD129 (dgpu) went\n", told)
        self.assertIn("PrimaryDevice /dev/dri/renderD128\n", "".join(told))
        self.daemon.happen("plug dgpu")

    def test_monitor_outlives_primed(self):
        monitor = self.start("monitor", "--json")
        self.assertTrue(json.loads(monitor.stdout.readline())["running"])
        self.daemon.stop()
        self.assertEqual(json.loads(monitor.stdout.readline()), {"what": "running", "running": False})
        self.daemon = Primed(self.bus.address, self.folder, self.scenario)
        self.addCleanup(self.daemon.stop)
        self.assertTrue(next(one for one in iter(monitor.stdout.readline, None) if '"running": true' in one))
        self.fds_at_start = self.daemon.fds()

    def test_says_that_it_waits(self):
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        try:
            asking = self.start("devices")
            self.assertIn("waiting for primed", asking.stderr.readline())
        finally:
            os.kill(self.daemon.process.pid, signal.SIGCONT)
        self.assertIn("renderD129", asking.communicate(timeout=PATIENCE)[0])
        self.assertEqual(asking.returncode, 0)


class NoDaemon(Asking):
    leaves_daemon_running = False

    def test_says_how_to_start_it(self):
        self.daemon.stop()
        for words in (["devices"], ["status"], ["place", "--buffer", "game"], ["holders", "amdgpu"],
                      ["release", "amdgpu"]):
            _, said = self.run_it(*words, status=1)
            self.assertIn("start it: primed --bus unix:path=", said)
