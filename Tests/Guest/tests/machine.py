"""The machine around the guest: devices that come and go, by QMP and by sysfs."""
import json
import os

import gpus
import kernel

QMP = "/dev/virtio-ports/qmp"


class Monitor:
    """QEMU's monitor, through the guest's port; a port can be opened only once at a time."""

    def __init__(self):
        self.file = os.fdopen(os.open(QMP, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0)
        self.rest = b""
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._message()
            if "error" in answer:
                raise AssertionError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def _message(self):
        while b"\n" not in self.rest:
            self.rest += self.file.read(4096)
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def close(self):
        self.file.close()


def plug_bochs(monitor, port):
    """Hot-plugs a bochs-display at port 1 to 4 (each once only); returns it when its node is there."""
    before = {gpu.sysfs for gpu in gpus.gpus("bochs-drm")}
    monitor.command("device_add", driver="bochs-display", id=f"bochs{port}", bus=f"port{port}")
    plugged = lambda: [gpu for gpu in gpus.gpus("bochs-drm") if gpu.sysfs not in before]
    # sysfs has it before devtmpfs has its node.
    kernel.until(lambda: any(os.path.exists(gpu.card) for gpu in plugged()), "a bochs device's node", 60)
    return plugged()[0]


def pull_bochs(monitor, port):
    monitor.command("device_del", id=f"bochs{port}")
