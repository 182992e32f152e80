"""primed as the guest's system service: installed, started, restarted."""
import subprocess


def command(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


INTROSPECTION = "primed-introspect.socket"


def install():
    """As a user installs it."""
    command("/parcel/systemd/install", "--bin", "/parcel/bin")


def install_without_introspection():
    """For the groups that are about the other sources of evidence: the kernel tells nothing by BPF."""
    install()
    command("systemctl", "stop", INTROSPECTION)
    command("systemctl", "mask", "--runtime", INTROSPECTION)
    restart()


def start():
    command("systemctl", "start", "primed.service")


def restart():
    command("systemctl", "reset-failed", "primed.service")   # tests restart it oftener than systemd likes
    command("systemctl", "restart", "primed.service")


def pid():
    return int(command("systemctl", "show", "-P", "MainPID", "primed.service"))
