"""Shell completion as somebody types: each shell, with the installed files, and the Tab key."""
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from programs import ENVIRONMENT, installed

PATIENCE = 20   # seconds; only a failing test waits so long
# What is typed before Tab, and what comes of it.
TYPED = [
    ("primectl sta", "primectl status"),
    ("primectl devices --bus sess", "primectl devices --bus session"),
    ("primectl place --mem", "primectl place --memory"),
    ("primectl scenario show egpu-pu", "primectl scenario show egpu-pulled"),
    ("primed --sim", "primed --simulate"),
    ("primed --log-level warn", "primed --log-level warning"),
    ("primed --simulate egpu-pu", "primed --simulate egpu-pulled"),
]


class Terminal:
    """An interactive shell on a terminal of its own."""

    def __init__(self, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, {**ENVIRONMENT, "TERM": "dumb", "PS1": "ready>", "HISTFILE": ""})
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, text):
        """Until `text` is on the terminal, whatever the shell puts between its letters to draw it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown():
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} in {self.shown()!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")

    def shown(self):
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07|\r", "", self.seen)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class Completions(unittest.TestCase):
    def setUp(self):
        self.root = installed(self)

    def check(self, setting_up, *shell):
        for typed, completed in TYPED:
            with self.subTest(typed=typed):
                terminal = Terminal(*shell)
                self.addCleanup(terminal.close)
                terminal.type(setting_up + "; printf 'set %s\\n' up\n")
                terminal.wait_for("set up")
                terminal.type(typed + "\t")
                terminal.wait_for(completed)

    def test_bash(self):
        folder = self.root / "usr/share/bash-completion/completions"
        self.check(f"source '{folder}/primed'; source '{folder}/primectl'", "bash", "--norc", "--noprofile", "-i")

    def test_zsh(self):
        folder = self.root / "usr/share/zsh/site-functions"
        self.check(f"fpath=('{folder}' $fpath); autoload -Uz compinit; compinit -D -u", "zsh", "-f", "-i")

    def test_fish(self):
        folder = self.root / "usr/share/fish/vendor_completions.d"
        self.check(f"source '{folder}/primed.fish'; source '{folder}/primectl.fish'", "fish", "--no-config", "-i")

    def test_none_complains_when_it_is_read(self):
        for words in (["bash", "-n"], ["zsh", "-n"], ["fish", "-n"]):
            suffix = {"bash": "bash-completion/completions/*", "zsh": "zsh/site-functions/*",
                      "fish": "fish/vendor_completions.d/*"}[words[0]]
            files = list((self.root / "usr/share").glob(suffix))
            self.assertEqual(len(files), 2)
            for file in files:
                self.assertEqual(subprocess.run([*words, file], stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
                                                text=True).stdout, "")
