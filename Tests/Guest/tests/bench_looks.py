"""What a first look by introspection takes, at buffers of a tgpu, beside a Ping and the C reference's first question.
Prints {what: nanoseconds, a number a round}. Run by Tests/Benchmarks/guest.py, whose programs are in /share."""
import json
import pathlib
import subprocess
import sys

import broker
import gpus
import introspection
from client import NAME, PROPERTIES, Client

ROUNDS, QUESTIONS = int(sys.argv[1]), 200
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
REFERENCE = "org.primed.Reference"
POLICY = f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy context="default"><allow own="{REFERENCE}"/><allow send_destination="{REFERENCE}"/></policy>
</busconfig>
"""


def start_reference():
    pathlib.Path("/etc/dbus-1/system.d/reference.conf").write_text(POLICY)
    broker.command("busctl", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ReloadConfig")
    broker.command("systemd-run", "--unit=reference", "--service-type=notify", "--property=NotifyAccess=all",
                   "/share/reference", SYSTEM_BUS)


def ask(name, kind):
    words = ["/share/load", SYSTEM_BUS, name, kind, str(QUESTIONS), "1", f"node={gpus.gpu('tgpu').render}"]
    return int(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


introspection.set_up().close()
start_reference()
client = Client()
with client.signals("PropertiesChanged", PROPERTIES) as changes:
    changes.until(lambda: "introspection" in client.get("Evidence"))
rounds = [{"ping": ask(NAME, "ping"), "first": ask(NAME, "first"),
           "reference": ask(REFERENCE, "first")} for _ in range(ROUNDS)]
print(json.dumps({what: [one[what] for one in rounds] for what in rounds[0]}), flush=True)
