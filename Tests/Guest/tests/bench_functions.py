"""primed below callgrind, looking at this guest's devices and at a buffer of every kind. Run by
Tests/Benchmarks/order, which puts valgrind, the program and the D-Bus tests' harness into /share, and finds the
profile there."""
import os
import pathlib
import sys
import tempfile

SHARE = pathlib.Path("/share")
sys.path.append(f"{SHARE}/Bus")
import gpus
import harness
import private_bus

os.environ["VALGRIND_LIB"] = f"{SHARE}/valgrind"
harness.PATIENCE = 200
harness.primed = SHARE / "primed"
with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w") as log:
    bus = private_bus.Daemon(folder, log)
    primed = harness.Primed(bus.address, folder, None, [SHARE / "valgrind/valgrind.bin", *sys.argv[1:]])
    client = harness.Client(bus.address)
    for make in (gpus.udmabuf, gpus.dma_heap, *(lambda one=one: gpus.dumb(one) for one in gpus.gpus("virtio_gpu")),
                 lambda: gpus.radeon(gpus.RADEON_VRAM), lambda: gpus.tgpu(gpus.TGPU_VRAM)):
        with make() as buffer:
            client.place(buffer.fd)
    client.objects()
    client.close()
    primed.stop()
