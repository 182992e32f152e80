"""The hints of the contract, as the interface documents them."""
import pathlib
import re

# Of the project, or of the guest's parcel.
INTERFACE = next(found for folder in pathlib.Path(__file__).resolve().parents
                 if (found := folder / "dbus/org.primed.Broker1.xml").exists())


def _hints():
    place = INTERFACE.read_text().split("        Place:\n")[1]
    listed = re.search(r" +Hints:\n((?: +(?:- |  ).*\n)+)", place)[1]
    # Of two types, as of client (h or u), the last.
    return {name: types.split()[-1] for name, types in re.findall(r"^ +- ([\w-]+) \(([^)]*)\):", listed, re.M)}


# D-Bus type by name.
HINTS = _hints()
