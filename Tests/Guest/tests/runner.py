"""Runs one group of tests in the guest:  runner.py PREFIX GROUP [WORD...]

PREFIX is put before the tests' names; those are run that have one of the words in them, or all.

Prints each test's name and verdict, with the traceback and primed's journal when it fails, and
writes to results-GROUP first the plan ({test: null}, ...) and then each verdict: true, or why it failed. A
skipped test has failed: in this guest there is everything that a test may need.
"""
import importlib
import json
import pathlib
import signal
import subprocess
import sys
import time
import unittest

MOST_TROUBLES = 4   # that are shown of one test
MOST_SECONDS = 180   # for one test, if its group does not say another MOST_SECONDS
WIDEST = 400   # characters of a line that are shown
PREFIX, GROUP, *WORDS = sys.argv[1:]


def too_long(*_):
    raise TimeoutError("not done in time")


def name_of(test):
    """group.Class.what_it_shows"""
    return PREFIX + test.id().removeprefix("test_").replace(".test_", ".")


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


class Verdicts(unittest.TestResult):
    def __init__(self, results):
        super().__init__()
        self.results = results

    def record(self, verdicts):
        with open(self.results, "a") as file:
            file.write(json.dumps(verdicts) + "\n")

    def startTest(self, test):
        super().startTest(test)
        self.started, self.since = time.monotonic(), time.time()
        self.troubles = []
        signal.alarm(getattr(sys.modules[type(test).__module__], "MOST_SECONDS", MOST_SECONDS))

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        name = name_of(test)
        took = time.monotonic() - self.started
        self.record({name: last_line(self.troubles[0]) if self.troubles else True})
        print(f"{'FAIL' if self.troubles else 'ok  '}  {name} ({took:.1f} s)", flush=True)
        for trouble in self.troubles[:MOST_TROUBLES]:
            print(indented(trouble), flush=True)
        if len(self.troubles) > MOST_TROUBLES:
            print(f"      and {len(self.troubles) - MOST_TROUBLES} more", flush=True)
        if self.troubles:
            print_journal(self.since)

    def _trouble(self, test, error):
        text = self._exc_info_to_string(error, test)
        if hasattr(self, "troubles") and isinstance(test, unittest.TestCase):
            self.troubles.append(text)
        else:   # setUpClass: none of its tests will run, and the host counts them
            print(indented(f"{test}: {text}"), flush=True)
            print_journal()

    def addError(self, test, err):
        self._trouble(test, err)

    def addFailure(self, test, err):
        self._trouble(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.troubles.append(f"{subtest}:\n" + self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self.troubles.append(f"skipped: {reason}")


def cut(line):
    return line if len(line) <= WIDEST else f"{line[:WIDEST]} ... ({len(line)} characters)"


def last_line(text):
    return cut(text.rstrip().splitlines()[-1])


def indented(text):
    return "\n".join(f"      {cut(line)}" for line in text.rstrip().splitlines())


def print_journal(since=0):
    journal = subprocess.run(["journalctl", "--no-pager", "-q", "-o", "short-monotonic", "-n", "60",
                              "-t", "primed", "-t", "primed-introspect", f"--since=@{int(since)}"],
                             stdout=subprocess.PIPE, text=True).stdout
    if journal:
        print(indented("primed's journal:\n" + journal), flush=True)


def main():
    module = importlib.import_module(f"test_{GROUP}")
    tests = [test for test in flatten(unittest.defaultTestLoader.loadTestsFromModule(module))
             if any(word in name_of(test) for word in WORDS or [""])]
    signal.signal(signal.SIGALRM, too_long)
    verdicts = Verdicts(pathlib.Path(f"results-{GROUP}"))
    verdicts.record({name_of(test): None for test in tests})
    print(f"===== {PREFIX}{GROUP}: {len(tests)} tests", flush=True)
    unittest.TestSuite(tests).run(verdicts)


main()
