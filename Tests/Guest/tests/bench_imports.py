"""What a first look takes where nothing tells but imports, on 1, 2, 4 and 8 test devices whose imports take their time.
Prints {devices: milliseconds, a number a look} and the slowest import's. Run by Tests/Benchmarks/guest.py."""
import json
import subprocess
import sys
import time

import broker
import gpus
from client import MANAGER, Client

LOOKS = int(sys.argv[1])
# Long beside what the emulated processor takes for the rest.
DELAY_MS, MORE_MS = 100, 20


def import_time(gpu, buffer):
    """Milliseconds, of an import by hand."""
    node = gpu.open()
    began = time.monotonic()
    handle, _, _ = gpus.ask(node, gpus.PRIME_FD_TO_HANDLE, "IIi", 0, gpus.NO_MOVE, buffer.fd)
    took = time.monotonic() - began
    gpus.ask(node, gpus.GEM_CLOSE, "II", handle, 0)
    gpus.os.close(node)
    return took * 1000


def look_time(client):
    with gpus.tgpu(gpus.TGPU_VRAM) as buffer:
        began = time.monotonic()
        client.place(buffer)
        return (time.monotonic() - began) * 1000


def looks(client, count):
    client.place(gpus.tgpu(gpus.TGPU_VRAM))   # so that each device's abilities are known
    for number, gpu in enumerate(gpus.gpus("tgpu")):
        gpu.attribute("import_delay_ms", DELAY_MS + MORE_MS * number)
    slowest = gpus.gpus("tgpu")[-1]
    with gpus.tgpu(gpus.TGPU_VRAM, count - 1) as own:
        taken = [(look_time(client), import_time(slowest, own)) for _ in range(LOOKS)]
    for gpu in gpus.gpus("tgpu"):
        gpu.attribute("import_delay_ms", 0)
    return taken


broker.unpack_without_introspection()
subprocess.run(["load-drivers", "tgpu"], check=True)
gpus.tgpu_parameter("mode", "honoured")
broker.restart()
client = Client()
for number in range(1, len(gpus.gpus("tgpu"))):
    gpus.tgpu_parameter("remove", number)
found = {}
for count in (1, 2, 4, 8):
    with client.signals("InterfacesAdded", MANAGER) as added:
        for number in range(len(gpus.gpus("tgpu")), count):
            gpus.tgpu_parameter("add", number)
        added.until(lambda: all(client.device(gpu) for gpu in gpus.gpus("tgpu")))
    found[count] = looks(client, count)
print(json.dumps(found), flush=True)
