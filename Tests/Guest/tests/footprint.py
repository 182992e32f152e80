"""What an installation of primed changes in the guest: files, accounts, the unit's state."""
import re
import subprocess

import broker

UNIT = "primed.service"
# Where primed could leave something, and what dpkg, systemd and the accounts' tools keep for themselves.
ROOTS = "/etc", "/usr", "/var/lib"
NOT_OURS = re.compile("/var/lib/(dpkg|systemd|private)(/|$)|.*/__pycache__"
                      "|/etc/(passwd|group|shadow|gshadow|[.]pwd.lock)-?$")


def tree():
    """{path: (type, mode, uid, gid)} of every file that primed could have made or changed."""
    lines = broker.command("find", *ROOTS, "-printf", "%p %y %m %U %G\n").splitlines()
    found = (line.rsplit(" ", 4) for line in lines)
    return {path: tuple(status) for path, *status in found if not NOT_OURS.match(path)}


def accounts():
    return broker.command("getent", "passwd") + broker.command("getent", "group")


def state():
    """(enabled?, active?) of the unit."""
    def ask(verb):
        return subprocess.run(["systemctl", verb, UNIT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True).stdout.strip()
    return ask("is-enabled"), ask("is-active")
