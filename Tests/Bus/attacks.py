"""What a user who means ill does to a service, for as long as it is let: `python3 attacks.py KIND ADDRESS NAME`. Prints
"attacking" when it has begun, then a dot for each answer, and ends with its standard input."""
import array
import itertools
import os
import select
import socket
import sys

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection

KIND, ADDRESS, NAME = sys.argv[1:]
INTERFACE, PATH = "org.primed.Broker1", "/org/primed/Broker1"
BROKER = DBusAddress(PATH, bus_name=NAME, interface=INTERFACE)
PEER = DBusAddress(PATH, bus_name=NAME, interface="org.freedesktop.DBus.Peer")
# Of the 256 that dbus-daemon gives a user, primed and the service that does nothing are attacked by half each.
CONNECTIONS = 120
# (connections, calls under way at once): dbus-daemon writes to a socket until some 40 messages are unread, then it
# queues, and while its queue to a service has 64 fds it refuses everybody's calls to it: where the host does not let
# the service run, that is so after the 100th call with an fd. More than these attack the bus and not primed. `many`
# comes from two connections, since from all of them more memory stays than the test allows (dbus/README.md).
CALLS = {"fresh": (CONNECTIONS, 60), "many": (2, 16), "unnamed": (CONNECTIONS, 16)}
PAUSE = 100   # ms, to see whether it shall end
FRESH = {"fresh": ("b", True), "explain": ("b", True), "wake": ("b", True)}


def buffers(count):
    return [os.memfd_create(f"primed:{('game', 'terminal', 'heap')[i % 3]}") for i in range(count)]


class Calls:
    """Each a message, and the fds that go with it."""

    @staticmethod
    def fresh():
        return new_method_call(BROKER, "Place", "aha{sv}", (buffers(1), FRESH)), ()

    @staticmethod
    def many():
        return new_method_call(BROKER, "PlaceMany", "a(aha{sv})", ([([fd], FRESH) for fd in buffers(16)],)), ()

    @staticmethod
    def nonsense():
        return new_method_call(BROKER, "Place", "a{sv}", ({"colour": ("s", "x" * 1000)},)), ()

    @staticmethod
    def unnamed():
        """Fds that no body names."""
        return new_method_call(PEER, "Ping"), buffers(16)

    @staticmethod
    def properties():
        return new_method_call(DBusAddress(PATH, NAME, "org.freedesktop.DBus.ObjectManager"), "GetManagedObjects"), ()


def send(bus, message, beside):
    fds = array.array("i", beside)
    data = message.serialise(serial=next(bus.outgoing_serial), fds=fds)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
    sent = bus.sock.sendmsg([data], rights)
    bus.sock.sendall(data[sent:])
    for fd in fds:
        os.close(fd)


def ended():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def answers(bus):
    """Those that have come, at least one."""
    answer = bus.receive(timeout=30)
    while answer:
        yield answer
        answer = bus.parser.get_next_message()


def call_without_end(make, count, window):
    """`window` calls at a time, over all connections in turn."""
    connections = [open_dbus_connection(ADDRESS, enable_fds=True) for _ in range(count)]
    turns = itertools.cycle(connections)
    for _ in range(window):
        send(next(turns), *make())
    print("attacking", flush=True)
    by_fd = {bus.sock.fileno(): bus for bus in connections}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    while not ended():
        for fd, _ in poll.poll(PAUSE):
            for _ in answers(by_fd[fd]):
                print(end=".", flush=True)
                send(next(turns), *make())


def come_and_go():
    """Connections without end, each of which has something kept for it."""
    print("attacking", flush=True)
    while not ended():
        with open_dbus_connection(ADDRESS, enable_fds=True) as bus:
            send(bus, new_method_call(BROKER, "SetDefaults", "a{sv}", ({"primary-device": ("t", 1)},)), ())
            send(bus, *Calls.fresh())
            bus.receive(timeout=30)
            print(end=".", flush=True)


if __name__ == "__main__":
    if KIND == "come_and_go":
        come_and_go()
    else:
        call_without_end(getattr(Calls, KIND), *CALLS.get(KIND, (CONNECTIONS, CONNECTIONS)))
