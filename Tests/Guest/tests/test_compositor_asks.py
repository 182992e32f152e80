"""A real compositor asks primed, on a stock kernel and with the kernel as the judge: what moves when it imports in the
naive order and when it imports where primed says, and that every window has its colour either way.
"""
import os
import signal
import subprocess
import unittest

import broker
import compositor
import gpus
import kernel
import wayland
from gpus import RADEON_VRAM, TGPU_VRAM
from screen import Screen, paint


def setUpModule():
    subprocess.run(["load-drivers"], check=True)
    broker.install()
    gpus.tgpu_parameter("mode", "ignored")   # as every released kernel
    compositor.start_seat()


# Of whom, its colour, how it is made, and whether its client names a sampling device.
BUFFERS = [
    ("virtio", 0xE02020, lambda: gpus.dumb(gpus.gpu("virtio_gpu")), False),
    ("vgem", 0x20E020, lambda: gpus.dumb(gpus.gpu("vgem")), False),
    ("radeon", 0x2020E0, lambda: gpus.radeon(RADEON_VRAM), False),
    ("radeon-says", 0x8080F0, lambda: gpus.radeon(RADEON_VRAM), True),
    ("tgpu", 0xE0E020, lambda: gpus.tgpu(TGPU_VRAM), False),
    ("tgpu-says", 0xF0F080, lambda: gpus.tgpu(TGPU_VRAM), True),
    ("tgpu-b", 0xE020E0, lambda: gpus.tgpu(TGPU_VRAM, 1), False),
]


class Case(unittest.TestCase):
    def compositor(self, order, renderers=None):
        running = compositor.Compositor(order, renderers)
        self.addCleanup(running.close)
        return running

    def connect(self, running):
        client = wayland.Client(running.runtime, running.display, running.story)
        self.addCleanup(client.close)
        return client

    def buffer(self, make, colour):
        buffer = make()
        self.addCleanup(buffer.close)
        paint(buffer, colour)
        return buffer


class Orders(Case):
    """The same clients twice."""

    WANTED = {name: colour for name, colour, _, _ in BUFFERS}
    IN_VIDEO_MEMORY = [name for name in WANTED if name.startswith(("radeon", "tgpu"))]

    def show(self, client, name, buffer, says):
        """What moved until the client knows that its window was drawn, or refused. radeon counts what it imports,
        too: that says nothing of buffers in system memory.
        """
        before = kernel.moves()
        made = wayland.wl_buffer(client, buffer, buffer.exporter.number if says else None, immediately=False)
        if made:
            window = wayland.Window(client, name)
            window.commit(made)
            window.wait_for_frame()
        return kernel.moved_since(before)

    def show_all(self, order):
        """{name: colour on the output}, {name: what moved}, {name: devices attached}"""
        running = self.compositor(order)
        client = self.connect(running)
        screen = Screen(gpus.gpu("virtio_gpu"))
        self.addCleanup(screen.close)
        buffers = {name: self.buffer(make, colour) for name, colour, make, _ in BUFFERS}
        moved = {name: self.show(client, name, buffers[name], says) for name, _, _, says in BUFFERS}
        attached = kernel.attachments()
        places = {line[1]: (int(line[2]) + 64, int(line[3]) + 64)
                  for line in running.wait("window", count=len(self.WANTED))}

        def colours():
            return dict(zip(places, screen.colours(places.values())))

        kernel.until(lambda: colours() == self.WANTED, f"all colours: {colours()}")
        result = colours(), moved, {name: attached[buffer.inode] for name, buffer in buffers.items()}
        print(order, *result, *(" ".join(line) for line in running.lines), sep="\n", flush=True)
        return result

    def test_naive_moves(self):
        """Virtio, the primary device, is tried first. It cannot import, and what it fails to import has moved."""
        colours, moved, _ = self.show_all("naive")
        self.assertEqual(colours, self.WANTED)
        for name in self.IN_VIDEO_MEMORY:
            with self.subTest(name):
                self.assertGreaterEqual(moved[name], (1, 0) if name.startswith("radeon") else (0, 1))

    def test_primed_moves_nothing(self):
        compositor.warm_up()
        colours, moved, attached = self.show_all("primed")
        self.assertEqual(colours, self.WANTED)
        for name in self.IN_VIDEO_MEMORY:
            with self.subTest(name):
                self.assertEqual(moved[name], (0, 0))
                self.assertEqual(attached[name], 0)


class OneRenderer(Case):
    """A compositor that renders on virtio alone: the buffers in video memory are beyond it."""

    def show(self, order):
        running = self.compositor(order, [gpus.gpu("virtio_gpu")])
        client = self.connect(running)
        buffers = [self.buffer(make, 0xFFFFFF)
                   for make in (lambda: gpus.radeon(RADEON_VRAM), lambda: gpus.tgpu(TGPU_VRAM))]
        before = kernel.moves()
        made = [wayland.wl_buffer(client, buffer, immediately=False) for buffer in buffers]
        for number in filter(None, made):
            window = wayland.Window(client, "window")
            window.commit(number)
            window.wait_for_frame()
        return running, made, kernel.moved_since(before)

    def test_naive_is_refused_and_moves(self):
        _, made, moved = self.show("naive")
        self.assertEqual(made, [0, 0])
        self.assertEqual(moved, (1, 1))

    def test_primed_keeps_it_from_trying(self):
        compositor.warm_up()
        running, made, moved = self.show("primed")
        self.assertNotIn(0, made)
        self.assertEqual(running.said("import"), [])
        self.assertEqual(moved, (0, 0))


class Waiting(Case):
    FIRST = 200   # buffers
    FRAME = 16_667   # microseconds

    def test_only_a_first_commit_waits_and_less_than_a_frame(self):
        running = self.compositor("primed")
        client = self.connect(running)
        window = wayland.Window(client, "first")
        for number in range(self.FIRST):
            with gpus.tgpu(TGPU_VRAM) if number % 2 else gpus.radeon(RADEON_VRAM) as buffer:
                made = wayland.wl_buffer(client, buffer)
                window.commit(made)
                window.wait_for_frame()
                if number == self.FIRST - 1:
                    for _ in range(self.FIRST):
                        window.commit(made)
                        window.wait_for_frame()
                wayland.destroy(client, made)
        commits = [(line[2], int(line[3])) for line in running.wait("commit", count=2 * self.FIRST)]
        first, later = commits[:self.FIRST], commits[self.FIRST:]
        for name, some in (("first", first), ("later", later)):
            times = sorted(time for _, time in some)
            print(f"{name} commits: {sum(how == 'held' for how, _ in some)} of {len(some)} held; us: median "
                  f"{times[len(times) // 2]}, p99 {times[len(times) * 99 // 100 - 1]}, most {times[-1]}", flush=True)
        self.assertLess(sorted(time for _, time in first)[self.FIRST * 99 // 100 - 1], self.FRAME)
        self.assertEqual([how for how, _ in later if how == "held"], [])


class Troubles(Case):
    """primed is stopped, so that a question is under way for as long as the test wants."""

    def setUp(self):
        broker.restart()
        compositor.warm_up()
        self.running = self.compositor("primed")
        self.client = self.connect(self.running)
        # The question that follows finds the compositor connected.
        self.shown("known", 0x20E020)
        self.assertEqual(self.running.said("answer")[-1][3], "primed")

    def shown(self, title, colour):
        """A window of a tgpu buffer, once it is drawn."""
        buffer = self.buffer(lambda: gpus.tgpu(TGPU_VRAM), colour)
        window = wayland.Window(self.client, title)
        window.commit(wayland.wl_buffer(self.client, buffer))
        window.wait_for_frame()
        self.running.wait("shown", title)   # what it says comes by another way than its frames
        return buffer

    def asking(self, title):
        """A window whose first commit waits for a primed that does not answer, its buffer and wl_buffer."""
        pid = broker.pid()
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(subprocess.run, ["systemctl", "kill", "--signal=SIGCONT", "primed.service"])
        buffer = self.buffer(lambda: gpus.tgpu(TGPU_VRAM), 0xE02020)
        window = wayland.Window(self.client, title)
        made = wayland.wl_buffer(self.client, buffer)
        window.commit(made)
        self.client.roundtrip()
        self.assertEqual(self.running.said("commit", title), [])
        return pid, window, buffer, made

    def assert_unmoved(self, buffer):
        self.assertEqual(kernel.tgpu_info(buffer)[2], 0, self.running.story())

    def test_the_buffer_goes_while_primed_is_asked(self):
        pid, _, buffer, made = self.asking("goes")
        wayland.destroy(self.client, made)
        self.client.roundtrip()
        os.kill(pid, signal.SIGCONT)
        self.running.wait("commit", "goes")
        self.assert_unmoved(self.shown("after", 0x20E020))
        self.assert_unmoved(buffer)

    def test_window_and_buffer_go_while_primed_is_asked(self):
        pid, window, buffer, made = self.asking("goes")
        wayland.destroy(self.client, made)
        window.destroy()
        self.client.roundtrip()
        self.assertNotIn(buffer.inode, held_by(self.running.process.pid))
        os.kill(pid, signal.SIGCONT)
        self.assert_unmoved(self.shown("after", 0x20E020))
        self.assertEqual(self.running.said("commit", "goes"), [])
        self.assert_unmoved(buffer)

    def test_primed_dies_while_it_is_asked(self):
        pid, window, _, _ = self.asking("orphan")
        os.kill(pid, signal.SIGKILL)
        self.assertNotEqual(self.running.wait("shown", "orphan")[-1][2], "-")   # as without primed
        self.assertEqual(self.running.said("answer")[-1][3], "default")
        broker.restart()
        compositor.warm_up()
        self.assert_unmoved(self.shown("after", 0x20E020))


class Unmodified(Case):
    """weston's own client, its buffers drawn by software in radeon's video memory."""

    def show(self, order):
        running = self.compositor(order)
        before = kernel.radeon_bytes_moved()
        client = subprocess.Popen(
            ["weston-simple-dmabuf-egl", f"--drm-render-node={gpus.gpu('radeon').card}", "--size=128"],
            env={**os.environ, "XDG_RUNTIME_DIR": running.runtime, "WAYLAND_DISPLAY": running.display},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        devices = {line[2] for line in running.wait("shown", count=30)}
        moved = kernel.radeon_bytes_moved() - before
        created = len(running.said("created")) * gpus.SIZE   # radeon counts each buffer once when it is made
        return devices, moved - created, created, running

    def test_naive(self):
        _, moved, created, running = self.show("naive")
        self.assertGreaterEqual(moved, created, running.story())

    def test_primed(self):
        compositor.warm_up()
        devices, moved, created, running = self.show("primed")
        self.assertGreater(created, 0)
        self.assertEqual(devices, {gpus.gpu("radeon").render}, running.story())
        self.assertLess(moved, gpus.SIZE, running.story())   # radeon allocates pages for itself, too


class Absent(Case):
    def test_nothing_waits_for_a_primed_that_is_not_there(self):
        broker.command("systemctl", "mask", "--runtime", "--now", "primed.service")
        self.addCleanup(broker.start)
        self.addCleanup(broker.command, "systemctl", "unmask", "--runtime", "primed.service")
        running = self.compositor("primed")
        client = self.connect(running)
        buffer = self.buffer(lambda: gpus.tgpu(TGPU_VRAM), 0x20E020)
        window = wayland.Window(client, "window")
        made = wayland.wl_buffer(client, buffer)
        for _ in range(100):
            window.commit(made)
            window.wait_for_frame()
        commits = running.wait("commit", count=100)
        self.assertEqual([line for line in commits[1:] if line[2] == "held"], [])
        self.assertEqual(running.wait("answer")[0][3], "default")
        self.assertNotEqual(running.wait("shown")[-1][2], "-")   # as without primed: by the first device that can


def held_by(pid):
    """The inodes of the DMA-BUFs that a process has open."""
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(entry.path).startswith("/dmabuf:"):
                found.add(os.stat(entry.path).st_ino)
        except FileNotFoundError:
            pass
    return found
