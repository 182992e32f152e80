"""The client library's answers without a question to primed: about a buffer that it knows, where primed is absent,
and where it refuses."""
import subprocess
import tempfile
import threading

import harness
import private_bus
from client import PATIENCE
from client_library import Server
from servers import pin

KINDS = ("known", "absent", "refused")


def measure(folder, options, figures):
    pin()
    rounds = [{kind: answers(folder, kind, options.questions // 8) for kind in KINDS} for _ in range(options.rounds)]
    known, bare = rounds[0]["known"]
    figures.note(f"statx {bare / 1000:.0f} ns, a known buffer {known / 1000:.0f} ns")
    figures.add("known", [one["known"][0] / one["known"][1] for one in rounds])
    for kind in ("absent", "refused"):
        # Each beside the statx of its own run, which is in both.
        figures.add(kind, [one[kind][0] / one[kind][1] / (one["known"][0] / one["known"][1]) for one in rounds])


def answers(folder, kind, count, before=()):
    """What client.c prints; plays the primed that it asks once."""
    with tempfile.TemporaryDirectory() as where, open(f"{where}/log", "w") as log:
        bus = private_bus.Daemon(where, log)
        server = Server(bus.address) if kind != "absent" else None
        reply = {"known": lambda: server.answer(harness.DGPU), "refused": lambda: server.refuse()}
        served = threading.Thread(target=reply.get(kind, lambda: None))
        served.start()
        try:
            done = subprocess.run([*before, f"{folder}/client", bus.address, kind, str(count)], check=True,
                                  stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
        finally:
            served.join()
            if server:
                server.close()
            bus.stop()
        return [int(word) for word in done.stdout.split()]
