"""A D-Bus client of primed, by Gio: links nothing of primed's. For the tests on a bus and for those in the guest.

Whatever is awaited is awaited as a signal, or by a call that returns when it is so; nothing sleeps.
"""
import contextlib
import os
from typing import NamedTuple

from gi.repository import Gio, GLib

import contract

NAME = "org.primed.Broker1"
PATH = "/org/primed/Broker1"
DEVICE = "org.primed.Broker1.Device"
ERROR = "org.primed.Broker1.Error."
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"
BUS = "org.freedesktop.DBus"
# Seconds; only a failing test ever waits so long, and three times as long for a reply.
PATIENCE = 10

UNKNOWN, NATIVE, IN_PLACE, MAY_MOVE, MOVES, UNREACHABLE = range(6)
GUESS, STATE, STABLE, INTENT = range(4)


class Answer(NamedTuple):
    device: int
    access: int
    confidence: int
    buffer: int
    generation: int
    details: dict


class Refused(Exception):
    """An error reply, or none in time: its D-Bus name and message."""

    def __init__(self, error):
        self.name = Gio.DBusError.get_remote_error(error) or error.domain
        Gio.DBusError.strip_remote_error(error)
        self.message = error.message
        super().__init__(f"{self.name}: {self.message}")


class Client:
    """One connection, to the system bus without an address."""

    def __init__(self, address=None):
        flags = Gio.DBusConnectionFlags
        address = address or Gio.dbus_address_get_for_bus_sync(Gio.BusType.SYSTEM, None)
        self.bus = Gio.DBusConnection.new_for_address_sync(
            address, flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)
        self.bus.set_exit_on_close(False)

    def call(self, interface, member, signature, *values, fds=(), path=PATH, name=NAME, reply_fds=False):
        """The reply's values, or its fds; borrows `fds`. A body's `h` is an index into `fds`."""
        try:
            reply, received = self.bus.call_with_unix_fd_list_sync(
                *self._message(interface, member, self._body(signature, values), fds, path, name), None)
        except GLib.Error as error:
            raise Refused(error) from None
        return received.steal_fds() if reply_fds else reply.unpack()

    def call_later(self, then, member, body, fds=()):
        """A method of primed's. `then` gets the reply's body as a variant, or a Refused; it is not called once the
        connection is closed.
        """
        def replied(bus, result):
            try:
                outcome = bus.call_with_unix_fd_list_finish(result)[0]
            except GLib.Error as error:
                outcome = Refused(error)
            if not bus.is_closed():
                then(outcome)
        self.bus.call_with_unix_fd_list(*self._message(NAME, member, body, fds, PATH, NAME), None, replied)

    def _body(self, signature, values):
        return GLib.Variant(f"({signature})", values) if signature else None

    def _message(self, interface, member, body, fds, path, name):
        copies = Gio.UnixFDList.new_from_array([os.dup(fd) for fd in fds])
        return name, path, interface, member, body, None, Gio.DBusCallFlags.NONE, 3 * PATIENCE * 1000, copies

    # --- primed's methods ---

    def place(self, *buffers, **hints):
        """Buffers as `opened` takes them; hints by name with _ for -, values as variants or plain ones."""
        with opened(buffers) as fds:
            return Answer(*self.call(NAME, "Place", "aha{sv}", list(range(len(fds))), variants(hints), fds=fds))

    def explain(self, *buffers, **hints):
        return self.place(*buffers, explain=True, **hints)

    def place_later(self, then, buffer, **hints):
        """`then` gets the reply's body as a variant, or a Refused."""
        with opened([buffer]) as fds:
            self.call_later(then, "Place", self._body("aha{sv}", ([0], variants(hints))), fds)

    def place_each(self, buffers, window=8, **hints):
        """Place of every buffer of a sequence, `window` calls under way at a time; all must be answered."""
        outcomes, sent = [], 0
        body = self._body("aha{sv}", ([0], variants(hints)))   # once: in an emulated guest Python takes long
        for sent, buffer in enumerate(buffers, start=1):
            with opened([buffer]) as fds:
                self.call_later(outcomes.append, "Place", body, fds)
            wait_until(lambda: len(outcomes) > sent - window, "an answer", 3 * PATIENCE)
        wait_until(lambda: len(outcomes) == sent, "the last answers", 3 * PATIENCE)
        if errors := [outcome for outcome in outcomes if isinstance(outcome, Refused)]:
            raise AssertionError(f"{len(errors)} calls failed, the first: {errors[0]}")

    def place_many(self, *items):
        """Items are (buffers, hints)."""
        with contextlib.ExitStack() as stack:
            fds, body = [], []
            for buffers, hints in items:
                mine = stack.enter_context(opened(buffers))
                body.append((list(range(len(fds), len(fds) + len(mine))), variants(hints)))
                fds += mine
            return [Answer(*one) for one in self.call(NAME, "PlaceMany", "a(aha{sv})", body, fds=fds)[0]]

    def place_many_later(self, buffers, then):
        """One PlaceMany, an item a buffer; `then` gets the list of answers."""
        with opened(buffers) as fds:
            body = self._body("a(aha{sv})", ([([index], {}) for index in range(len(fds))],))
            self.call_later(lambda reply: then([Answer(*one) for one in reply.unpack()[0]]), "PlaceMany", body, fds)

    def advise(self, *users, **hints):
        """Users are (device, bits); the places, generation and details."""
        return self.call(NAME, "Advise", "a(tu)a{sv}", users, variants(hints))

    def set_defaults(self, **hints):
        self.call(NAME, "SetDefaults", "a{sv}", variants(hints))

    def release(self, device, why="test"):
        """The guard's fd, the caller's to close."""
        return self.call(NAME, "ReleaseDevice", "ts", device, why, reply_fds=True)[0]

    # --- properties and objects ---

    def get(self, name, interface=NAME, path=PATH):
        return self.call(PROPERTIES, "Get", "ss", interface, name, path=path)[0]

    def get_all(self, interface=NAME, path=PATH):
        return self.call(PROPERTIES, "GetAll", "s", interface, path=path)[0]

    def generation(self):
        return self.get("Generation")

    def objects(self):
        return self.call(MANAGER, "GetManagedObjects", "")[0]

    def devices(self):
        """{object path: properties}"""
        return {path: found[DEVICE] for path, found in self.objects().items() if DEVICE in found}

    def device(self, gpu):
        """Properties of the device that has this `number`; None if primed has none such."""
        return next((device for device in self.devices().values()
                     if gpu.number in (device["RenderDevice"], device["PrimaryDevice"])), None)

    def ping(self):
        self.call("org.freedesktop.DBus.Peer", "Ping", "")

    # --- the bus ---

    def ask_bus(self, member, signature="", *values):
        return self.call(BUS, member, signature, *values, name=BUS, path="/org/freedesktop/DBus")[0]

    def signals(self, member=None, interface=None, **of):
        return Signals(self, member, interface, **of)

    def listen(self):
        """From now on `heard` collects all signals of primed."""
        self.heard = self.signals()

    def wait_for(self, member, count=1):
        """The values of the `count`th signal `member` since `listen`."""
        wait_until(lambda: len(self.named(member)) >= count, f"{count} signal(s) {member}")
        return self.named(member)[count - 1]

    def named(self, member):
        return [values for _, name, values in self.heard.all if name == member]

    def settle(self):
        """Whatever primed sent before now has arrived."""
        self.ping()
        while GLib.MainContext.default().iteration(False):
            pass

    def close(self):
        if not self.bus.is_closed():
            self.bus.close_sync(None)


class Signals:
    """Collects the signals of the objects below `path`, all or those of one member, from the moment it is made."""

    def __init__(self, client, member=None, interface=None, path="/org/primed", arg0=None):
        self.all = []   # (path, member, values)
        self.bus, self.path = client.bus, path
        # Of any sender: primed's first signals come before it owns its name.
        self.match = self.bus.signal_subscribe(
            None, interface, member, None, arg0, Gio.DBusSignalFlags.NONE, self._receive)
        client.ask_bus("GetId")   # when this is answered the bus has our match

    def _receive(self, bus, sender, path, interface, member, body):
        if path.startswith(self.path):
            self.all.append((path, member, body.unpack()))

    @property
    def seen(self):
        return [values for _, _, values in self.all]

    def clear(self):
        self.all.clear()

    def wait(self, wanted=lambda *values: True, seconds=20):
        """The values of the first occurrence, seen or to come, of which wanted(*values) is true."""
        def found():
            return [values for values in self.seen if wanted(*values)]
        wait_until(found, lambda: f"such a signal; seen: {self.seen}", seconds)
        return found()[0]

    def until(self, holds, seconds=60):
        """Asks whether it holds now, and again at each occurrence."""
        while True:
            known = len(self.all)
            if holds():
                return
            wait_until(lambda: len(self.all) > known, lambda: f"another signal; seen: {self.seen}", seconds)

    def close(self):
        self.bus.signal_unsubscribe(self.match)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def buffer(name):
    """An fd that a simulated machine takes for the dma-buf `name` ("video.1": its plane 1)."""
    return os.memfd_create(f"primed:{name}")


@contextlib.contextmanager
def opened(buffers):
    """An fd for each: for a name of a simulated machine's, an fd, or what has an `fd`."""
    fds = [buffer(one) if isinstance(one, str) else os.dup(getattr(one, "fd", one)) for one in buffers]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def variants(hints):
    named = {key.replace("_", "-"): value for key, value in hints.items()}
    return {key: value if isinstance(value, GLib.Variant) else GLib.Variant(contract.HINTS[key], value)
            for key, value in named.items()}


def wait_until(condition, what, seconds=None):
    """Runs the main loop until `condition` holds. `what`: a text, or what makes one when it is needed."""
    if condition():
        return
    seconds = seconds or PATIENCE
    context = GLib.MainContext.default()
    late = []
    timer = GLib.timeout_add(int(seconds * 1000), lambda: late.append(True))
    while not condition():
        if late:
            raise AssertionError(f"waited {seconds} s in vain for {what() if callable(what) else what}")
        context.iteration(True)
    if not late:
        GLib.source_remove(timer)
