"""primed_prime_fd_to_handle_no_move: the flag on kernels that do not have it, and on one that has, over a driver that
succeeds (fake_drm.c: 100 imported without the flag, 101 with it)."""
import os
import pathlib
import stat
import subprocess

from client_library import ClientLibrary
from client import IN_PLACE, MAY_MOVE, MOVES, NAME, NATIVE, PATH, UNKNOWN, UNREACHABLE
from harness import DGPU, IGPU, dev_t

class Flag(ClientLibrary):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        kernel = pathlib.Path(cls.program).with_name("fake_drm.so")
        source = pathlib.Path(__file__).with_name("fake_drm.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", kernel, source, "-ldl"], check=True)
        cls.environment = {"LD_PRELOAD": str(kernel), "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def setUp(self):
        super().setUp()
        self.node = pathlib.Path(self.folder, "renderD128")
        os.mknod(self.node, 0o666 | stat.S_IFCHR, IGPU)

    def imports(self, name="game", node=None):
        self.driver.tell("import", str(node or self.node), name)

    def answer(self, access, device=IGPU):
        self.server.answer(DGPU, verdicts=("a(tuu)", [(DGPU, NATIVE, 1), (device, access, 1)]))


class Ignored(Flag):
    """As in all released kernels."""

    def test_what_stays_is_imported_without_the_flag(self):
        for name, access in (("own", NATIVE), ("copy", IN_PLACE)):
            self.imports(name)
            self.answer(access)
            self.says(f"{name} imported 100")

    def test_what_moves_or_may_is_not_imported(self):
        for number, access in enumerate((MOVES, MAY_MOVE, UNKNOWN, UNREACHABLE)):
            self.imports(f"b{number}")
            self.answer(access)
            self.says(f"b{number} import EINVAL")

    def test_a_device_that_primed_does_not_know(self):
        self.imports()
        self.answer(NATIVE, device=dev_t(140))
        self.says("game import EINVAL")

    def test_it_asks_once(self):
        self.imports()
        self.answer(IN_PLACE)
        self.imports()
        self.says(*["game imported 100"] * 2)
        self.assertIsNone(self.server.next_call(timeout=0))

    def test_it_does_not_wait_for_what_was_asked_before(self):
        self.ask("game", "verdicts")
        self.answer(IN_PLACE)
        self.says(f"game {DGPU} {NATIVE} asked")
        self.imports()
        self.says("game imported 100")
        self.assertIsNone(self.server.next_call(timeout=0))

    def test_what_others_asked_is_told_meanwhile(self):
        self.ask("other")
        self.imports()
        self.server.answer(DGPU, buffer=78)
        self.answer(IN_PLACE)
        self.says(f"other {DGPU} {NATIVE} asked", "game imported 100")

    def test_what_is_no_drm_device(self):
        self.imports(node="/dev/null")
        self.says("game import ENOTTY")


class Honoured(Flag):
    """As the RFC's kernel: the driver itself says what moves."""

    objects = {f"{PATH}/device/igpu": {f"{NAME}.Device": {
        "RenderDevice": ("t", IGPU), "PrimaryDevice": ("t", 0), "NoMove": ("s", "honoured")}}}

    def test_the_flag_is_passed_on(self):
        self.imports()
        self.answer(MOVES)
        self.says("game imported 101")


class Late(Flag):
    timeout = 200

    def test_without_an_answer_nothing_is_imported(self):
        self.imports()
        self.says("game import EINVAL")


class Absent(Flag):
    runs = False

    def test_without_primed_nothing_is_imported(self):
        self.imports()
        self.says("game import EINVAL")
