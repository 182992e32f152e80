#!/usr/bin/python3
"""wire.py ADDRESS BUFFER: Place by hand, byte for byte, without any D-Bus library: for authors of other bindings (zbus, a
libdbus of one's own). Prints each message that goes and comes, then "BUFFER DEVICE ACCESS".

What a binding has to get right:
- the connection has to have negotiated fds (NEGOTIATE_UNIX_FD at authentication);
- `ah` in the body holds indices into the fds that go along by SCM_RIGHTS, in this order; the header field UNIX_FDS (9)
  says how many they are, and the fds go with the message's first byte;
- the hints are a{sv}: dev_t are `t`, whatever their size in C.
In zbus: `proxy.call("Place", &(vec![Fd::from(&plane)], HashMap::from([("verdicts", Value::from(true))])))`, and the reply
is (u64, u32, u32, u64, u64, HashMap<String, OwnedValue>).
"""
import array
import os
import socket
import struct
import sys

CALL, REPLY = 1, 2


class Writer:
    """A body or header in little-endian D-Bus marshalling."""

    def __init__(self):
        self.bytes = b""

    def align(self, size):
        self.bytes += b"\0" * (-len(self.bytes) % size)
        return self

    def number(self, code, value):
        self.align(struct.calcsize(code))
        self.bytes += struct.pack("<" + code, value)
        return self

    def string(self, text):
        self.number("I", len(text))
        self.bytes += text.encode() + b"\0"
        return self

    def signature(self, text):
        self.bytes += bytes([len(text)]) + text.encode() + b"\0"
        return self

    def array(self, alignment, write):
        """`write` writes the elements; their length goes before them, without the padding to the first."""
        at = len(self.align(4).bytes)
        self.bytes += b"\0" * 4
        start = len(self.align(alignment).bytes)
        write(self)
        self.bytes = self.bytes[:at] + struct.pack("<I", len(self.bytes) - start) + self.bytes[at + 4:]
        return self


def message(serial, destination, path, interface, member, signature="", body=b"", fds=0):
    def field(writer, code, kind, value):
        writer.align(8).bytes += bytes([code])
        writer.signature(kind)
        if kind == "u":
            writer.number("I", value)
        elif kind == "g":
            writer.signature(value)
        else:
            writer.string(value)

    def fields(writer):
        field(writer, 1, "o", path)
        field(writer, 2, "s", interface)
        field(writer, 3, "s", member)
        field(writer, 6, "s", destination)
        if signature:
            field(writer, 8, "g", signature)
        if fds:
            field(writer, 9, "u", fds)
    header = Writer()
    header.bytes = struct.pack("<cBBBII", b"l", CALL, 0, 1, len(body), serial)
    return header.array(8, fields).align(8).bytes + body


def place_body():
    """(ah planes, a{sv} hints): one plane, index 0 of the fds; the hint verdicts."""
    def hints(writer):
        writer.align(8).string("verdicts").signature("b").number("I", 1)
    return Writer().array(4, lambda writer: writer.number("I", 0)).array(8, hints).bytes


def dump(direction, what, data):
    print(f"{direction} {what}, {len(data)} bytes")
    for at in range(0, len(data), 16):
        line = data[at:at + 16]
        print(f"  {line.hex(' '):47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in line)}")


def receive(bus, buffered):
    """The next message: (its bytes, where its body begins)."""
    while True:
        while len(buffered) < 16:
            buffered += bus.recv(4096)
        body, _, fields = struct.unpack_from("<III", buffered, 4)
        start = 16 + fields + -fields % 8
        if len(buffered) >= start + body:
            whole = bytes(buffered[:start + body])
            del buffered[:start + body]
            return whole, start
        buffered += bus.recv(4096)


def reply_to(bus, buffered, serial):
    """Field 5 of a reply is the serial that it is to; signals come in between."""
    while True:
        whole, start = receive(bus, buffered)
        if whole[1] != CALL and struct.pack("<BB2sI", 5, 1, b"u\0", serial) in whole[:start]:
            return whole, start


def main():
    address, name = sys.argv[1:]
    bus = socket.socket(socket.AF_UNIX)
    bus.connect(address.removeprefix("unix:path=").split(",")[0])
    uid = str(os.getuid()).encode().hex().encode()
    bus.send(b"\0AUTH EXTERNAL " + uid + b"\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n")
    said = b""
    while said.count(b"\r\n") < 2:
        said += bus.recv(4096)
    assert b"AGREE_UNIX_FD" in said, said
    buffered = bytearray(said.split(b"\r\n", 2)[2])
    driver = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    bus.send(message(1, *driver, "Hello"))
    reply_to(bus, buffered, 1)

    plane = os.memfd_create(f"primed:{name}")
    call = message(2, "org.primed.Broker1", "/org/primed/Broker1", "org.primed.Broker1", "Place", "aha{sv}", place_body(),
                   fds=1)
    dump(">", "Place, with one fd", call)
    bus.sendmsg([call], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [plane]))])
    reply, start = reply_to(bus, buffered, 2)
    dump("<", "the reply", reply)
    assert reply[1] == REPLY, reply
    device, access, confidence, buffer, generation = struct.unpack_from("<QIIQQ", reply, start)
    print(f"{name} {device} {access}")


main()
