"""Messages that no well-meaning client sends, each from a seeded source of chance, so that a run can be had
again: any signature with a body that fits it, valid calls with wrong parts, fds that no body names or that are
not there, bytes turned over."""
import array
import os
import socket

import contract
from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call, new_signal

NAME, PATH = "org.primed.Broker1", "/org/primed/Broker1"
PROPERTIES, MANAGER = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
DEEPEST = 12
BASIC = "ybnqiuxtdsog"
METHODS = [(PATH, NAME, member) for member in ("Place", "PlaceMany", "Advise", "SetDefaults", "ReleaseDevice", "Nothing")]
METHODS += [(PATH, PROPERTIES, member) for member in ("Get", "GetAll", "Set")]
METHODS += [(PATH, MANAGER, "GetManagedObjects"), (PATH, "org.freedesktop.DBus.Peer", "Ping"),
            (PATH, "org.freedesktop.DBus.Introspectable", "Introspect"),
            ("/org/freedesktop/LogControl1", PROPERTIES, "Set"), ("/org/primed/Broker1/device/none", PROPERTIES, "GetAll"),
            ("/", "org.freedesktop.DBus.Peer", "Ping")]
METHODS += 8 * METHODS[:3]   # where there is most to get wrong
SIGNATURES = {"Place": "aha{sv}", "PlaceMany": "a(aha{sv})", "Advise": "a(tu)a{sv}", "SetDefaults": "a{sv}", "ReleaseDevice": "ts",
              "Get": "ss", "GetAll": "s", "Set": "ssv"}
HINTS = [*contract.HINTS, "", "colour"]
WORDS = ["", NAME, "org.primed.Broker1.Device", "Statistics", "Generation", "LogLevel", "sample", "x" * 300, "\U0001f600"]


class Source:
    def __init__(self, random, fds):
        self.random, self.fds = random, fds

    def type(self, depth=0):
        """A complete type."""
        kind = self.random.random()
        if depth >= DEEPEST or kind < 0.6:
            return self.random.choice(BASIC + "h")
        if kind < 0.7:
            return "v"
        if kind < 0.85:
            return "a" + self.type(depth + 1)
        if kind < 0.92:
            return "(" + "".join(self.type(depth + 1) for _ in range(self.random.randint(1, 4))) + ")"
        return "a{" + self.random.choice(BASIC) + self.type(depth + 1) + "}"

    def number(self, signed, bits):
        edges = [0, 1, 2**(bits - 1) - 1] + ([-1, -2**(bits - 1)] if signed else [2**bits - 1])
        if (signed, bits) == (False, 64):
            edges += [os.makedev(226, 128), os.makedev(226, 129)]   # devices that there are
        lowest = -2**(bits - 1) if signed else 0
        return self.random.choice([*edges, self.random.randint(lowest, lowest + 2**bits - 1)])

    def split(self, signature):
        """The first complete type of a signature."""
        end = 1
        if signature[0] == "a":
            return "a" + self.split(signature[1:])
        if signature[0] in "({":
            depth = 1
            while depth:
                depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[end], 0)
                end += 1
        return signature[:end]

    def values(self, signature, depth):
        found = []
        while signature:
            one = self.split(signature)
            found.append(self.value(one, depth))
            signature = signature[len(one):]
        return tuple(found)

    def value(self, one, depth=0):
        """A value of a complete type."""
        numbers = {"y": (False, 8), "n": (True, 16), "q": (False, 16), "i": (True, 32), "u": (False, 32),
                   "x": (True, 64), "t": (False, 64)}
        if one in numbers:
            return self.number(*numbers[one])
        if one == "b":
            return self.random.random() < 0.5
        if one == "d":
            return self.random.uniform(-1e300, 1e300)
        if one == "s":
            return self.random.choice(WORDS + HINTS)
        if one == "o":
            return self.random.choice(["/", PATH, PATH + "/device/x"])
        if one == "g":
            return self.random.choice(["", "a{sv}", "h", "(" * 8 + "y" + ")" * 8])
        if one == "h":
            return self.random.choice(self.fds)
        if one == "v":
            inner = self.type(depth + 1) if depth < DEEPEST else "y"
            return inner, self.value(inner, depth + 1)
        if one[0] == "(":
            return self.values(one[1:-1], depth + 1)
        many = self.random.random() < 0.02
        length = self.random.randint(500, 3000) if many and depth == 0 else self.random.randint(0, 3)
        if one[:2] == "a{":
            key, rest = one[2], one[3:-1]
            return {self.value(key): self.value(rest, depth + 1) for _ in range(length)}
        if one == "ay":
            return bytes(length)
        return [self.value(one[1:], depth + 1) for _ in range(length)]

    def hints(self):
        def hint():
            key = self.random.choice(HINTS)
            if key in contract.HINTS and self.random.random() < 0.7:
                inner = contract.HINTS[key]
                # A list may be too long.
                return key, (inner, self.value(inner, self.random.choice([0, 1])))
            inner = self.type(DEEPEST - 2)
            return key, (inner, self.value(inner, DEEPEST - 2))
        return dict(hint() for _ in range(self.random.randint(0, 5)))

    def planes(self):
        known = self.random.random() < 0.7
        return [self.random.choice(self.fds[:4] if known else self.fds) for _ in range(self.random.randint(0, 5))]

    def body(self, member):
        """(signature, values): as the method has it, or anything."""
        wanted = SIGNATURES.get(member, "")
        if member == "Place" and self.random.random() < 0.6:
            return wanted, (self.planes(), self.hints())
        if member == "Advise" and self.random.random() < 0.6:
            users = [(self.number(False, 64), self.number(False, 32)) for _ in range(self.random.randint(0, 9))]
            return wanted, (users, self.hints())
        if member == "PlaceMany" and self.random.random() < 0.6:
            return wanted, ([(self.planes(), self.hints()) for _ in range(self.random.randint(0, 70))],)
        if self.random.random() < 0.3:
            wanted = "".join(self.type() for _ in range(self.random.randint(0, 4)))
        return wanted, self.values(wanted, 0)

    def message(self):
        path, interface, member = self.random.choice(METHODS)
        signature, values = self.body(member)
        message = new_method_call(
            DBusAddress(path, bus_name=NAME, interface=interface), member, signature or None, values)
        if self.random.random() < 0.05:
            message = new_signal(DBusAddress(path, interface=interface), member, signature or None, values)
            message.header.fields[HeaderFields.destination] = NAME
        if self.random.random() < 0.03:
            message.header.message_type = self.random.choice([MessageType.method_return, MessageType.error])
            message.header.fields[HeaderFields.reply_serial] = self.random.randint(1, 50)
            message.header.fields[HeaderFields.error_name] = NAME + ".Error.Failed"
        return message

    def send(self, bus):
        """May leave the connection closed by the bus."""
        fds = array.array("i", [self.random.choice(self.fds) for _ in range(self.random.choice([0, 0, 0, 1, 5]))])
        data = bytearray(self.message().serialise(serial=next(bus.outgoing_serial), fds=fds))
        if self.random.random() < 0.1:
            for _ in range(self.random.randint(1, 4)):
                # Not in the lengths: the bus would wait for what never comes.
                at = self.random.choice([*range(4), *range(16, len(data))])
                data[at] ^= 1 << self.random.randrange(8)
        if self.random.random() < 0.05 and fds:
            fds = fds[:self.random.randrange(len(fds))]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds[:250])] if fds else []
        bus.sock.sendmsg([data], rights)


def strangers():
    """Fds of every kind, with buffers that primed knows among them."""
    made = [os.memfd_create(f"primed:{name}") for name in ("game", "terminal", "video", "video.1", "nobodys")]
    ends = os.pipe()
    pair = socket.socketpair()
    made += [*ends, *(one.detach() for one in pair), os.open("/", os.O_PATH), os.open("/dev/null", os.O_RDWR),
             os.pidfd_open(os.getpid())]
    return made
