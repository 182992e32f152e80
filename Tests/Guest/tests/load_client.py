"""Clients that ask without a pause while something happens to primed: `asking`.

As a program it is one of them: asks about the DMA-BUF at an inherited fd until a line comes on stdin, then
prints: answers, errors, longest run of errors in a row, and each device that was ever named.
"""
import contextlib
import select
import subprocess
import sys

from client import Client, Refused


@contextlib.contextmanager
def asking(test, buffer, clients=3, kills=None):
    """Meanwhile an answer is right, or there is an error and the next call works; or, where primed is killed so often
    that the next call may meet the next kill, there are no more errors than kills.
    """
    expected = Client().place(buffer)
    running = [subprocess.Popen(["python3", "-B", __file__, str(buffer.fd)], pass_fds=[buffer.fd],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
    for client in running:
        test.addCleanup(client.kill)
        test.assertEqual(client.stdout.readline(), "asking\n")
    yield
    for outcome in [client.communicate("stop\n", timeout=60)[0].split() for client in running]:
        with test.subTest(outcome=outcome):
            answers, errors, worst_run, *devices = map(int, outcome)
            test.assertGreater(answers, 0)
            if kills is None:
                test.assertLessEqual(worst_run, 1, "errors in a row")
            else:
                test.assertLessEqual(errors, kills)
            test.assertEqual(devices, [expected.device])


def ask(fd):
    client = Client()
    answers = errors = run = worst = 0
    devices = set()
    print("asking", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            devices.add(client.place(fd).device)
            answers, run = answers + 1, 0
        except Refused:
            errors, run = errors + 1, run + 1
            worst = max(worst, run)
    print(answers, errors, worst, *sorted(devices))


if __name__ == "__main__":
    ask(int(sys.argv[1]))
