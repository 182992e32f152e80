"""What the tests of the papers have in common: the built programs, and what systemd/install installs."""
import os
import pathlib
import subprocess
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("PRIMED_BIN", PROJECT / ".build/release")).resolve()
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def output(*words, status=0, **environment):
    """What a command prints, on both of its outputs; it must end with `status`."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=PROJECT, env={**ENVIRONMENT, **environment})
    if done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def install(destination, prefix="/usr", **environment):
    output(PROJECT / "systemd/install", "--bin", BIN, DESTDIR=str(destination), PREFIX=prefix, **environment)


def installed(test, **environment):
    """A folder with primed installed below it, for as long as the test takes."""
    folder = pathlib.Path(test.enterContext(tempfile.TemporaryDirectory(prefix="primed papers ")))
    install(folder, **environment)
    return folder
