"""Gets Debian's kernel sources by apt, with lists and a cache of its own: nothing of the machine's apt is touched."""
import pathlib
import re
import subprocess

# The newest first. In each the metapackage linux-source says which kernel is meant.
WORDS = re.findall(r"^(\w+)=\((.*)\)$",
                   (pathlib.Path(__file__).resolve().parents[1] / "Guest/image/suites").read_text(), re.M)
NEWEST, OLDER = (dict(WORDS)[name].split() for name in ("newest_of", "older_of"))
SUITES = [*reversed(NEWEST), OLDER[0]]
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
WANTED = ("drivers/gpu/Makefile", "drivers/gpu/drm", "drivers/accel", "include/drm")
CONFIGURATION = """
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{0}";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
"""


class Apt:
    def __init__(self, folder, suite):
        self.folder = folder
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
        (folder / "apt.conf").write_text(CONFIGURATION.format(folder))

    def run(self, *command):
        environment = {"APT_CONFIG": str(self.folder / "apt.conf"), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        return subprocess.run(command, cwd=self.folder, env=environment, check=True, text=True,
                              stdout=subprocess.PIPE).stdout


def source(suite, cache):
    """The unpacked source of a suite's kernel; what is there already is used again."""
    folder = cache / suite
    apt = Apt(folder, suite)
    apt.run("apt-get", "-q=2", "update")
    package = re.search(r"linux-source-[\d.]+", apt.run("apt-cache", "depends", "linux-source"))[0]
    version = re.search(r"^Version: (.*)$", apt.run("apt-cache", "show", package), re.M)[1]
    tree = folder / f"{package.removeprefix('linux-source-')}_{version.split('-')[0]}"
    if not tree.is_dir():
        apt.run("apt-get", "-q=2", "download", f"{package}={version}")
        unpack(next(folder.glob(f"{package}_*.deb")), package, tree)
    return tree


def unpack(deb, package, tree):
    part = pathlib.Path(f"{tree}.part")
    part.mkdir(exist_ok=True)
    wanted = " ".join(f"'*/{path}'" for path in WANTED)
    # tar complains of what a kernel has not (drivers/accel, up to 6.1).
    subprocess.run(
        f"dpkg-deb --fsys-tarfile {deb} | tar -xO --wildcards './usr/src/{package}.tar.xz' | "
        f"tar -xJ -C {part} --strip-components=1 --wildcards --exclude='*/amd/include/*' {wanted}",
        shell=True, executable="/bin/bash")
    if not (part / "drivers/gpu/drm").is_dir() or not (part / "include/drm").is_dir():
        raise SystemExit(f"census: {deb.name} could not be unpacked")
    deb.unlink()
    part.rename(tree)


def series(tree):
    """7.3 of a source whose folder is named so, or by its own Makefile."""
    if found := re.match(r"(\d+\.\d+)(?:[._-]|$)", pathlib.Path(tree).name):
        return found[1]
    makefile = (pathlib.Path(tree) / "Makefile").read_text()
    return ".".join(re.search(rf"^{word} = (\d+)", makefile, re.M)[1] for word in ("VERSION", "PATCHLEVEL"))
