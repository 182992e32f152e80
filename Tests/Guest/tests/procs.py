"""What primed's process weighs, as /proc shows it."""
import collections
import pathlib

import kernel

# `kilobytes` are its own: pages of files come and go with what is run, and belong to nobody.
Weight = collections.namedtuple("Weight", "descriptors threads kilobytes")


def weight(pid):
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return Weight(len(kernel.descriptors(pid)), int(status["Threads"]), int(status["RssAnon"].split()[0]))


def drm_nodes(pid):
    return [name for name in kernel.descriptors(pid) if name.startswith("/dev/dri/")]


def at_rest(pid, descriptors, seconds=20):
    """Waits until no node is open and no worker is left, which comes 1.5 s after the last question."""
    try:
        kernel.until(lambda: weight(pid).threads == 1 and not drm_nodes(pid) and not kernel.dma_bufs(pid)
                     and weight(pid).descriptors <= descriptors, "primed at rest", seconds)
    except AssertionError as error:
        held = ", ".join(sorted(kernel.descriptors(pid)))
        raise AssertionError(f"{error}, with {descriptors} fds at most; {weight(pid)}: {held}") from None
