#!/usr/bin/python3
"""place.py ADDRESS BUFFER...: asks primed about simulated buffers, by dbus-python, with nothing of ours."""
import os
import sys

import dbus.bus

bus = dbus.bus.BusConnection(sys.argv[1])
broker = dbus.Interface(bus.get_object("org.primed.Broker1", "/org/primed/Broker1"), "org.primed.Broker1")
for name in sys.argv[2:]:
    planes = dbus.Array([dbus.types.UnixFd(os.memfd_create(f"primed:{name}"))], signature="h")
    device, access, *_ = broker.Place(planes, dbus.Dictionary({"usage": ["sample"]}, signature="sv"))
    print(name, int(device), int(access))
