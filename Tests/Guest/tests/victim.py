"""One user floods primed, another asks it as a compositor does. Programs for test_quotas:

    victim.py ask COUNT FD...     asks about its buffers, again and again; prints as JSON what it saw
    victim.py flood WINDOW FD...  keeps WINDOW questions under way on each of CONNECTIONS connections until its
                                  standard input ends; prints "flooding" once it has asked about each

Inherits its buffers as FDs. Times are seconds.
"""
import json
import os
import sys
import time

from gi.repository import GLib

from client import Client, Refused

CONNECTIONS = 2


def timed(call):
    began = time.monotonic()
    result = call()
    return result, time.monotonic() - began


def ask(count, *fds):
    client = Client()
    fds = [int(fd) for fd in fds]
    answers = {fd: client.place(fd)[:4] for fd in fds}
    seen = {"ping": [], "warm": [], "cold": [], "answers": len(set(answers.values())), "changed": [], "forgotten": 0}

    def check(fd, answer, kind):
        if answer[:4] != answers[fd]:
            seen["changed"].append([kind, *answer[:5]])

    for i in range(int(count)):
        fd = fds[i % len(fds)]
        _, took = timed(lambda: client.ping())
        seen["ping"].append(took)
        answer, took = timed(lambda: client.place(fd))
        seen["warm"].append(took)
        check(fd, answer, "warm")
        seen["forgotten"] += not client.explain(fd).details["cached"]
        answer, took = timed(lambda: client.place(fd, fresh=True))
        seen["cold"].append(took)
        check(fd, answer, "cold")
    print(json.dumps(seen))


class Flood:
    """Sends one question for each that is answered."""

    def __init__(self, window, fds):
        self.fds, self.at = fds, 0
        for _ in range(CONNECTIONS):
            client = Client()
            for _ in range(window):
                self.send(client)

    def send(self, client):
        fd = self.fds[self.at % len(self.fds)]
        self.at += 1
        if self.at == len(self.fds):
            print("flooding", flush=True)
        client.place_later(lambda outcome: self.answered(client, outcome), fd, fresh=True)

    def answered(self, client, outcome):
        if isinstance(outcome, Refused):
            os._exit(2)
        self.send(client)


def flood(window, *fds):
    loop = GLib.MainLoop()
    GLib.io_add_watch(0, GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    flooding = Flood(int(window), [int(fd) for fd in fds])
    loop.run()
    os._exit(0 if flooding.at else 1)


if __name__ == "__main__":
    {"ask": ask, "flood": flood}[sys.argv[1]](*sys.argv[2:])
