"""Clients that ask primed without a pause, each a process and a connection of its own.

    with askers.Askers(4, "vram", expected=number) as crowd: ...
    crowd.reports      what each saw: asked, wrong answers, generations out of order, errors, slowest

Run as a program it is one of them: asks until its standard input ends, then prints its report.
"""
import json
import subprocess
import sys
import time

import gpus
from client import GUESS, Client

MAKERS = {"plain": gpus.plain, "vram": lambda: gpus.tgpu(gpus.TGPU_VRAM, 0)}


class Askers:
    def __init__(self, count, kind, **hints):
        self.words = [sys.executable, "-B", __file__, kind, json.dumps(hints)]
        self.count, self.reports = count, []

    def __enter__(self):
        self.processes = [subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                          for _ in range(self.count)]
        for process in self.processes:
            process.stdout.readline()   # its first answer is there
        return self

    def __exit__(self, *_):
        for process in self.processes:
            out, _ = process.communicate(timeout=60)
            self.reports.append(json.loads(out))

    def check(self, test):
        """Every asker was answered, always and well."""
        for report in self.reports:
            test.assertEqual((report["errors"], report["wrong"], report["disorder"]), ([], [], []))
            test.assertGreater(report["asked"], 10)
            test.assertLess(report["guesses"], report["asked"] / 20)


def ask(kind, expected=None, fallbacks=(), **hints):
    """`expected`: the only device that may be named, but for a guess, which says that it is one (no driver
    answered in time) and then names one of `fallbacks`."""
    client = Client()
    report = {"asked": 0, "guesses": 0, "errors": [], "wrong": [], "disorder": [], "slowest": 0}
    ended = StandardInput()
    before = client.generation()
    while not ended():
        with MAKERS[kind]() as buffer:
            began = time.monotonic()
            try:
                answer = client.place(buffer, **hints)
            except Exception as error:   # every kind of failure is one to report
                report["errors"].append(str(error))
                continue
        report["slowest"] = max(report["slowest"], time.monotonic() - began)
        report["asked"] += 1
        if answer.device in fallbacks and answer.confidence == GUESS:
            report["guesses"] += 1
        elif expected not in (None, answer.device):
            report["wrong"].append([answer.device, answer.access, answer.generation])
        after = client.generation()
        if not before <= answer.generation <= after:
            report["disorder"].append([before, answer.generation, after])
        before = after
        if report["asked"] == 1:
            print("asking", flush=True)
    print(json.dumps(report))


class StandardInput:
    def __init__(self):
        import select
        self.poll = select.poll()
        self.poll.register(0)

    def __call__(self):
        return bool(self.poll.poll(0))


if __name__ == "__main__":
    settings = json.loads(sys.argv[2])
    ask(sys.argv[1], **settings)
