"""Programs from the machine's own Debian packages, unpacked beside the project, without root.

apt works on private list and cache folders; what is installed on the machine already is not fetched again.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol


class DebianError(Exception):
    """The packages could not be fetched or unpacked."""


class Run(Protocol):
    """Runs a command with its output in a log file."""

    def __call__(self, command: Sequence[str], log: Path) -> None:
        """Raise when the command fails."""


def unpack(packages: Sequence[str], folder: Path, say: Callable[[str], None], run: Run) -> None:
    """Fetch the packages, with what they need and this machine lacks, unpacked into ``folder/root``."""
    state, cache, root = folder / "lists", folder / "archives", folder / "root"
    for path in (state / "partial", cache / "partial", root):
        path.mkdir(parents=True)
    configuration = folder / "apt.conf"
    # apt drops to its own user for downloads, and that user cannot write here.
    configuration.write_text(
        f'Dir::State::lists "{state}/";\nDir::Cache::archives "{cache}/";\nDir::Cache::pkgcache "";\n'
        'Dir::Cache::srcpkgcache "";\nDebug::NoLocking "1";\nAPT::Sandbox::User "";\n'
        'APT::Install-Recommends "0";\nAcquire::Languages "none";\n'
    )
    log = folder / "install.log"
    apt = ["env", f"APT_CONFIG={configuration}", "apt-get", "-y", "-q"]
    say("reading the package lists")
    run([*apt, "update"], log)
    say(f"downloading {', '.join(packages)}")
    # --reinstall: a package that is installed already is fetched too when it is one of those asked for.
    run([*apt, "install", "--download-only", "--reinstall", *packages], log)
    archives = sorted(cache.glob("*.deb"))
    if not archives:
        raise DebianError("apt-get fetched nothing")
    for archive in archives:
        say(f"unpacking {archive.name}")
        run(["dpkg", "-x", str(archive), str(root)], log)
    shutil.rmtree(cache)
    shutil.rmtree(state)
    _write_fonts(root, folder)


def environment(folder: Path) -> dict[str, str]:
    """What a program unpacked into ``folder`` must find in its environment."""
    root = folder / "root"
    triplet = f"{platform.machine()}-linux-gnu"
    shared = root / "usr" / "lib" / triplet
    # Some libraries keep their private parts in a folder of their own, known to them by absolute path.
    private = sorted({library.parent for library in shared.glob("*/lib*.so*")})
    paths = [shared, *private, root / "lib" / triplet, root / "usr" / "lib", root / "lib"]
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(str(path) for path in paths if path.is_dir()),
        "FONTCONFIG_FILE": str(folder / "fonts.conf"),
    }


def _write_fonts(root: Path, folder: Path) -> None:
    """Fonts too lie beside the project: tell fontconfig, which only knows the system's folders."""
    (folder / "fonts.conf").write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd"><fontconfig>'
        f"<dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir>"
        f"<cachedir>{folder}/font-cache</cachedir></fontconfig>"
    )
