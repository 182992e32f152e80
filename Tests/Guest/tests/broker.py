"""A D-Bus client of primed that links nothing of it, and the service that it talks to.

Whatever is awaited is awaited as a signal or by a call that returns when it is so; nothing sleeps.
"""
import collections
import subprocess

import dbus
import dbus.mainloop.glib
from gi.repository import GLib

NAME = "org.primed.Broker1"
PATH = "/org/primed/Broker1"
DEVICE = "org.primed.Broker1.Device"
ERROR = "org.primed.Broker1.Error."
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"

UNKNOWN, NATIVE, IN_PLACE, MAY_MOVE, MOVES, UNREACHABLE = range(6)
GUESS, STATE, STABLE, INTENT = range(4)

Answer = collections.namedtuple("Answer", "device access confidence buffer generation details")

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)


class Signals:
    """Collects a signal's occurrences from the moment it is made."""

    def __init__(self, broker, name, interface):
        self.seen = []
        self.loop = GLib.MainLoop()
        self.match = broker.bus.add_signal_receiver(self._receive, name, interface, NAME)
        broker.generation()   # when this is answered the bus has our match

    def _receive(self, *arguments):
        self.seen.append(arguments)
        self.loop.quit()

    def wait(self, wanted, seconds=20):
        """The first occurrence, seen or to come, of which wanted(*arguments) is true."""
        expired = []
        timer = GLib.timeout_add(int(seconds * 1000), lambda: expired.append(True) or self.loop.quit())
        try:
            while not (found := [arguments for arguments in self.seen if wanted(*arguments)]):
                if expired:
                    raise AssertionError(f"no such signal in {seconds} s; seen: {self.seen}")
                self.loop.run()
            return found[0]
        finally:
            if not expired:
                GLib.source_remove(timer)

    def until(self, holds, seconds=60):
        """Asks whether it holds now, and again at each occurrence."""
        while True:
            known = len(self.seen)
            if holds():
                return
            self.wait(lambda *_: len(self.seen) > known, seconds)

    def close(self):
        self.match.remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Broker:
    def __init__(self, bus=None):
        self.bus = bus or dbus.SystemBus(private=True)
        self.bus.set_exit_on_disconnect(False)   # close() below is no reason to exit

    def _call(self, interface, method, signature, *arguments):
        return self.bus.call_blocking(NAME, PATH, interface, method, signature, arguments, timeout=30)

    def place(self, *planes, **hints):
        """Place of buffers (each with an `fd`) or of plain fds; hints with `_` for `-`."""
        fds = [dbus.types.UnixFd(getattr(plane, "fd", plane)) for plane in planes]
        return Answer(*self._call(NAME, "Place", "aha{sv}", dbus.Array(fds, signature="h"), variants(hints)))

    def place_each(self, buffers, window=8, **hints):
        """Place of every buffer of a sequence, `window` calls under way at a time; all must be answered."""
        loop, waiting, errors = GLib.MainLoop(), iter(buffers), []
        under_way = 0

        def send():
            nonlocal under_way
            buffer = next(waiting, None)
            if buffer is not None:
                under_way += 1
                planes = dbus.Array([dbus.types.UnixFd(buffer.fd)], signature="h")
                self.bus.call_async(NAME, PATH, NAME, "Place", "aha{sv}", (planes, variants(hints)),
                                    answered, failed, timeout=30)

        def answered(*_):
            nonlocal under_way
            under_way -= 1
            send()
            if not under_way:
                loop.quit()

        def failed(error):
            errors.append(error)
            answered()

        for _ in range(window):
            send()
        loop.run()
        if errors:
            raise AssertionError(f"{len(errors)} calls failed, the first: {errors[0]}")

    def explain(self, *planes, **hints):
        return self.place(*planes, explain=True, **hints)

    def property(self, name):
        return self._call(PROPERTIES, "Get", "ss", NAME, name)

    def generation(self):
        return int(self.property("Generation"))

    def devices(self):
        """{object path: properties}"""
        objects = self._call(OBJECT_MANAGER, "GetManagedObjects", "")
        return {path: interfaces[DEVICE] for path, interfaces in objects.items() if DEVICE in interfaces}

    def device(self, gpu):
        """Properties of this device; None if primed has none such."""
        number = gpu.number
        return next((device for device in self.devices().values()
                     if number in (device["RenderDevice"], device["PrimaryDevice"])), None)

    def signals(self, name, interface=NAME):
        return Signals(self, name, interface)

    def close(self):
        self.bus.close()


TYPES = {"usage": lambda words: dbus.Array(words, signature="s"), "format": dbus.UInt32,
         "wake": dbus.Boolean, "fresh": dbus.Boolean, "explain": dbus.Boolean, "client": dbus.UInt32}


def variants(hints):
    """Hints with their D-Bus types; a value that has a D-Bus type already keeps it."""
    typed = {}
    for key, value in hints.items():
        plain = type(value) in (int, bool, list)
        typed[key.replace("_", "-")] = TYPES.get(key, dbus.UInt64)(value) if plain else value
    return dbus.Dictionary(typed, signature="sv")


# --- the service ---


def command(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


INTROSPECTION = "primed-introspect.socket"


def install():
    """As a user installs it."""
    command("/parcel/systemd/install", "--bin", "/parcel/bin")


def install_without_introspection():
    """For the groups that are about the other sources of evidence: the kernel tells nothing by BPF."""
    install()
    command("systemctl", "stop", INTROSPECTION)
    command("systemctl", "mask", "--runtime", INTROSPECTION)
    restart()


def start():
    command("systemctl", "start", "primed.service")


def restart():
    command("systemctl", "reset-failed", "primed.service")   # tests restart it oftener than systemd likes
    command("systemctl", "restart", "primed.service")


def pid():
    return int(command("systemctl", "show", "-P", "MainPID", "primed.service"))
