"""ReleaseDevice: afterwards primed is out of the way, until the guard's last copy is closed."""
import json
import os
import pathlib
import subprocess
import unittest

import askers
import broker
import gpus
import kernel
import procs
from client import DEVICE, ERROR, NAME, PATH, PROPERTIES, Client, Refused

RULE = """polkit.addRule(function(action, subject) {
  if (action.id == "org.primed.release-device" && subject.user == "games") { return polkit.Result.YES; }
});
"""


def setUpModule():
    broker.unpack_without_introspection()
    subprocess.run(["load-drivers", "tgpu", "vgem", "vkms"], check=True)
    broker.start()


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Client()

    def setUp(self):
        self.gpu = gpus.gpu("tgpu", 0)

    def state(self):
        return self.broker.device(self.gpu)["State"]

    def state_becomes(self, signals, word):
        signals.wait(lambda interface, changed, _: interface == DEVICE and changed.get("State") == word)

    def use(self):
        with gpus.plain() as buffer:
            self.broker.place(buffer, fresh=True)

    def test_nodes_are_closed_and_stay_closed_until_the_last_copy_goes(self):
        changes = self.broker.signals("PropertiesChanged", PROPERTIES)
        self.addCleanup(changes.close)
        with askers.Askers(4, "plain", fresh=True) as crowd:
            first = self.broker.release(self.gpu.number)
            self.assertNotIn(self.gpu.render, procs.drm_nodes(broker.pid()))
            opens = int(self.gpu.attribute("opens"))
            self.assertEqual(self.state(), "released")
            copy = os.dup(first)
            os.close(first)
            for _ in range(50):
                self.use()
            self.assertEqual((self.state(), int(self.gpu.attribute("opens"))), ("released", opens))
            os.close(copy)
            self.state_becomes(changes, "ready")
            kernel.until(lambda: int(self.gpu.attribute("opens")) > opens, "primed uses it again")
        crowd.check(self)

    def test_it_is_announced_first(self):
        everything, changes = self.broker.signals(), self.broker.signals("PropertiesChanged", PROPERTIES)
        self.addCleanup(everything.close)
        self.addCleanup(changes.close)
        os.close(self.broker.release(self.gpu.number))
        self.state_becomes(changes, "released")
        told = [values for values in everything.seen if values[0] in (self.gpu.number, DEVICE)]
        self.assertEqual(told[0], (self.gpu.number,))
        self.state_becomes(changes, "ready")

    def test_the_driver_can_go_at_once_though_clients_ask(self):
        all_gpus = gpus.gpus("tgpu")
        with askers.Askers(4, "plain", fresh=True) as crowd:
            kernel.until(lambda: all(gpu.render in procs.drm_nodes(broker.pid()) for gpu in all_gpus),
                         "primed has its nodes open")
            busy = subprocess.run(["rmmod", "tgpu"], stderr=subprocess.PIPE, text=True)
            self.assertIn("in use", busy.stderr)
            guards = [self.broker.release(gpu.number) for gpu in all_gpus]
            broker.command("rmmod", "tgpu")
            broker.command("load-drivers", "tgpu")
            opens = [int(gpu.attribute("opens")) for gpu in gpus.gpus("tgpu")]
            for _ in range(20):
                self.use()
            self.assertEqual(opens, [0, 0])   # it came back, but the guards are held
            self.assertEqual([int(gpu.attribute("opens")) for gpu in gpus.gpus("tgpu")], [0, 0])
            for guard in guards:
                os.close(guard)
            kernel.until(lambda: all(gpu.render in procs.drm_nodes(broker.pid()) for gpu in gpus.gpus("tgpu")),
                         "primed uses them again")
        crowd.check(self)

    def test_unbind(self):
        driver = pathlib.Path("/sys/bus/platform/drivers/tgpu")
        name = self.gpu.sysfs.name
        with askers.Askers(4, "plain", fresh=True) as crowd:
            for _ in range(10):
                gpu = next(gpu for gpu in gpus.gpus("tgpu") if gpu.sysfs.name == name)
                kernel.until(lambda: gpu.render in procs.drm_nodes(broker.pid()), "primed has its node open")
                guard = self.broker.release(gpu.number)
                (driver / "unbind").write_text(name)
                self.assertNotIn(name, [gpu.sysfs.name for gpu in gpus.gpus("tgpu")])
                (driver / "bind").write_text(name)
                os.close(guard)
        crowd.check(self)

    def test_who_may(self):
        def as_games():
            return subprocess.run(
                ["setpriv", "--reuid=games", "--regid=games", "--clear-groups",
                 "gdbus", "call", "--system", "-d", NAME, "-o", PATH, "-m", f"{NAME}.ReleaseDevice",
                 str(int(self.gpu.number)), "test"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        refused = as_games()
        self.assertIn("InteractiveAuthorizationRequired", refused.stdout)   # gdbus does not say that it can wait
        self.assertEqual(self.state(), "ready")
        changes = self.broker.signals("PropertiesChanged", PROPERTIES)
        self.addCleanup(changes.close)
        rule = pathlib.Path("/etc/polkit-1/rules.d/50-primed-test.rules")
        rule.write_text(RULE)
        self.addCleanup(rule.unlink)
        broker.command("systemctl", "restart", "polkit")
        allowed = as_games()
        self.assertEqual(allowed.returncode, 0, allowed.stdout)
        self.state_becomes(changes, "ready")   # gdbus ended, and its guard with it

    def test_primectl_release_holds_it_while_a_command_runs(self):
        done = subprocess.run(
            ["primectl", "release", "platform-tgpu.0", "--", "sh", "-c", "primectl devices --json; exit 7"],
            stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 7)
        states = {device["StableId"]: device["State"] for device in json.loads(done.stdout)}
        self.assertEqual((states["platform-tgpu.0"], states["platform-tgpu.1"]), ("released", "ready"))

    def test_primectl_holders(self):
        node = self.gpu.open()
        holders = json.loads(broker.command("primectl", "holders", "platform-tgpu.0", "--json"))
        os.close(node)
        self.assertIn(os.getpid(), [holder["pid"] for holder in holders])
        guard = self.broker.release(self.gpu.number)
        holders = json.loads(broker.command("primectl", "holders", "platform-tgpu.0", "--json"))
        os.close(guard)
        self.assertEqual(holders, [])

    def test_a_driver_that_hangs_lets_the_release_fail(self):
        changes = self.broker.signals("PropertiesChanged", PROPERTIES)
        self.addCleanup(changes.close)
        self.gpu.attribute("import_delay_ms", 600000)
        self.addCleanup(self.gpu.attribute, "import_delay_ms", 0)
        self.use()
        self.assertEqual(self.state(), "unresponsive")
        with self.assertRaises(Refused) as failure:
            self.broker.release(self.gpu.number)
        self.assertEqual(failure.exception.name, ERROR + "Failed")
        self.assertEqual(self.state(), "unresponsive")
        changes.clear()
        self.gpu.attribute("import_delay_ms", 0)
        self.state_becomes(changes, "ready")   # nobody asked
        os.close(self.broker.release(self.gpu.number))
