"""What primectl shows of a real machine: its devices, what is wrong, and itself as a scenario."""
import json
import pathlib
import pwd
import subprocess
import tempfile
import unittest

import broker
import gpus
import kernel
from client import NATIVE, Client
from gpus import RADEON_VRAM


def setUpModule():
    subprocess.run(["load-drivers", "virtio-gpu", "radeon"], check=True)
    broker.install()


def told(*words, status=0, user=None):
    done = subprocess.run(["primectl", *words], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, user=user)
    if done.returncode != status:
        raise AssertionError(f"primectl {' '.join(words)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Look(unittest.TestCase):
    def test_page(self):
        page = told()
        for word in ("on the system bus", f"Linux {kernel.VERSION[0]}.", "radeon", "virtio_gpu", "knows by"):
            self.assertIn(word, page)

    def test_doctor_finds_nothing_that_is_not_there(self):
        """The guest has no polkit; all else is as it should be."""
        found = json.loads(told("doctor", "--all", "--json", status=0))
        self.assertEqual([one for one in found if one["level"] not in ("ok", "note")], [])
        self.assertGreaterEqual(len([one for one in found if one["level"] == "ok"]), 4)

    def test_doctor_finds_what_is_wrong(self):
        """Introspection masked, and a node that the user primed may not open."""
        node = pathlib.Path(gpus.gpu("virtio_gpu").card)
        mode = node.stat().st_mode
        node.chmod(0o600)
        self.addCleanup(node.chmod, mode)
        found = json.loads(told("doctor", "--json", status=1))
        self.assertTrue(any(one["level"] == "problem" and str(node) in one["what"] for one in found), found)

    def test_matrix(self):
        cells = {(one["exporter-node"], one["memory"], one["importer-node"]): one
                 for one in json.loads(told("matrix", "--json"))}
        radeon, virtio = (pathlib.Path(gpus.gpu(name).render).name for name in ("radeon", "virtio_gpu"))
        self.assertEqual(cells[radeon, "dedicated", radeon]["outcome"], "own")
        self.assertEqual(cells[radeon, "dedicated", virtio]["outcome"], "fails")   # ENODEV for all but its own

    def test_capture_by_the_journal(self):
        with tempfile.TemporaryDirectory() as folder, gpus.radeon(RADEON_VRAM) as buffer:
            asker = Client()
            self.addCleanup(asker.close)
            answer = asker.place(buffer)
            file = pathlib.Path(folder, "mine.json")
            said = told("capture", str(file))
            scenario = json.loads(file.read_text())
            self.assertEqual([one["driver"] for one in scenario["buffers"] and scenario["devices"]
                              if one["id"] == scenario["buffers"][-1]["exporter"]], ["radeon"], said)
            self.assertIn({"device": scenario["buffers"][-1]["exporter"], "access": "native"},
                          [step["expect"] for step in scenario["steps"] if "expect" in step])
            self.assertEqual(answer.access, NATIVE)
            told("scenario", "run", str(file))
            self.assertIn("captured machine", (told("report", f"{folder}/report.html"),
                                               pathlib.Path(folder, "report.html").read_text())[1])

    def test_what_others_asked_is_root_s_to_see(self):
        said = told("capture", "-", user=pwd.getpwnam("nobody").pw_uid)
        self.assertIn("primed's last answers are root's to read", said)
        self.assertEqual(json.loads(said[said.index("{"):])["steps"], [])
