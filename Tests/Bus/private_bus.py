"""A message bus of our own: dbus-daemon, or dbus-broker with this process as its controller.

Both let everyone own and send everything, unless a policy file is given (dbus-daemon only). Their own
limits are out of the way, so that it is primed's that are met.
"""
import os
import pathlib
import socket
import subprocess

from gi.repository import Gio, GLib

# The uid of policy entries that hold for everyone.
ANYONE = 0xFFFFFFFF
MESSAGE_RULE = (True, 1, "", "", "", "", 0, 0, 0, 0xFFFFFFFFFFFFFFFF)
ALLOW_ALL = (True, 1, [(True, 1, True, "")], [MESSAGE_RULE], [MESSAGE_RULE])
BATCH = "(bta(btbs)a(btssssuutt)a(btssssuutt))"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{type}</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/>{default}</policy>
  <limit name="max_replies_per_connection">4096</limit>
  <limit name="max_message_unix_fds">253</limit>
  {more}
</busconfig>
"""
OPEN = '<allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
SYSTEM = """<deny own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
  <allow send_requested_reply="true" send_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/><allow receive_type="method_return"/>
  <allow receive_type="error"/><allow receive_type="signal"/>
  <allow send_destination="org.freedesktop.DBus"/>"""


class Daemon:
    """dbus-daemon. With `policy` (a busconfig file's text) it denies by default, as the system bus does; `limits`
    are its own, by name."""

    name = "dbus-daemon"

    def __init__(self, folder, log, policy=None, **limits):
        self.folder = pathlib.Path(folder)
        self.log = log
        self.path = self.folder / "bus"
        self.address = f"unix:path={self.path}"
        self._config = self.folder / "bus.conf"
        more = ""
        if policy is not None:
            (self.folder / "policy.conf").write_text(policy)
            more = f"<include>{self.folder / 'policy.conf'}</include>"
        for name, value in limits.items():
            more += f'<limit name="{name}">{value}</limit>'
        self._config.write_text(CONFIG.format(
            type="system" if policy else "session", path=self.path, default=SYSTEM if policy else OPEN, more=more))
        self._config.chmod(0o644)
        self.start()

    def start(self):
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            ["dbus-daemon", "--nofork", f"--config-file={self._config}", f"--print-address={writing}"],
            pass_fds=[writing], stdout=self.log, stderr=self.log)
        os.close(writing)
        with os.fdopen(reading) as printed:
            if not printed.readline():
                raise RuntimeError("dbus-daemon did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.path.unlink(missing_ok=True)


class Broker:
    """dbus-broker. Its launcher wants systemd; what the launcher tells it, we tell it ourselves."""

    name = "dbus-broker"

    def __init__(self, folder, log):
        self.log = log
        self.path = pathlib.Path(folder) / "bus"
        self.address = f"unix:path={self.path}"
        self.start()

    def start(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        self.path.chmod(0o666)
        listener.listen(128)
        listener.setblocking(False)
        ours, theirs = socket.socketpair()
        machine = pathlib.Path("/etc/machine-id").read_text().strip()
        self.process = subprocess.Popen(
            ["dbus-broker", "--controller", str(theirs.fileno()), "--machine-id", machine,
             "--max-bytes", "536870912", "--max-fds", "4096", "--max-matches", "16384",
             "--max-objects", "16384"],
            pass_fds=[theirs.fileno()], stdout=self.log, stderr=self.log)
        theirs.close()
        stream = Gio.Socket.new_from_fd(ours.detach()).connection_factory_create_connection()
        self._controller = Gio.DBusConnection.new_sync(
            stream, None, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
        self._controller.set_exit_on_close(False)
        everyone = [(ANYONE, ALLOW_ALL)]
        policy = GLib.Variant(f"(a(u{BATCH})a(buu{BATCH})a(ss)bs)", (everyone, [], [], False, "session"))
        self._controller.call_with_unix_fd_list_sync(
            None, "/org/bus1/DBus/Broker", "org.bus1.DBus.Broker", "AddListener",
            GLib.Variant("(ohv)", ("/org/bus1/DBus/Listener/0", 0, policy)), None,
            Gio.DBusCallFlags.NONE, -1, Gio.UnixFDList.new_from_array([listener.detach()]), None)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self._controller = None
        self.path.unlink(missing_ok=True)


KINDS = {kind.name: kind for kind in (Daemon, Broker)}
