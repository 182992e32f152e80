"""primed as the guest's system service: installed, started, restarted."""
import subprocess

import gpus
from client import PROPERTIES


def command(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


INTROSPECTION = "primed-introspect.socket"


def install():
    """As a user installs it."""
    command("/parcel/systemd/install", "--bin", "/parcel/bin")


def unpack():
    """What `install` leaves, of which the host has made the files."""
    command("cp", "-al", "/parcel/root/.", "/")
    command("systemd-sysusers", "primed.conf")
    command("systemctl", "daemon-reload")
    command("busctl", "--quiet", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ReloadConfig")
    command("systemctl", "start", INTROSPECTION, "primed.service")


def unpack_without_introspection():
    """For the groups that are about the other sources of evidence: the kernel tells nothing by BPF."""
    unpack()
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


def measured(client):
    """{(exporter, importer): (attach, map)} of the rows that were measured, which are of video memory."""
    rows = client.get("Pairs")
    return {(row[0].removesuffix(":dedicated"), row[1]): (row[2], row[3]) for row in rows if row[6] == "measured"}


def calibrated(client, *exporters):
    """Waits until each is measured with all others: no buffer of primed's own moves any more."""
    with_render_node = {gpu.driver for gpu in gpus.gpus() if gpu.render}
    pairs = {(exporter, importer) for exporter in exporters for importer in with_render_node - {exporter}}
    with client.signals("PropertiesChanged", PROPERTIES) as changes:
        changes.until(lambda: pairs <= measured(client).keys())
    return pairs
