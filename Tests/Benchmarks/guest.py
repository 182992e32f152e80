"""What only a real kernel and a real udevd show, in the guest. It is an emulated machine, some 30 times as slow as the
host, and both of what is compared are measured there."""
import json
import shutil
import subprocess
import tempfile

from servers import PROJECT, unpin


def measure(folder, options, figures):
    unpin()
    first_looks(folder, options, figures)
    imports(options, figures)
    uevents(options, figures)


def in_guest(script, *words, share=None):
    """The JSON that it prints as its last line."""
    command = [PROJECT / "Tests/Guest/run", "--no-install", *(["--share", share] if share else []), "--",
               f"python3 -B /parcel/tests/{script} {' '.join(map(str, words))}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{script} in the guest:\n{done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])


def first_looks(folder, options, figures):
    with tempfile.TemporaryDirectory(prefix="primed-bench-") as share:
        for program in ("load", "reference"):
            shutil.copy(f"{folder}/{program}", share)
        taken = in_guest("bench_looks.py", options.rounds, share=share)
    figures.note("in the guest, us: " + ", ".join(f"{name} {values[0] / 1000:.0f}" for name, values in taken.items()))
    for key, beside in (("guest-first", "ping"), ("guest-first-reference", "reference")):
        figures.add(key, [one / other for one, other in zip(taken["first"], taken[beside])])


def imports(options, figures):
    for count, looks in in_guest("bench_imports.py", options.rounds).items():
        figures.add("guest-import", [look / slowest for look, slowest in looks], f"n = {count}")


def uevents(options, figures):
    taken = in_guest("bench_uevents.py", 3 * options.rounds)
    figures.note(f"in the guest, ms: {taken[0][0]:.1f}, a Ping {taken[0][1]:.2f}")
    figures.add("uevent", [told / ping for told, ping in taken])
