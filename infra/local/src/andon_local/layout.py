"""Where things lie: the one module that knows the folders of a checkout."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import zlib
from functools import cache
from pathlib import Path

KEPT_OBJECTS_MB = 128
"""Some seconds of images at the rate of a busy line."""


@cache
def root() -> Path:
    """The checkout this process belongs to: ``ANDON_ROOT``, or the one this file lies in."""
    named = os.environ.get("ANDON_ROOT")
    if named:
        return Path(named).resolve()
    for folder in (*Path(__file__).resolve().parents, Path.cwd(), *Path.cwd().parents):
        if (folder / "infra" / "components.yaml").is_file():
            return folder
    raise FileNotFoundError("no folder above this one holds infra/components.yaml; set ANDON_ROOT")


def runtime_dir() -> Path:
    """Everything that is installed or written while the system runs."""
    return root() / ".runtime"


def tools_dir() -> Path:
    """Installed components, one folder per component and version."""
    return runtime_dir() / "tools"


def cache_dir() -> Path:
    """What can be made again from the checkout: backbone, features, remembered releases."""
    return runtime_dir() / "cache"


def triton_link() -> Path:
    """A short way to the installed Triton."""
    return runtime_dir() / "triton"


def instances_dir() -> Path:
    """One folder per named instance: data, logs, configuration, ports."""
    return runtime_dir() / "instances"


def kept_objects(instance: str) -> Path:
    """Where the services of an instance keep images for a moment: in memory where the machine has a folder for that.

    On a disk, making and deleting thousands of short-lived files costs more than reading the image from the store. The
    choice is made once, so that a memory that fills up later does not move the folder.
    """
    folder = instances_dir() / instance
    memory = Path("/dev/shm")
    named = memory / f"andonloop-{os.getuid()}-{zlib.crc32(bytes(folder)):08x}"
    with contextlib.suppress(OSError):
        if not named.exists() and shutil.disk_usage(memory).free > 8 * KEPT_OBJECTS_MB * 1_000_000:
            named.mkdir(mode=0o700)
        found = named.lstat()
        # The name can be foreseen and everybody may write there: take it only when it is ours alone.
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return named
    return folder / "cache" / "objects"


def python() -> str:
    """The interpreter the services run with: the one running now."""
    return sys.executable
