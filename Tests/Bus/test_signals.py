"""What primed tells by itself, and to whom."""
import os

from gi.repository import Gio

import harness
from client import DEVICE, NAME, NATIVE, STABLE, wait_until
from harness import DGPU, IGPU, BusTest, Primed, dev_t, laptop


class Devices(BusTest):
    scenario = laptop(steps=[{"unplug": "dgpu"}, {"plug": "dgpu"}])

    def path_of(self, device):
        return next(path for path, interfaces in self.client.objects().items()
                    if interfaces[DEVICE]["RenderDevice"] == device)

    def test_unplug_and_plug(self):
        path = self.path_of(DGPU)
        before = self.client.get("Generation")
        self.client.listen()
        self.daemon.happen("unplug dgpu")
        generation, devices = self.client.wait_for("PlacementsInvalidated")
        self.assertEqual((generation, devices), (before + 1, [DGPU]))
        self.assertEqual(self.client.named("InterfacesRemoved")[0][0], path)
        self.assertEqual(len(self.client.objects()), 1)
        self.daemon.happen("plug dgpu")
        self.client.wait_for("PlacementsInvalidated", count=2)
        added, interfaces = self.client.named("InterfacesAdded")[0]
        self.assertEqual(added, path, "the object's path survives a replug")
        self.assertEqual(interfaces[DEVICE]["RenderDevice"], DGPU)

    def test_one_invalidation_a_change(self):
        for name in ("game", "terminal", "heap", "video"):
            self.client.place(name)
        self.client.listen()
        self.daemon.happen("unplug dgpu")
        self.client.settle()
        self.assertEqual(len(self.client.named("PlacementsInvalidated")), 1)
        changed = [values[1] for values in self.client.named("PropertiesChanged") if values[0] == NAME]
        self.assertEqual([one["Generation"] for one in changed], [self.client.get("Generation")])

    def test_answers_carry_the_signalled_generation(self):
        self.client.listen()
        self.daemon.happen("unplug dgpu")
        generation, _ = self.client.wait_for("PlacementsInvalidated")
        answer = self.client.place("game")
        self.assertEqual((answer.generation, answer.device), (generation, IGPU))


class Release(BusTest):
    def state(self):
        return next(one[DEVICE]["State"] for one in self.client.objects().values()
                    if one[DEVICE]["RenderDevice"] == DGPU)

    def test_release_lasts_as_long_as_any_copy_of_its_guard(self):
        self.client.listen()
        guard = self.client.release(dev_t(0), "for VFIO")
        self.client.settle()
        members = [member for _, member, _ in self.client.heard.all]
        self.assertEqual(members[0], "DeviceReleasing", "the warning comes first")
        self.assertEqual(self.client.named("DeviceReleasing"), [(DGPU,)])
        self.assertEqual(self.state(), "released")
        self.assertEqual(self.client.place("game").device, IGPU)
        copy = os.dup(guard)
        os.close(guard)
        self.client.settle()
        self.assertEqual(self.state(), "released")
        os.close(copy)
        self.client.wait_for("PlacementsInvalidated", count=2)
        self.assertEqual(self.state(), "ready")
        self.assertEqual(self.client.place("game").device, DGPU)


class Placements(BusTest):
    """A buffer that was evicted when it was first asked about: either device could use it then."""

    scenario = laptop(
        devices=[{"id": "igpu", "driver": "i915", "card": 1, "render": 128, "bootVGA": True},
                 {"id": "dgpu", "driver": "xe", "card": 0, "render": 129, "dedicated": 8 << 30}],
        buffers=[{"id": "game", "exporter": "dgpu", "home": "dedicated", "residency": "system"}, harness.WARM_UP],
        steps=[{"migrate": "game", "to": "dedicated"}])

    def setUp(self):
        super().setUp()
        self.watched_before = 0
        self.watched_before = self.watched()

    def watched(self):
        """Since the test began."""
        return self.client.get("Statistics")["watched-buffers"] - self.watched_before

    def test_changed_placement_reaches_who_asked_and_nobody_else(self):
        asker, told_from_cache, other, bystander = clients = [self.client] + [self.connect() for _ in range(3)]
        for one in clients:
            one.listen()
        first = asker.place("game")
        self.assertIn("recheck", first.details)
        self.assertTrue(told_from_cache.place("game", explain=True).details["cached"])
        self.daemon.happen("migrate game")
        now = other.place("game", fresh=True)
        self.assertEqual((now.device, now.access, now.confidence), (DGPU, NATIVE, STABLE))
        for one in (asker, told_from_cache):
            changed = one.wait_for("PlacementChanged")
            self.assertEqual(changed, (first.buffer, DGPU, NATIVE, STABLE))
        for one in (other, bystander):
            one.settle()
            self.assertEqual(one.named("PlacementChanged"), [])

    def test_a_settled_answer_is_watched_no_more(self):
        self.client.place("game")
        self.assertEqual(self.watched(), 1)
        self.daemon.happen("migrate game")
        self.client.place("game", fresh=True)
        self.assertEqual(self.watched(), 0)

    def test_who_has_left_is_forgotten(self):
        asker = self.connect()
        asker.place("game")
        self.assertEqual(self.watched(), 1)
        asker.close()
        self.clients.remove(asker)
        wait_until(lambda: self.watched() == 0, "the watch's end")


class Beginning(BusTest):
    leaves_daemon_running = False

    def test_objects_appear_before_the_name(self):
        self.daemon.stop()
        owners = []
        self.client.bus.signal_subscribe(
            "org.freedesktop.DBus", None, "NameOwnerChanged", None, NAME, Gio.DBusSignalFlags.NONE,
            lambda *signal: owners.append(len(self.client.named("InterfacesAdded"))))
        self.client.listen()
        self.daemon = Primed(self.bus.address, self.folder, self.scenario)
        self.addCleanup(self.daemon.stop)
        wait_until(lambda: owners, "the name's owner")
        self.assertEqual(owners, [2])
